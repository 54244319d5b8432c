//! `cargo image build`

use std::process::ExitCode;

use crate::build::{Options, build};

/// Builds the image into out/<target>/
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let built = build(&args.options)?;
    println!("{}", built.folder.display());
    Ok(ExitCode::SUCCESS)
}
