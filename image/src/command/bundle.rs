//! `cargo image bundle`

use std::path::PathBuf;
use std::process::ExitCode;

use super::sign::slot;
use crate::build;
use crate::report;
use crate::update::{self, BUNDLE};

/// Packs an image that `cargo image sign` has signed into an update file
#[derive(clap::Args)]
pub struct Args {
    /// The file [default: out/<target>/octet.update]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let built = build::build(&args.build)?;
    let to = args.to.unwrap_or_else(|| built.folder.join(BUNDLE));
    let size = update::bundle(&built.folder, &built.disk, &slot(&built)?, &to)?;
    let to = to.display();
    report::print(&format!(
        "{to}: {size} bytes; a box asks for those alone that it lacks\ncargo image ctl update install {to}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}
