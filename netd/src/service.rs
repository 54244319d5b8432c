//! The service's entry point: environment from PID 1 and exit code.

use std::process::ExitCode;

/// Sets up the network and maintains it until PID 1 asks netd to end.
pub fn main() -> ExitCode {
    octet_node::run(crate::daemon::run)
}
