//! The service: what PID 1 gives it, and what becomes of its end.

use octet_node::say;
use std::process::ExitCode;

/// Sets the network up and keeps it until PID 1 asks for the end.
pub fn main() -> ExitCode {
    // First of all, before anything opens a descriptor.
    let inherited = octet_node::inherited();
    match crate::daemon::run(inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{error}");
            ExitCode::FAILURE
        }
    }
}
