//! `cargo image bench`: the image beside the limits it is held to.

mod boot;
mod disk;
mod firmware;
mod flash;
mod guest;
mod host;
mod memory;
mod rebuild;
mod report;
mod sample;

use std::path::PathBuf;

use miette::IntoDiagnostic;

use crate::build::{self, Options};
use crate::target::Target;

use report::OfTarget;
pub use report::Report;

/// Measures everything; `runs` is how often what takes time is done.
pub fn measure(options: &Options, runs: usize) -> miette::Result<Report> {
    let mut targets = vec![];
    for target in [Target::QemuX86_64, Target::QemuAarch64] {
        targets.push(of_target(&Options { target, ..options.clone() }, runs)?);
    }
    eprintln!("rebuild    into an empty out/, unchanged, and with one file changed");
    let rebuild = rebuild::measure(options, runs)?;
    eprintln!("flash      1 GiB, beside dd");
    let flash = flash::measure(runs)?;
    Ok(Report { host: host::describe(), runs, targets, rebuild, flash })
}

fn of_target(options: &Options, runs: usize) -> miette::Result<OfTarget> {
    let target = options.target;
    let built = build::build(options)?;
    let stock = build::stock(options)?;
    let limit = guest::limit(target)?;
    eprintln!("boot       {target}: appliance, bare kernel and stock Alpine, {runs} times in turn");
    let boot = boot::measure(&built, &limit.initrd, &stock, runs)?;
    eprintln!("disk       {target}: by firmware, beside a disk that only powers off");
    let disk = disk::measure(options, &built, runs)?;
    eprintln!("memory     {target}: of a guest with 512 MiB, and of one with 96");
    let memory = memory::measure(&built)?;
    let size = |path: &PathBuf| path.metadata().map(|it| it.len()).into_diagnostic();
    // The seed's kernel as it is: for Arm, `boot/linux` is an unpacked one.
    let slot = size(&stock.join("linux"))? + size(&built.initrd)?;
    Ok(OfTarget { target, boot, disk, memory, slot })
}
