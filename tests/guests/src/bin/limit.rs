//! An init that does nothing: what a boot costs before PID 1 has done anything.
//!
//! The kernel opens its console as the standard output of init. The line says that init runs, and
//! for how long the kernel's clock had run then; `cargo image bench` takes the time when it sees it.

use octet_guests::roll::now;
use rustix::system::{RebootCommand, reboot};

fn main() {
    let began = now();
    println!("octet-limit: init runs, {began} ns after the kernel");
    // It does not return; if it fails, init ends, the kernel panics, and the bench shows that.
    let _ = reboot(RebootCommand::PowerOff);
}
