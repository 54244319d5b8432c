//! The service: what PID 1 gives it, and what becomes of its end.

use std::process::ExitCode;

/// Sets the network up and keeps it until PID 1 asks for the end.
pub fn main() -> ExitCode {
    octet_node::run(crate::daemon::run)
}
