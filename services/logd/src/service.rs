//! The service: what PID 1 gives it, and what becomes of its end.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::daemon;
use crate::settings::Settings;

/// Keeps the log until PID 1 asks for the end.
pub fn main() -> ExitCode {
    // First of all, before anything opens a descriptor.
    let inherited = octet_node::inherited();
    // PID 1 sets it when the folder is there and can be written.
    let state = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let result = Settings::parse(std::env::args().skip(1), state)
        .map_err(std::io::Error::other)
        .and_then(|settings| daemon::run(&settings, inherited));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
