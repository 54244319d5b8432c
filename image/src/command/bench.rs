//! `cargo image bench`

use std::process::ExitCode;

use miette::{IntoDiagnostic, WrapErr};

use crate::bench;
use crate::build;
use crate::setup;

/// Measures the image beside the limits it is held to; writes docs/BENCHMARKS.md
#[derive(clap::Args)]
pub struct Args {
    /// First install what this machine lacks
    #[arg(long)]
    setup: bool,
    /// How often what takes time is done
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    setup::require(&[&setup::RUN], args.setup)?;
    let report = bench::measure(&args.build, args.runs.into())?;
    let path = build::workspace()?.root().join("docs/BENCHMARKS.md");
    let page = report.markdown();
    std::fs::write(&path, &page)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    print!("{page}");
    // A goal that is missed is said there; whether it matters is for whoever reads it.
    Ok(ExitCode::SUCCESS)
}
