//! The guest that is a row of nodes: what each way carries, and what that takes of this computer.

use std::io;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};
use octet_machine::{Architecture, Builder, Mac, Machine, Status, Tail, UnitState};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::image::{self, CHAIN};
use super::{BenchPath, CarriedBytes, WAYS};
use crate::boot::MEMORY;
use crate::processor;
use octet_image::build::{self, Options};

/// How often in a run each way is measured, in turn.
pub const ROUNDS: usize = 3;

/// How long bytes go by a way, about: processor time is told in hundredths of a second.
const CARRIES: Duration = Duration::from_secs(5);

/// How many go before: until the way is open, and until it is known how fast it is.
const OPENS: u64 = 16 << 10;
const SHOWS: u64 = 512 << 10;

/// How long a guest is left alone to see what it takes anyway.
const IDLE: Duration = Duration::from_secs(5);

/// No guest takes this long to come up, and no program to find the others, however busy the host.
const LONGEST: Duration = Duration::from_secs(180);

/// The pause before it is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The wires between four nodes.
const WIRES: usize = 3;

/// The guest is not what it has to be for a measurement.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{what} was not measured: {reason}\n{tail}")]
#[diagnostic(help("see services/forward/examples/chain for what the guest does"))]
struct NotMeasured {
    what: &'static str,
    reason: String,
    tail: Tail,
}

pub struct GuestChain {
    linux: PathBuf,
    initrd: PathBuf,
    architecture: Architecture,
    _folder: TempDir,
}

impl GuestChain {
    pub fn build(options: &Options) -> miette::Result<Self> {
        let linux = build::build(options)?.linux;
        let folder = tempfile::tempdir().into_diagnostic()?;
        let initrd = folder.path().join("initrd");
        std::fs::write(&initrd, image::build(options)?.initrd).into_diagnostic()?;
        let architecture = options.target.architecture();
        Ok(Self { linux, initrd, architecture, _folder: folder })
    }

    /// Starts it, and measures all ways in turn, so that a busy moment of the host meets each.
    pub fn run(&self) -> miette::Result<Vec<[CarriedBytes; WAYS.len()]>> {
        let machine = Machine::builder(&self.linux, &self.initrd).architecture(self.architecture);
        // The first card is the board's own: nobody is at its other end.
        let machine = wires(machine.memory(MEMORY).nic(Mac::number(1)));
        let machine = machine.start().into_diagnostic()?;
        machine.wait_ready(LONGEST).into_diagnostic()?;
        let unit = |status: &Status| status.unit(CHAIN).map(|unit| unit.state);
        let settled =
            |status: &Status| matches!(unit(status), Some(UnitState::Ready | UnitState::Failed));
        machine.wait_status("the row", LONGEST, settled).into_diagnostic()?;
        let row = Row { machine };
        // The nodes are made when they are first asked for.
        row.ask("end", json!({})).map_err(|error| row.failed("the row", &error))?;
        let (used, took) = processor::during(row.machine.pid(), || {
            sleep(IDLE);
            Ok(())
        })
        .into_diagnostic()?;
        let idle = used.as_secs_f64() / took.as_secs_f64();
        let mut rounds = vec![];
        for round in 0..ROUNDS {
            let mut all = [CarriedBytes::default(); WAYS.len()];
            let mut turns: Vec<_> = WAYS.iter().zip(&mut all).collect();
            // None always follows the same other one when the host has become another.
            turns.rotate_left(round * WAYS.len() / ROUNDS);
            for (way, carried) in turns {
                *carried = row.carry(way, idle).map_err(|error| row.failed(way.name, &error))?;
            }
            rounds.push(all);
        }
        Ok(rounds)
    }
}

/// Gives the guest two cards for each wire, which a hub of QEMU's joins.
fn wires(machine: Builder) -> Builder {
    (0..WIRES).flat_map(|wire| [(wire, 0), (wire, 1)]).fold(machine, |machine, (wire, side)| {
        let card = 2 + 2 * wire + side;
        machine
            .argument("-netdev")
            .argument(format!("hubport,id=hub{card},hubid={wire}"))
            .argument("-device")
            .argument(format!(
                "virtio-net-pci,netdev=hub{card},mac={},romfile=",
                Mac::number(card as u8)
            ))
    })
}

/// The row, while it runs.
struct Row {
    machine: Machine,
}

impl Row {
    fn ask(&self, verb: &str, args: Value) -> io::Result<()> {
        self.machine.call_unit(CHAIN, verb, args).map(drop).map_err(io::Error::other)
    }

    /// Has so many bytes go by `way`, and waits until they have come.
    fn send(&self, way: &BenchPath, bytes: u64) -> io::Result<()> {
        self.ask("carry", json!({ "way": way.name, "bytes": bytes }))
    }

    /// Measures a way once; `idle` is the part of a processor that the guest takes anyway.
    fn carry(&self, way: &BenchPath, idle: f64) -> io::Result<CarriedBytes> {
        self.ask("begin", json!({ "way": way.name }))?;
        let deadline = Instant::now() + LONGEST;
        // Programs have to find each other first.
        while let Err(error) = self.send(way, OPENS) {
            if Instant::now() > deadline {
                return Err(error);
            }
            sleep(RETRY_DELAY);
        }
        let began = Instant::now();
        self.send(way, SHOWS)?;
        let bytes = SHOWS as f64 * CARRIES.as_secs_f64() / began.elapsed().as_secs_f64();
        let bytes = (bytes as u64).max(SHOWS);
        let (used, took) = processor::during(self.machine.pid(), || self.send(way, bytes))?;
        self.ask("end", json!({}))?;
        Ok(CarriedBytes { bytes, took, used: used.saturating_sub(took.mul_f64(idle)) })
    }

    fn failed(&self, what: &'static str, error: &io::Error) -> NotMeasured {
        let said = self.machine.logs(CHAIN).unwrap_or_default();
        let last: Vec<_> = said.iter().rev().take(10).rev().map(String::as_str).collect();
        let reason = format!("{error}\n{}", last.join("\n"));
        NotMeasured { what, reason, tail: self.machine.tail(30) }
    }
}
