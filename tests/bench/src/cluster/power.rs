//! From power-on: one board, and a whole box.

use std::time::Duration;

use miette::IntoDiagnostic;
use octet_appliance::Board;
use octet_machine::{Cluster, Node};

use super::BOARDS;
use octet_image::build::{self, Built, Options};
use octet_image::cluster::{self, MachineSize};
use octet_image::machine;

/// MiB of each machine, as `cargo image run` gives them.
const MEMORY: u32 = 256;

/// No guest takes this long to come up, however busy the host.
const READY: Duration = Duration::from_secs(180);

/// What is powered on: what ships, without a disk, so every board is blank.
pub struct Power {
    built: Built,
    ports: u8,
    said: Vec<Board>,
}

impl Power {
    pub fn new(options: &Options) -> miette::Result<Self> {
        let (ports, said) = cluster::configured_boards(options, BOARDS)?;
        Ok(Self { built: build::build(options)?, ports, said })
    }

    /// How long one board takes until it is ready, alone on this computer.
    pub fn alone(&self) -> miette::Result<Duration> {
        let cluster = Cluster::new(self.ports, false).into_diagnostic()?;
        let board = Node::Board(1);
        let machine = machine(&self.built, None, Some(board))?.memory(MEMORY);
        let machine = cluster.power_on(board, machine).into_diagnostic()?;
        machine.wait_ready(READY).into_diagnostic()?;
        Ok(machine.started().elapsed())
    }

    /// How long a router and its boards take until they are one box.
    pub fn whole(&self) -> miette::Result<Duration> {
        let folder = tempfile::Builder::new().prefix("octet-").tempdir().into_diagnostic()?;
        let size = MachineSize { ports: self.ports, boards: BOARDS, memory: MEMORY };
        Ok(cluster::start(&self.built, size, &self.said, None, None, folder.path())?.boot_time)
    }
}
