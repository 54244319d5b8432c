//! One run: a box that was just flashed, and a guest that only echoes.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use miette::{Diagnostic, IntoDiagnostic};
use octet_machine::{Disk, Machine};
use serde::Deserialize;
use serde_json::json;

use super::owner::{BenchOwner, ClientProgram};
use super::release::BenchRelease;
use super::{GateMemory, LiveRuns, wire};
use crate::boot::MEMORY;
use crate::disk::flashed;
use octet_image::Sparse;
use octet_image::build::Built;

/// How often gate, port and bare wire are asked in turn.
pub const ROUNDS: usize = 20;

/// No guest takes this long to come up, however busy the host.
const READY: Duration = Duration::from_secs(180);

/// How long a guest is left alone before its memory is counted: `bench::memory` says why.
const IDLE: Duration = Duration::from_secs(10);

/// Where the slots are in these guests.
const ESP: &str = "/dev/vda1";

/// The unit that measures from inside.
const YARDSTICK: &str = "yardstick";

/// Something in the guest is not as it has to be for a measurement.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the guest cannot be measured: {0}")]
#[diagnostic(help("see tests/bench/src/live/image.rs for what is in it"))]
struct NotMeasured(String);

/// What the guests are made of.
pub struct Guests {
    pub built: Built,
    /// The disk of the box.
    pub disk: Sparse,
    /// The initramfs of the guest that echoes.
    pub echo: PathBuf,
    pub whole: BenchRelease,
    pub small: BenchRelease,
    /// The owner of the box.
    pub owner: BenchOwner,
}

/// What `update install` prints.
#[derive(Debug, Deserialize)]
struct Counts {
    size: u64,
    received: u64,
    copied: u64,
    shared: u64,
}

impl Guests {
    /// Boots them, and adds what is measured to `all`.
    pub fn run(&self, all: &mut LiveRuns) -> miette::Result<()> {
        let folder = tempfile::tempdir().into_diagnostic()?;
        let disk = folder.path().join("disk");
        flashed(&self.disk, &disk)?;
        let architecture = self.built.target.architecture();
        let machine = Machine::from_disk(architecture, Disk::new(&disk)).memory(MEMORY);
        let machine = wire::card(machine).start().into_diagnostic()?;
        // Only then the update that is to come may be taken.
        machine.wait_slot(READY).into_diagnostic()?;
        let node = machine.call_unit("identity", "show", json!({})).into_diagnostic()?;
        let node = node["node"].as_str().unwrap_or_default().to_owned();
        let gate = self.owner.by_gate(&node, wire::end(&machine)?);
        let port = self.owner.by_port(&machine, self.built.target)?;

        all.before.push(memory(&machine)?);
        status(&gate)?;
        all.after.push(memory(&machine)?);
        self.in_turn(&gate, &port, &machine, all)?;
        for (release, installs) in [(&self.whole, &mut all.whole), (&self.small, &mut all.small)] {
            installs.plain.add(plain(&machine, release)?);
            machine.release_control();
            for (way, sample) in [(&gate, &mut installs.gate), (&port, &mut installs.port)] {
                let (took, sent) = install(way, release)?;
                sample.add(took);
                installs.sent = sent;
            }
            installs.written = release.written.iter().sum();
        }
        Ok(())
    }

    /// Asks by the gate, by the port and by the bare wire in turn.
    fn in_turn(
        &self,
        gate: &ClientProgram,
        port: &ClientProgram,
        machine: &Machine,
        all: &mut LiveRuns,
    ) -> miette::Result<()> {
        let echo = Machine::builder(&self.built.linux, &self.echo);
        let echo = echo.architecture(self.built.target.architecture()).memory(MEMORY);
        // Beside the other one, however few cores there are.
        let echo = wire::card(echo).unlimited().start().into_diagnostic()?;
        echo.wait_ready(READY).into_diagnostic()?;
        let end = wire::end(&echo)?;
        machine.release_control();
        for _ in 0..ROUNDS {
            all.gate.add(status(gate)?);
            all.port.add(status(port)?);
            all.echo.add(wire::echo(end).into_diagnostic()?);
        }
        Ok(())
    }
}

/// Asks for the status, and sees that it is one.
fn status(way: &ClientProgram) -> miette::Result<Duration> {
    let (took, said) = way.ask(&["status"])?;
    let is_status = said.contains("ready") && said.contains(wire::GATE);
    if is_status { Ok(took) } else { Err(NotMeasured(format!("no status:\n{said}")).into()) }
}

/// Installs `release`, and sees that the box wrote and was sent what it should.
fn install(way: &ClientProgram, release: &BenchRelease) -> miette::Result<(Duration, u64)> {
    let file = release.file.to_string_lossy();
    let (took, said) = way.ask(&["update", "install", "--json", &file])?;
    let counts: Counts = serde_json::from_str(&said).into_diagnostic()?;
    let all = counts.size == counts.shared + release.written.iter().sum::<u64>();
    if all && (counts.copied == 0) == release.is_new {
        return Ok((took, counts.received));
    }
    Err(NotMeasured(format!("another update was written than was meant: {counts:?}")).into())
}

/// Writes as many bytes as `release` has onto the same medium.
fn plain(machine: &Machine, release: &BenchRelease) -> miette::Result<Duration> {
    let args = json!({ "device": ESP, "sizes": release.written });
    let took = machine.call_unit(YARDSTICK, "write", args).into_diagnostic()?;
    let took = took["ns"].as_u64().ok_or_else(|| NotMeasured("nothing was written".into()))?;
    Ok(Duration::from_nanos(took))
}

/// The gate's memory, when nothing has happened for a while.
fn memory(machine: &Machine) -> miette::Result<GateMemory> {
    sleep(IDLE);
    let status = machine.status().into_diagnostic()?;
    let gate = status.unit(wire::GATE).and_then(|gate| Some((gate.memory?, gate.pid?)));
    let (charged, pid) = gate.ok_or_else(|| NotMeasured("its gate does not run".into()))?;
    let args = json!({ "pid": pid });
    let said = machine.call_unit(YARDSTICK, "memory", args).into_diagnostic()?;
    let resident = said["rss"].as_u64();
    let resident = resident.ok_or_else(|| NotMeasured("its gate has no memory".into()))?;
    Ok(GateMemory { charged, resident })
}
