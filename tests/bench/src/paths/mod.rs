//! Paths: what they carry beside plain forwarding, the kernel's WireGuard, Yggdrasil and Nebula; how long until one
//! stands; how long packets have none when a relay is gone; and a relay that has many.

mod chain;
mod failover;
mod image;
mod many;
mod set_up;
mod site;
mod table;

use std::time::Duration;

use super::packages;
use super::sample::TimeSample;
use octet_image::Target;
use octet_image::build::Options;

use chain::GuestChain;
use site::Site;
pub use table::TITLE;

/// A way from the first node of a row to the last one.
#[derive(Debug)]
pub struct BenchPath {
    /// What the program in the guest calls it (services/forward/examples/chain).
    name: &'static str,
    what: &'static str,
    /// The package of Debian, of one whose programs carry packets.
    package: Option<&'static str>,
}

pub const WAYS: [BenchPath; 8] = [
    way("plain", "plain forwarding, nothing encrypted"),
    way("wireguard", "WireGuard from each node to the next, forwarding"),
    way("labels-plain", "labels, plain links, nothing encrypted"),
    way("labels-wireguard", "labels, links by WireGuard"),
    way("path-plain", "a path: plain links, WireGuard from end to end"),
    way("path-wireguard", "a path: links by WireGuard, and WireGuard from end to end"),
    BenchPath { package: Some("yggdrasil"), ..way("yggdrasil", "Yggdrasil at all four") },
    BenchPath {
        package: Some("nebula"),
        ..way("nebula", "Nebula at the ends, plain forwarding between")
    },
];

const fn way(name: &'static str, what: &'static str) -> BenchPath {
    BenchPath { name, what, package: None }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct CarriedBytes {
    bytes: u64,
    took: Duration,
    /// What the guest used of processors meanwhile, less what it uses anyway.
    used: Duration,
}

#[derive(Debug, Clone, Default)]
pub struct PathRuns {
    /// How many there were, each with a guest of its own.
    runs: usize,
    /// Each way, one right after the other.
    rounds: Vec<[CarriedBytes; WAYS.len()]>,
    /// Versions of the packages of all ways.
    versions: [Option<String>; WAYS.len()],
    set_ups: SetUps,
    /// Relays that are gone, in the same box.
    failovers: Failovers,
    /// Many paths in the same box.
    many: Many,
}

/// Paths over four hops that were set up, one after the other.
#[derive(Debug, Clone, Default)]
pub struct SetUps {
    /// From the question until the answer that it stands.
    adds: TimeSample,
    /// The same question about its other end alone.
    pings: TimeSample,
    /// A question that no packet is needed for.
    asks: TimeSample,
}

/// From a fault of the relay that packets take until they take another path.
#[derive(Debug, Clone, Default)]
pub struct Failovers {
    pulled: TimeSample,
    /// What it says is lost, and its link is up.
    mute: TimeSample,
}

#[derive(Debug, Clone, Default)]
pub struct Many {
    /// How many were asked for.
    asked: u32,
    /// How many of them the relay has.
    relayed: u64,
    /// How many other ends have answered.
    answered: u32,
    /// Set-ups of the first ones, and of the last ones.
    adds: [TimeSample; 2],
    /// What the relay's memory has less than before: all of it, and what is charged to its `forward`.
    memory: [u64; 2],
}

/// Measures it all. Guests are x86-64: what differs between ways does not hang on the processor.
pub fn measure(options: &Options, runs: usize) -> miette::Result<PathRuns> {
    eprintln!(
        "paths      four nodes in a row by {} ways, {runs} times; set-ups in a box",
        WAYS.len()
    );
    let options = Options { target: Target::QemuX86_64, ..options.clone() };
    let unpacked = packages::folder()?;
    let versions = WAYS.map(|way| way.package.map(|it| packages::version(&unpacked, it)));
    let mut all = PathRuns { runs, versions, ..PathRuns::default() };
    let chain = GuestChain::build(&options)?;
    for _ in 0..runs {
        all.rounds.extend(chain.run()?);
        eprintln!("           {}", table::brief(&all));
    }
    let site = Site::start(&options)?;
    set_up::measure(&site, runs, &mut all.set_ups)?;
    failover::measure(&site, runs, &mut all.failovers)?;
    many::measure(&site, &mut all.many)?;
    Ok(all)
}
