//! `cargo image test`

use std::process::ExitCode;

use crate::build;
use crate::setup;
use crate::suite::{self, Wanted};

/// Builds the image and runs the whole test suite
#[derive(clap::Args)]
pub struct Args {
    /// Only tests of the appliance, and programs of other tests, with this in their name
    name: Option<String>,
    /// First install what this machine lacks
    #[arg(long)]
    setup: bool,
    /// Run the long tier too: all counts, cuts and seeds
    #[arg(long)]
    soak: bool,
    /// Write what each test took into tests/README.md
    #[arg(long)]
    write_costs: bool,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let built = [&setup::BUILD[..], &setup::X86_64, &setup::AARCH64];
    let mut needs = [&built[..], &[&setup::TEST, &setup::VERIFY]].concat();
    if args.soak {
        needs.push(&setup::SOAK);
    }
    setup::require(&needs, args.setup)?;
    let Args { name: filter, soak, write_costs, .. } = args;
    let passed = suite::run(&args.build, &Wanted { filter, soak, write_costs })?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
