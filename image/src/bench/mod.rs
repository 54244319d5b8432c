//! `cargo image bench`: the image beside the limits it is held to.

mod boot;
mod guest;
mod host;
mod memory;
mod rebuild;
mod report;
mod sample;

use std::path::PathBuf;

use miette::IntoDiagnostic;

use crate::build::{self, Options};

pub use report::Report;

/// Measures everything; `runs` is how often what takes time is done.
pub fn measure(options: &Options, runs: usize) -> miette::Result<Report> {
    let built = build::build(options)?;
    let stock = build::stock(options)?;
    let limit = guest::limit()?;
    eprintln!("boot       appliance, bare kernel and stock Alpine, {runs} times in turn");
    let boot = boot::measure(&built, &limit.initrd, &stock, runs)?;
    eprintln!("memory     of a guest with 512 MiB, and of one with 96");
    let memory = memory::measure(&built)?;
    eprintln!("rebuild    into an empty out/, unchanged, and with one file changed");
    let rebuild = rebuild::measure(options, runs)?;
    let size = |path: &PathBuf| path.metadata().map(|it| it.len()).into_diagnostic();
    let slot = size(&built.linux)? + size(&built.initrd)?;
    Ok(Report { host: host::describe(), runs, boot, memory, rebuild, slot })
}
