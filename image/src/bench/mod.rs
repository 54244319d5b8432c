//! `cargo image bench`: the image beside the limits it is held to.

mod altered;
mod boot;
mod cache;
mod cluster;
mod disk;
mod firmware;
mod flash;
mod forward;
mod frame;
mod guest;
mod host;
mod live;
mod memory;
mod messenger;
mod packages;
mod page;
mod paths;
mod processor;
mod rebuild;
mod report;
mod sample;
mod segments;
mod supervisors;

use std::path::PathBuf;

use miette::IntoDiagnostic;

use crate::build::{self, Options};
use crate::target::Target;

pub use page::replace_section;
use report::OfTarget;
pub use report::Report;

/// A part that can be measured by itself, and has a section of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// PID 1 beside s6, runit and finit
    Supervisors,
    /// The gate, updates, and the gate's memory, of a box that runs
    Box,
    /// A router's plan, its rules, and what they cost a packet
    Segments,
    /// Power-on of a whole box, a router's memory with 32 leases, and how long a map takes to 32 boards
    Cluster,
    /// Objects beside nginx and iroh-blobs, and the memory that giving them takes
    Cache,
    /// Networks of up to 10 000 nodes that forward, in virtual time
    Forward,
    /// How long letters take, what a mailbox takes, and what both cost
    Messenger,
    /// What paths carry beside WireGuard, Yggdrasil and Nebula, how one is set up, and 960 through one relay
    Paths,
}

impl Part {
    /// The heading of its section.
    pub fn title(self) -> &'static str {
        match self {
            Self::Supervisors => supervisors::TITLE,
            Self::Box => live::TITLE,
            Self::Segments => segments::TITLE,
            Self::Cluster => cluster::TITLE,
            Self::Cache => cache::TITLE,
            Self::Forward => forward::TITLE,
            Self::Messenger => messenger::TITLE,
            Self::Paths => paths::TITLE,
        }
    }

    /// Measures it alone, and returns its section.
    pub fn measure(self, options: &Options, runs: usize) -> miette::Result<String> {
        Ok(match self {
            Self::Supervisors => supervisors::measure(options, runs)?.markdown(),
            Self::Box => live::measure(options, runs)?.markdown(),
            Self::Segments => segments::measure(options, runs)?.markdown(),
            Self::Cluster => cluster::measure(options, runs)?.markdown(),
            Self::Cache => cache::measure(runs)?.markdown(),
            Self::Forward => forward::measure()?.markdown(),
            Self::Messenger => messenger::measure(runs)?.markdown(),
            Self::Paths => paths::measure(options, runs)?.markdown(),
        })
    }
}

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
    let supervisors = supervisors::measure(options, runs)?;
    let live = live::measure(options, runs)?;
    let segments = segments::measure(options, runs)?;
    let cluster = cluster::measure(options, runs)?;
    let cache = cache::measure(runs)?;
    let forward = forward::measure()?;
    let messenger = messenger::measure(runs)?;
    let paths = paths::measure(options, runs)?;
    let host = host::describe();
    Ok(Report {
        host,
        runs,
        targets,
        rebuild,
        flash,
        supervisors,
        live,
        segments,
        cluster,
        cache,
        forward,
        messenger,
        paths,
    })
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
