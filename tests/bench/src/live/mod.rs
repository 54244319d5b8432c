//! A box that runs, as its owner meets it: what the gate costs, how long an update takes, and what
//! memory the gate has while nobody is there. Times stand beside the least that they could be, in the
//! same guest or in one of the same kind.

mod image;
mod owner;
mod release;
mod run;
mod table;
mod wire;

use miette::IntoDiagnostic;

use super::sample::TimeSample;
use octet_image::Target;
use octet_image::build::{self, Options};

use image::KnownHost;
use owner::BenchOwner;
use release::BootFiles;
use run::Guests;
pub use table::TITLE;

#[derive(Debug, Clone, Default)]
pub struct LiveRuns {
    /// How many there were, each with guests of its own.
    pub runs: usize,
    /// `status`, by the owner's program and through the gate.
    pub gate: TimeSample,
    /// The same at PID 1's port, where there is no gate.
    pub port: TimeSample,
    /// One byte to the gate's port and back, with nothing but an echo there.
    pub echo: TimeSample,
    /// A release that has nothing in common with what runs.
    pub whole: Installs,
    /// One that differs in a line.
    pub small: Installs,
    /// The gate's memory before anybody came.
    pub before: Vec<GateMemory>,
    /// The same after one operator came and went.
    pub after: Vec<GateMemory>,
}

#[derive(Debug, Clone, Default)]
pub struct Installs {
    /// What the box wrote of its files, in bytes.
    pub written: u64,
    /// What was sent for it.
    pub sent: u64,
    /// `update install` through the gate.
    pub gate: TimeSample,
    /// The same at PID 1's port.
    pub port: TimeSample,
    /// Files of the same sizes written onto the same medium in the same guest, until they are there.
    pub plain: TimeSample,
}

/// What the gate has, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GateMemory {
    /// `memory.current` of its control group.
    pub charged: u64,
    /// The resident size of its process.
    pub resident: u64,
}

/// Runs all of it `runs` times, on x86-64: what differs does not hang on the processor.
pub fn measure(options: &Options, runs: usize) -> miette::Result<LiveRuns> {
    eprintln!("box        gate, updates and memory of a box that runs, {runs} times");
    let options = Options { target: Target::QemuX86_64, ..options.clone() };
    let built = build::build(&options)?;
    let owner = BenchOwner::new(&options)?;
    let known = KnownHost { operator: owner.keygen()?, signer: release::keygen(&owner)? };
    let here = image::of_box(&options, &known, "this one runs\n")?;
    let changed = image::of_box(&options, &known, "this one comes\n")?;
    let echo = owner.file("echo");
    std::fs::write(&echo, image::of_echo(&options)?.initrd).into_diagnostic()?;
    let here = BootFiles { linux: &here.linux, initrd: &here.initrd };
    let guests = Guests {
        disk: build::disk_with(&options, here.linux, here.initrd)?.1,
        whole: release::of_other_bytes(&owner, &options, here)?,
        small: release::of_change(&owner, &options, BootFiles { initrd: &changed.initrd, ..here })?,
        echo,
        built,
        owner,
    };
    let mut all = LiveRuns { runs, ..LiveRuns::default() };
    for _ in 0..runs {
        guests.run(&mut all)?;
        eprintln!("           {}", table::brief(&all));
    }
    Ok(all)
}
