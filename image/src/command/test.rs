//! `cargo image test`

use std::process::{Command, ExitCode};

use miette::IntoDiagnostic;

use crate::build;
use crate::setup;

/// How many tests of one program run at a time (rustc book, "Tests").
const THREADS: &str = "RUST_TEST_THREADS";

/// Builds the image and runs the whole test suite
#[derive(clap::Args)]
pub struct Args {
    /// First install what this machine lacks
    #[arg(long)]
    setup: bool,
    /// Run the long variants too
    #[arg(long)]
    soak: bool,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    setup::require(&[&setup::RUN, &setup::TEST, &setup::VERIFY], args.setup)?;
    let built = build::build(&args.build)?;
    let mut tests = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Plain `cargo test` works too: without these two the tests build the image themselves.
    tests
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .env("OCTET_IMAGE_BUILT", &built.folder)
        .env("OCTET_BUILDER", std::env::current_exe().into_diagnostic()?);
    // Guests have slots of their own, one for each processor: who waits for one does nothing else.
    if std::env::var_os(THREADS).is_none() {
        let threads = std::thread::available_parallelism().into_diagnostic()?.get() + 1;
        tests.env(THREADS, threads.to_string());
    }
    if args.soak {
        tests.env("OCTET_SOAK", "1").args(["--", "--include-ignored"]);
    }
    let status = tests.status().into_diagnostic()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
