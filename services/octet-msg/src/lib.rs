//! octet-msg: letters to people and boxes, by public key (`docs/messenger.md`).

mod backup;
mod command;
mod derivation;
mod home;
mod line;
mod order;
mod passphrase;
mod qr;
mod show;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;

/// Does what the command line says.
pub fn main() -> ExitCode {
    match command::run(line::CommandLine::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // `| head` is not a failure.
        Err(command::CommandFailure::Print(error)) if error.kind() == ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
