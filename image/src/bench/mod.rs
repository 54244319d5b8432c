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

use crate::build::Options;

pub use page::{at_commit, commit, replace_section};
pub use report::Report;

/// A part that can be measured by itself, and has a section of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Boots beside the bare kernel and stock Alpine, memory, and the size of a slot
    Image,
    /// How long a change takes to become an image, and an image to be on flash
    Building,
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
            Self::Image => image::TITLE,
            Self::Building => building::TITLE,
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
            Self::Image => image::measure(options, runs)?.markdown(),
            Self::Building => building::measure(options, runs)?.markdown(),
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
    let image = image::measure(options, runs)?;
    let building = building::measure(options, runs)?;
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
        image,
        building,
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
