//! The network of a single board: a router in this process, and behind it devices of this host as the owner's.

use miette::{IntoDiagnostic, miette};
use octet_machine::Machine;
use octet_machine::panel::router::Router;

use super::{Hubs, disk};
use crate::appliance_file::ApplianceFile;
use crate::build::{self, Built, Options};

/// The first 16 bits of the networks of a board that is not one of a box.
const DEFAULT_PREFIX: [u8; 2] = [10, 20];

/// What the board is told.
#[derive(Debug, Clone, Copy)]
pub struct BoardNetwork {
    prefix: [u8; 2],
    /// Whether the file is about a box, of which it is the first board then.
    is_numbered: bool,
}

impl BoardNetwork {
    /// As the appliance's file says.
    pub fn of(options: &Options) -> miette::Result<Self> {
        let path = options.appliance_file(&build::workspace()?);
        let ApplianceFile { appliance, .. } = ApplianceFile::read(&path)?;
        let cluster = appliance.cluster.as_ref();
        let prefix = cluster.map_or(DEFAULT_PREFIX, |cluster| {
            let [a, b, ..] = cluster.network.host(0, 0).octets();
            [a, b]
        });
        Ok(Self { prefix, is_numbered: cluster.is_some() })
    }

    /// Plugs in `machine`, which has the card [`BOARD`](octet_machine::panel::router::BOARD).
    pub fn plug(self, built: &Built, machine: &Machine, has_disk: bool) -> miette::Result<Router> {
        let port = machine.port(0).ok_or_else(|| miette!("the machine has no network card"))?;
        let Hubs { lan, config, .. } = Hubs::of(machine.folder());
        disk::make_config(built, has_disk, false, &config).into_diagnostic()?;
        Router::start(port, &lan, self.prefix, self.is_numbered).into_diagnostic()
    }
}
