//! A router of a box: how long netd plans, how long until the kernel has what was planned, and what a
//! packet costs that passes its rules. Each stands beside the same without netd, or without rules.

mod native;
mod packets;
mod router;
mod table;
mod text;

use std::time::Duration;

use super::sample::TimeSample;
use octet_image::Target;
use octet_image::build::Options;

use native::{Native, NativeMeans};
use router::Routers;
pub use table::TITLE;
use text::{LARGE, PolicyCount, SMALL};

/// How often in a run everything on this computer itself is measured.
const ROUNDS: usize = 5;

#[derive(Debug, Clone, Default)]
pub struct SegmentRuns {
    /// How many there were, each with guests of its own.
    pub runs: usize,
    pub plan: Planned,
    /// A large box and a usual one.
    pub applied: [Applied; 2],
    /// Of the table of flows of this computer's kernel.
    pub buckets: u64,
    /// What a packet costs the host.
    pub packets: Vec<PacketCost>,
}

/// From the text of `appliance.toml` to that of the rules.
#[derive(Debug, Clone, Default)]
pub struct Planned {
    pub parse: TimeSample,
    /// From what it says to the plan.
    pub plan: TimeSample,
    /// From the plan to nft's text.
    pub text: TimeSample,
    pub both: TimeSample,
    /// The text, in bytes.
    pub bytes: u64,
}

/// Until the kernel has what a box wants.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    pub size: PolicyCount,
    pub netd: Applications,
    /// The same text by nft, the same links and addresses by ip.
    pub whole: Applications,
    /// The same, but of a change only what differs.
    pub least: Applications,
}

#[derive(Debug, Clone, Default)]
pub struct Applications {
    /// A kernel that has none of it.
    pub first: TimeSample,
    pub change: TimeSample,
    /// Then netd looks for flows that no policy allows any more, and finds none.
    pub flows: TimeSample,
}

/// Processor time of the host for one packet, less what the guest takes anyway: one measurement of each
/// guest, one right after the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct PacketCost {
    /// What ships, with many policies.
    pub many: Duration,
    pub few: Duration,
    /// With many, and without the guard.
    pub unguarded: Duration,
    pub bare: Duration,
}

/// Measures it all, `runs` times in turn. Guests are x86-64: what differs between them does not hang on
/// the processor.
pub fn measure(options: &Options, runs: usize) -> miette::Result<SegmentRuns> {
    eprintln!("segments   a router: plan, rules and packets, {runs} times");
    let native = Native::new()?;
    let options = Options { target: Target::QemuX86_64, ..options.clone() };
    let routers = Routers::build(&options)?;
    let mut all = SegmentRuns { runs, ..SegmentRuns::default() };
    for (applied, size) in all.applied.iter_mut().zip([LARGE, SMALL]) {
        applied.size = size;
    }
    for _ in 0..runs {
        for round in 0..ROUNDS {
            native.plan(LARGE, &mut all.plan)?;
            for Applied { size, netd, whole, least } in &mut all.applied {
                let mut ways = [
                    (NativeMeans::Netd, netd),
                    (NativeMeans::Whole, whole),
                    (NativeMeans::Least, least),
                ];
                // None is always the one that follows the same other one.
                ways.rotate_left(round % 3);
                for (how, applications) in ways {
                    native.apply(*size, how, applications)?;
                }
            }
        }
        all.packets.extend(routers.run()?);
        eprintln!("           {}", table::brief(&all));
    }
    all.buckets = native::buckets()?;
    Ok(all)
}
