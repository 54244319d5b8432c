//! An init that does nothing: the lower bound of the boot time, before PID 1 does any work.
//!
//! The kernel opens its console as the standard output of init. The line reports that init runs,
//! and the uptime at that moment; `cargo image bench` takes the time when the line arrives.

use octet_guests::roll::now;
use rustix::system::{RebootCommand, reboot};

fn main() {
    let began = now();
    println!("octet-limit: init runs, {began} ns after the kernel");
    // It does not return; if it fails, init ends and the kernel panics, which the benchmark
    // reports.
    let _ = reboot(RebootCommand::PowerOff);
}
