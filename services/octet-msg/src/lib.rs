//! octet-msg: letters to people and boxes, by public key (`docs/messenger.md`).

mod command;
mod home;
mod line;
mod order;
pub mod passphrase;
mod qr;
mod show;

use std::process::ExitCode;

use clap::Parser;

/// Does what the command line says.
pub fn main() -> ExitCode {
    match command::run(line::Line::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
