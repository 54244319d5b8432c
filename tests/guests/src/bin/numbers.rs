//! Prints numbered lines forever, each with its boot id, so that a test can tell which of them were
//! stored.

use std::fs;
use std::thread;
use std::time::Duration;

use octet_guests::service::notify;

fn main() -> std::io::Result<()> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    notify("READY=1")?;
    for number in 0u64.. {
        println!("boot {} line {number}", boot.trim());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
