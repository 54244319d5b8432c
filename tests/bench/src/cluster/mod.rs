//! A whole box: how long until its machines are one, what its router needs with every port in use, and how
//! long a new map takes to everybody.

mod dhcp;
mod leases;
mod power;
mod spread;
mod table;

use super::sample::TimeSample;
use octet_image::Target;
use octet_image::build::Options;

use leases::Leases;
use power::Power;
use spread::Spread;
pub use table::TITLE;

/// Boards that are powered on.
const BOARDS: u8 = 8;

/// Boards of the largest box.
const MAX: u8 = 32;

#[derive(Debug, Clone, Default)]
pub struct ClusterRuns {
    /// How many there were, each with guests of its own.
    pub runs: usize,
    /// One board alone, from its start until it is ready.
    pub alone: TimeSample,
    /// A router and its boards, from the first one's start until they are one box.
    pub whole: TimeSample,
    /// A router's memory, before and after all its boards have an address.
    pub routers: Vec<[RouterMemory; 2]>,
    pub maps: Maps,
}

/// Memory of a router, in bytes.
#[derive(Debug, Clone, Default)]
pub struct RouterMemory {
    pub used: u64,
    /// Units: what is charged to each.
    pub units: [u64; UNITS.len()],
    /// And what each may have at most.
    pub most: [u64; UNITS.len()],
}

/// The units that boards are the business of.
pub const UNITS: [&str; 3] = ["lan", "netd", "cluster"];

/// A map that goes to all boards of the largest box.
#[derive(Debug, Clone, Default)]
pub struct Maps {
    pub bytes: u64,
    /// From the operator's word until the coordinator knows that all have it.
    pub maps: TimeSample,
    /// As many bytes by TCP alone, and an answer.
    pub bare: TimeSample,
}

/// Measures it all, `runs` times in turn, with guests that are x86-64: what differs between them does not
/// hang on the processor.
pub fn measure(options: &Options, runs: usize) -> miette::Result<ClusterRuns> {
    eprintln!("cluster    a whole box: power-on, a router's memory, and maps, {runs} times");
    let options = Options { target: Target::QemuX86_64, ..options.clone() };
    let power = Power::new(&options)?;
    let leases = Leases::build(&options)?;
    let spread = Spread::new()?;
    let mut all = ClusterRuns { runs, ..ClusterRuns::default() };
    for _ in 0..runs {
        all.alone.add(power.alone()?);
        all.whole.add(power.whole()?);
        all.routers.push(leases.run()?);
        spread.run(&mut all.maps)?;
        eprintln!("           {}", table::brief(&all));
    }
    Ok(all)
}
