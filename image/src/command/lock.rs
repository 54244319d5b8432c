//! `cargo image lock`

use std::process::ExitCode;

use crate::build::{Options, workspace};
use crate::lock::{Lock, add, update};
use crate::report;
use crate::store::InputStore;

/// Records the exact inputs of the image (versions, SHA-256) in appliance.lock
#[derive(clap::Args)]
pub struct Args {
    /// Update this input to the version that is published now
    #[arg(long, value_name = "NAME[==VERSION]")]
    update: Option<String>,
    /// Add this Debian package for every architecture
    #[arg(long, value_name = "PACKAGE", conflicts_with = "update")]
    add: Option<String>,
    #[command(flatten)]
    options: Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let workspace = workspace()?;
    let path = args.options.lock_file(&workspace);
    let lock = Lock::read(&path)?;
    let store = InputStore::open(args.options.offline)?;
    if let Some(name) = &args.add {
        report::print(&add(&path, &lock, name, &store)?.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let diff = update(&path, &lock, args.update.as_deref(), &store)?;
    report::print(&diff.to_string())?;
    Ok(ExitCode::SUCCESS)
}
