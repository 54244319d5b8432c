//! What netd is told: the sections of `appliance.toml` that are its own.

use std::path::Path;

use octet_appliance::{Cluster, NetworkSettings, Unit};
use octet_node::control::{Failure, SOCKETS};
use octet_node::own_number;
use octet_node::settings::Which;
use octet_node::settings::cluster as sections;

use crate::host::Inbound;
use crate::manager::Manager;
use crate::paths::{self, PathAllows};
use crate::plugged::PortBindings;
use crate::router::plan::RouterPlan;
use crate::rules::NodeTables;

/// The number that PID 1 gives for the router.
const ROUTER: u8 = 0;

/// What was so when netd started.
#[derive(Debug)]
pub struct NodeFacts {
    /// The units of the image.
    pub units: Vec<Unit>,
    /// Its number, if PID 1 knows it already. That this is the router does not change while it runs; a board
    /// may be told its number later.
    pub number: Option<u8>,
}

impl NodeFacts {
    /// With these units; asks PID 1 for the rest. Nobody is a router unless he is told so.
    pub fn new(units: Vec<Unit>) -> Self {
        let number = own_number(Path::new(SOCKETS)).ok().flatten();
        Self { units, number }
    }

    /// Whether this node is the router of the box.
    pub fn is_router(&self) -> bool {
        self.number == Some(ROUTER)
    }

    /// Whether the unit `forward` is in the image.
    fn forwards(&self) -> bool {
        self.units.iter().any(|unit| unit.name.as_str() == paths::UNIT)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// How this node is reached, and a router's uplink.
    pub network: NetworkSettings,
    /// What a router does between its ports.
    pub router: Option<RouterPlan>,
    /// Whether this is a board of a box with a router: its port says how it is reached.
    pub is_board: bool,
    /// The board that holds the map, if one does and this is a board.
    pub manager: Option<Manager>,
    /// What lines let to boards of what is the unit `forward`'s, if this is one and has it.
    pub lines: PathAllows,
}

impl NetworkConfig {
    /// Reads it.
    ///
    /// # Errors
    /// `config` does not answer, or a router cannot be as it says.
    pub fn read(node: &NodeFacts, which: Which) -> Result<Self, Failure> {
        let sockets = Path::new(SOCKETS);
        let network = sections::optional(sockets, "network", which)?.unwrap_or_default();
        let alone = Self {
            network,
            router: None,
            is_board: false,
            manager: None,
            lines: PathAllows::default(),
        };
        Ok(match sections::cluster(sockets, which)? {
            None => alone,
            Some(cluster) if node.is_router() => {
                let router = Some(router(node, which, cluster)?);
                Self { router, ..alone }
            }
            // `[network]` is the router's.
            Some(cluster) => {
                let boards = sections::boards(sockets, which)?;
                let manager = Manager::of(&cluster, &boards);
                let lines = match node.forwards() {
                    true => {
                        let (settings, segments) =
                            sections::segments(sockets, which, cluster, &node.units)?;
                        PathAllows::of(&settings.cluster, &segments)
                    }
                    false => PathAllows::default(),
                };
                let network = NetworkSettings::default();
                Self { network, router: None, is_board: true, manager, lines }
            }
        })
    }

    /// What the kernel of a node that has this `number` is to let, with who is `plugged` in.
    pub fn rules(
        &self,
        node: &NodeFacts,
        number: Option<u8>,
        plugged: &PortBindings,
    ) -> NodeTables {
        let leased = self.network.addressing == octet_appliance::Addressing::Dhcp;
        match &self.router {
            Some(plan) => NodeTables::router(plan, &node.units, plugged, leased),
            None => {
                let enrolment = self.manager.as_ref().map_or(&[][..], |it| it.takes_in(number));
                let (asks, lines) = ((leased, self.is_board), self.lines.to(number));
                NodeTables::Host(Inbound::of(&node.units, asks, enrolment, lines))
            }
        }
    }
}

/// What the file comes to: for the router, which obeys it, and for boards of a box whose router is none of
/// ours and cannot be asked.
pub fn plan(node: &NodeFacts, which: Which) -> Result<Option<RouterPlan>, Failure> {
    match sections::cluster(Path::new(SOCKETS), which)? {
        Some(cluster) if node.is_router() || !cluster.router.is_octet() => {
            router(node, which, cluster).map(Some)
        }
        _ => Ok(None),
    }
}

/// The box that this node is of, if it is of one.
pub fn cluster() -> Result<Option<Cluster>, Failure> {
    sections::cluster(Path::new(SOCKETS), Which::InForce)
}

fn router(node: &NodeFacts, which: Which, cluster: Cluster) -> Result<RouterPlan, Failure> {
    let sockets = Path::new(SOCKETS);
    let (settings, segments) = sections::segments(sockets, which, cluster, &node.units)?;
    Ok(RouterPlan::new(&settings, &segments, &node.units))
}
