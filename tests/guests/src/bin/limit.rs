//! An init that does nothing: what a boot costs before PID 1 has done anything.
//!
//! The kernel opens its console as the standard output of init. The line says that init runs;
//! `cargo image bench` takes the time when it sees it.

use rustix::system::{RebootCommand, reboot};

fn main() {
    println!("octet-limit: init runs");
    // It does not return; if it fails, init ends, the kernel panics, and the bench shows that.
    let _ = reboot(RebootCommand::PowerOff);
}
