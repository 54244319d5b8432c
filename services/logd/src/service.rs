//! The service: it takes descriptors from PID 1, and runs the loop.

use std::process::ExitCode;

use octet_node::UnitEnvironment;

use crate::daemon;
use crate::settings::Settings;

/// Runs until PID 1 ends it.
pub fn main() -> ExitCode {
    octet_node::run(|given: UnitEnvironment| {
        let settings = Settings::parse(std::env::args().skip(1), given.state)
            .map_err(std::io::Error::other)?;
        daemon::run(&settings, given.sockets)
    })
}
