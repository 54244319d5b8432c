//! The service: what PID 1 gives it, and what becomes of its end.

use std::process::ExitCode;

use octet_node::UnitEnvironment;

use crate::daemon;
use crate::settings::Settings;

/// Keeps the log until PID 1 asks for the end.
pub fn main() -> ExitCode {
    octet_node::run(|given: UnitEnvironment| {
        let settings = Settings::parse(std::env::args().skip(1), given.state)
            .map_err(std::io::Error::other)?;
        daemon::run(&settings, given.sockets)
    })
}
