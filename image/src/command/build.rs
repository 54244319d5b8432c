//! `cargo image build`

use std::process::ExitCode;

use crate::build::{Options, build};
use crate::report;
use crate::setup;
use crate::verify::{VerifyExtent, verify};

/// Builds the image into out/<target>/
#[derive(clap::Args)]
pub struct Args {
    /// Build it a second time as another user in another folder, and compare every byte
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    verify: Option<VerifyExtent>,
    /// Install what this machine lacks for --verify first
    #[arg(long, requires = "verify")]
    setup: bool,
    /// As `cargo image run --quick`
    #[arg(long, conflicts_with = "verify")]
    quick: bool,
    #[command(flatten)]
    options: Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    if args.verify.is_some() {
        setup::require(&[&setup::VERIFY], args.setup)?;
    }
    let options = Options { quick: args.quick, ..args.options };
    let built = build(&options)?;
    let what = match args.verify {
        Some(extent) => verify(&options, &built, extent)?.text(&built),
        None => built.folder.display().to_string(),
    };
    report::print(&format!("{what}\n"))?;
    Ok(ExitCode::SUCCESS)
}
