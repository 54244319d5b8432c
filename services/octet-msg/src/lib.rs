//! octet-msg: end-to-end encrypted messages to people and boxes, by public key
//! (`docs/messenger.md`).

mod backup;
mod box_command;
mod cli;
mod command;
mod derivation;
mod output;
mod passphrase;
mod profile;
mod qr;

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
