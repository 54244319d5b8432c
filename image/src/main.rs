//! `cargo image`: builds the appliance's image, boots it, tests it.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use miette::MietteHandlerOpts;

mod appliance_file;
mod bench;
mod build;
mod cache;
mod command;
mod digest;
mod flash;
mod lan;
mod lock;
mod output;
mod report;
mod running;
mod seed;
mod setup;
mod source;
mod steps;
mod store;
mod suite;
mod target;
mod tree;
mod update;
mod verify;
mod workspace;

#[derive(Parser)]
#[command(name = "cargo image", bin_name = "cargo image", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    New(command::new::Args),
    Build(command::build::Args),
    Run(command::run::Args),
    Test(command::test::Args),
    Bench(command::bench::Args),
    Ctl(command::ctl::Args),
    Lan(command::lan::Args),
    Box(command::power::Args),
    Explain(command::explain::Args),
    Flash(command::flash::Args),
    Lock(command::lock::Args),
    Sign(command::sign::Args),
    Bundle(command::bundle::Args),
    Tools(command::tools::Args),
    Clean(command::clean::Args),
}

fn main() -> ExitCode {
    if !std::io::stderr().is_terminal() {
        // In a pipe a message stays on one line, so that it can be searched for.
        // The only error is that a hook is set already.
        let _ = miette::set_hook(Box::new(|_| {
            Box::new(MietteHandlerOpts::new().wrap_lines(false).build())
        }));
    }
    let result = match Cli::parse().command {
        Command::New(args) => command::new::run(args),
        Command::Build(args) => command::build::run(args),
        Command::Run(args) => command::run::run(args),
        Command::Test(args) => command::test::run(args),
        Command::Bench(args) => command::bench::run(args),
        Command::Ctl(args) => command::ctl::run(args),
        Command::Lan(args) => command::lan::run(args),
        Command::Box(args) => command::power::run(args),
        Command::Explain(args) => command::explain::run(args),
        Command::Flash(args) => command::flash::run(args),
        Command::Lock(args) => command::lock::run(args),
        Command::Sign(args) => command::sign::run(args),
        Command::Bundle(args) => command::bundle::run(args),
        Command::Tools(args) => command::tools::run(args),
        Command::Clean(args) => command::clean::run(args),
    };
    match result {
        Ok(code) => code,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}
