//! `cargo image bench`: the image beside the limits it is held to.

mod altered;
mod boot;
mod building;
mod cache;
mod cluster;
mod disk;
mod firmware;
mod flash;
mod forward;
mod frame;
mod guest;
mod host;
mod image;
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
mod upload;

use crate::build::Options;

pub use page::{at_commit, commit, replace_section};
pub use report::BenchReport;

/// A part that can be measured by itself, and has a section of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Boot time beside the bare kernel and stock Alpine, memory, slot size
    Image,
    /// Build and flash times
    Building,
    /// PID 1 beside s6, runit and finit
    Supervisors,
    /// Gate and updates of a running box, and the gate's memory
    Box,
    /// A router's plan and rules, and their cost for each packet
    Segments,
    /// Power-on of a whole box, a router's memory with 32 leases, time for a membership map to reach 32 boards
    Cluster,
    /// Cache beside nginx and iroh-blobs, and its memory while serving
    Cache,
    /// Simulated networks of up to 10 000 forwarding nodes
    Forward,
    /// Message latency, size of a mailbox, cost of both
    Messenger,
    /// A file through the gate over a way that takes time
    Upload,
    /// Path throughput beside WireGuard, Yggdrasil and Nebula, set-up time, 960 paths through one relay
    Paths,
}

impl Part {
    /// The heading of its section.
    pub fn title(self) -> &'static str {
        match self {
            Self::Image => image::TITLE,
            Self::Building => building::TITLE,
            Self::Supervisors => supervisors::TITLE,
            Self::Box => live::TITLE,
            Self::Segments => segments::TITLE,
            Self::Cluster => cluster::TITLE,
            Self::Cache => cache::TITLE,
            Self::Forward => forward::TITLE,
            Self::Messenger => messenger::TITLE,
            Self::Upload => upload::TITLE,
            Self::Paths => paths::TITLE,
        }
    }

    /// Measures it alone, and returns its section.
    pub fn measure(self, options: &Options, runs: usize) -> miette::Result<String> {
        Ok(match self {
            Self::Image => image::measure(options, runs)?.markdown(),
            Self::Building => building::measure(options, runs)?.markdown(),
            Self::Supervisors => supervisors::measure(options, runs)?.markdown(),
            Self::Box => live::measure(options, runs)?.markdown(),
            Self::Segments => segments::measure(options, runs)?.markdown(),
            Self::Cluster => cluster::measure(options, runs)?.markdown(),
            Self::Cache => cache::measure(runs)?.markdown(),
            Self::Forward => forward::measure()?.markdown(),
            Self::Messenger => messenger::measure(runs)?.markdown(),
            Self::Upload => upload::measure(runs)?.markdown(),
            Self::Paths => paths::measure(options, runs)?.markdown(),
        })
    }
}

/// Measures everything; `runs` is how often what takes time is done.
pub fn measure(options: &Options, runs: usize) -> miette::Result<BenchReport> {
    let image = image::measure(options, runs)?;
    let building = building::measure(options, runs)?;
    let supervisors = supervisors::measure(options, runs)?;
    let live = live::measure(options, runs)?;
    let segments = segments::measure(options, runs)?;
    let cluster = cluster::measure(options, runs)?;
    let cache = cache::measure(runs)?;
    let forward = forward::measure()?;
    let messenger = messenger::measure(runs)?;
    let upload = upload::measure(runs)?;
    let paths = paths::measure(options, runs)?;
    let host = host::describe();
    Ok(BenchReport {
        host,
        image,
        building,
        supervisors,
        live,
        segments,
        cluster,
        cache,
        forward,
        messenger,
        upload,
        paths,
    })
}
