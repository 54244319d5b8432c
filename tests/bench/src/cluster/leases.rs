//! A router whose ports all end here: its memory before and after every board has asked for an address.

use std::io;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use octet_appliance::{Appliance, Bytes, SETTINGS, UnitSource};
use octet_machine::{Architecture, Mac, Machine, Port, Tail, router_card};
use serde_json::json;
use tempfile::TempDir;

use super::{MAX, RouterMemory, UNITS, dhcp};
use crate::altered::put;
use octet_image::build::{self, Options};

/// MiB of a router.
const MEMORY: u32 = 2048;

/// No guest takes this long to come up, however busy the host.
const READY: Duration = Duration::from_secs(180);

/// How long a guest is left alone before its memory is counted: `bench::memory` says why.
const IDLE: Duration = Duration::from_secs(10);

/// Where the units' own files are, in the order of [`UNITS`].
const FILES: [&str; UNITS.len()] =
    ["services/lan/unit.toml", "netd/unit.toml", "services/cluster/unit.toml"];

/// Something about the router is not as it has to be for a measurement.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the router of {MAX} boards was not measured: {reason}\n{tail}")]
#[diagnostic(help("see tests/bench/src/cluster/leases.rs for what it is"))]
struct NotMeasured {
    reason: String,
    tail: Tail,
}

pub struct Leases {
    linux: PathBuf,
    initrd: PathBuf,
    architecture: Architecture,
    most: [u64; UNITS.len()],
    _folder: TempDir,
}

impl Leases {
    /// Builds it: what ships, told of the largest box. The uplink has a fixed address, so that nobody waits
    /// for a server.
    pub fn build(options: &Options) -> miette::Result<Self> {
        let linux = build::build(options)?.linux;
        let text = format!(
            "[appliance]\nname = \"octet\"\n\
             [image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n\
             [network]\naddress = [\"192.0.2.7/24\"]\ngateway = [\"192.0.2.1\"]\n\
             [cluster]\nboards = {MAX}\n"
        );
        let appliance = Appliance::parse("appliance.toml", &text).map_err(|error| *error)?;
        let settings = serde_json::to_vec(&appliance).into_diagnostic()?;
        let other = build::initrd_with(options, |tree| put(tree, SETTINGS, 0o644, settings))?;
        let folder = tempfile::tempdir().into_diagnostic()?;
        let initrd = folder.path().join("initrd");
        std::fs::write(&initrd, other.initrd).into_diagnostic()?;
        let mut most = [0; UNITS.len()];
        for (file, most) in FILES.iter().zip(&mut most) {
            let path = build::workspace()?.root().join(file);
            let text = std::fs::read_to_string(&path).into_diagnostic().wrap_err(*file)?;
            let unit = UnitSource::parse((*file).to_owned(), text).map_err(|error| *error)?.unit;
            *most = unit.limits.memory_max.map_or(0, Bytes::get);
        }
        let architecture = options.target.architecture();
        Ok(Self { linux, initrd, architecture, most, _folder: folder })
    }

    /// Starts one, and is every board at its ports.
    pub fn run(&self) -> miette::Result<[RouterMemory; 2]> {
        let machine = Machine::builder(&self.linux, &self.initrd)
            .architecture(self.architecture)
            .memory(MEMORY)
            .kernel_argument("octet.board=router");
        let machine = (0..=MAX).fold(machine, |machine, card| machine.nic(router_card(card)));
        let machine = machine.unlimited().start().into_diagnostic()?;
        machine.wait_ready(READY).into_diagnostic()?;
        let fail = |reason: String| NotMeasured { reason, tail: machine.tail(30) };
        let ports = (1..=MAX).map(|board| Some((board, machine.port(board.into())?)));
        let ports: Option<Vec<(u8, Port)>> = ports.collect();
        let ports = ports.ok_or_else(|| fail("it lacks a port".into()))?;
        let before = self.memory(&machine)?;
        for (board, port) in &ports {
            let given = dhcp::take(port, Mac::number(*board));
            let is_its_own = |given: &std::net::Ipv4Addr| given.octets()[2..] == [*board, 2];
            let given = given.and_then(|it| match is_its_own(&it) {
                true => Ok(()),
                false => Err(io::Error::other(format!("it was given {it}"))),
            });
            given.map_err(|error| fail(format!("board {board} has no address: {error}")))?;
        }
        let shown = machine.call_unit("lan", "show", json!({})).into_diagnostic()?;
        if shown["boards"].as_array().map(Vec::len) != Some(usize::from(MAX)) {
            return Err(fail(format!("it does not know {MAX} boards: {}", shown["boards"])).into());
        }
        Ok([before, self.memory(&machine)?])
    }

    /// Its memory, when nothing has happened for a while.
    fn memory(&self, machine: &Machine) -> miette::Result<RouterMemory> {
        sleep(IDLE);
        let status = machine.status().into_diagnostic()?;
        let charged = |unit| status.unit(unit).and_then(|unit| unit.memory).unwrap_or_default();
        let used = status.memory.total.saturating_sub(status.memory.available);
        Ok(RouterMemory { used, units: UNITS.map(charged), most: self.most })
    }
}
