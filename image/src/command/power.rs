//! `cargo image box`

use std::process::ExitCode;

use crate::report;
use crate::running::{self, Out, PowerAction, socket};

/// Powers machines of a box that `cargo image run --cluster` has booted on and off, and pulls their cables
#[derive(clap::Args)]
pub struct Args {
    /// The box, if several `cargo image run` are running; without it they are listed
    #[arg(long, value_name = "N", global = true)]
    machine: Option<u32>,
    #[command(flatten)]
    out: Out,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, clap::Subcommand)]
enum Command {
    /// Lists the machines and their cables; the other commands do so, too
    List,
    /// Powers a machine on; a new board has blank flash
    On {
        /// A board's number, or `router`
        #[arg(value_parser = node)]
        node: u8,
    },
    /// Cuts a machine's power; `cargo image ctl poweroff` shuts it down cleanly
    Off {
        /// A board's number, or `router`
        #[arg(value_parser = node)]
        node: u8,
    },
    /// Resets a machine, as a reset button does; `cargo image ctl reboot` reboots it cleanly
    Reset {
        /// A board's number, or `router`
        #[arg(value_parser = node)]
        node: u8,
    },
    /// Connects a board's cable
    Plug {
        /// The board's number
        board: u8,
        /// The router's port, the one with the board's number unless said; what was in it is pulled
        port: Option<u8>,
    },
    /// Disconnects a board's cable
    Unplug {
        /// The board's number
        board: u8,
    },
}

/// A machine's number at the box: the router is 0.
fn node(text: &str) -> Result<u8, String> {
    match (text, text.parse()) {
        ("router", _) => Ok(0),
        (_, Ok(number @ 1..)) => Ok(number),
        _ => Err("say a board's number, as 3, or `router`".to_owned()),
    }
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let action = match args.command.unwrap_or(Command::List) {
        Command::List => PowerAction::List,
        Command::On { node } => PowerAction::On(node),
        Command::Off { node } => PowerAction::Off(node),
        Command::Reset { node } => PowerAction::Reset(node),
        Command::Plug { board, port } => PowerAction::Plug(board, port),
        Command::Unplug { board } => PowerAction::Unplug(board),
    };
    let socket = running::box_socket(&args.out.folder()?, args.machine)?;
    let rows = socket::request(&socket, action)?;
    let rows = rows.into_iter().map(|row| [row.node, row.power, row.cable]);
    report::print(&report::table(["NODE", "POWER", "CABLE"], rows))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches};

    #[test]
    fn the_folder_of_what_runs_is_said_before_or_after_the_command() {
        for words in
            [["box", "--out", "/tmp/other", "list"], ["box", "list", "--out", "/tmp/other"]]
        {
            let command = Args::augment_args(clap::Command::new("box"));
            let args =
                Args::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap();
            assert_eq!(args.out.folder().unwrap(), std::path::Path::new("/tmp/other"));
        }
    }
}
