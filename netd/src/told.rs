//! netd's configuration: the sections of `appliance.toml` that concern the network.

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

/// The number that PID 1 reports for the router.
const ROUTER: u8 = 0;

/// What is known about the node when netd starts.
#[derive(Debug)]
pub struct NodeFacts {
    /// The units of the image.
    pub units: Vec<Unit>,
    /// The board's number, if PID 1 knows it already. Whether this is the router does not change
    /// while it runs; a board may learn its number later.
    pub number: Option<u8>,
}

impl NodeFacts {
    /// Uses these units and asks PID 1 for the rest. A node is a router only if PID 1 says so.
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
    /// The node's own addresses, or a router's uplink.
    pub network: NetworkSettings,
    /// The plan of a router for its segments.
    pub router: Option<RouterPlan>,
    /// Whether this is a board of a box with a router: then the router assigns its addresses.
    pub is_board: bool,
    /// The coordinator, if it is a board and this node is a board.
    pub manager: Option<Manager>,
    /// The policies for the paths of the unit `forward`, if this is a board that has the unit.
    pub lines: PathAllows,
}

impl NetworkConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `config` does not answer, or the settings of the router are invalid.
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
            // On a router, `[network]` describes its uplink.
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

    /// The ruleset of a node with this `number` and the port bindings `plugged`.
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

/// The router's plan: for the router itself, and for boards of a box whose router runs OpenWrt and
/// cannot be asked.
pub fn plan(node: &NodeFacts, which: Which) -> Result<Option<RouterPlan>, Failure> {
    match sections::cluster(Path::new(SOCKETS), which)? {
        Some(cluster) if node.is_router() || !cluster.router.is_octet() => {
            router(node, which, cluster).map(Some)
        }
        _ => Ok(None),
    }
}

/// The box that this node belongs to, if any.
pub fn cluster() -> Result<Option<Cluster>, Failure> {
    sections::cluster(Path::new(SOCKETS), Which::InForce)
}

fn router(node: &NodeFacts, which: Which, cluster: Cluster) -> Result<RouterPlan, Failure> {
    let sockets = Path::new(SOCKETS);
    let (settings, segments) = sections::segments(sockets, which, cluster, &node.units)?;
    Ok(RouterPlan::new(&settings, &segments, &node.units))
}
