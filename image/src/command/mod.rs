//! One file per subcommand of `cargo image`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod bench;
mod build;
mod bundle;
mod clean;
mod ctl;
mod explain;
mod flash;
mod lan;
mod lock;
mod new;
mod power;
mod run;
mod sign;
mod test;
mod tools;

#[derive(Parser)]
#[command(name = "cargo image", bin_name = "cargo image", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    New(new::Args),
    Build(build::Args),
    Run(run::Args),
    Test(test::Args),
    Bench(bench::Args),
    Ctl(ctl::Args),
    Lan(lan::Args),
    Box(power::Args),
    Explain(explain::Args),
    Flash(flash::Args),
    Lock(lock::Args),
    Sign(sign::Args),
    Bundle(bundle::Args),
    Tools(tools::Args),
    Clean(clean::Args),
}

/// `cargo image`, with the arguments of this process.
pub fn main() -> miette::Result<ExitCode> {
    match Cli::parse().command {
        Command::New(args) => new::run(args),
        Command::Build(args) => build::run(args),
        Command::Run(args) => run::run(args),
        Command::Test(args) => test::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Ctl(args) => ctl::run(args),
        Command::Lan(args) => lan::run(args),
        Command::Box(args) => power::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Flash(args) => flash::run(args),
        Command::Lock(args) => lock::run(args),
        Command::Sign(args) => sign::run(args),
        Command::Bundle(args) => bundle::run(args),
        Command::Tools(args) => tools::run(args),
        Command::Clean(args) => clean::run(args),
    }
}
