//! octet-msg: end-to-end encrypted messages to people and boxes, by public key
//! (`docs/messenger.md`).

mod backup;
mod command;
mod derivation;
mod profile;
mod cli;
mod box_command;
mod passphrase;
mod qr;
mod output;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;

/// Runs the command line.
pub fn main() -> ExitCode {
    match command::run(cli::CommandLine::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // A closed pipe, as in `| head`, is not an error.
        Err(command::CommandFailure::Print(error)) if error.kind() == ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
