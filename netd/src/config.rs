//! netd's configuration: the sections of `appliance.toml` that concern the network.

use std::path::Path;

use octet_appliance::{Addressing, Cluster, ClusterSettings, FileError, NetworkSettings, Unit};
use octet_node::control::{Failure, SOCKETS};
use octet_node::own_number;
use octet_node::settings::{Settings, Which};

use crate::host::Inbound;
use crate::manager::Manager;
use crate::paths::{self, PathAllows};
use crate::port_bindings::PortBindings;
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

/// The desired network, of one version of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The node's own addresses, or a router's uplink.
    pub network: NetworkSettings,
    /// The box that this node belongs to.
    pub cluster: Option<Cluster>,
    /// The plan of this node, if it is a router.
    pub router: Option<RouterPlan>,
    /// The plan of the router with OpenWrt, which cannot be asked; this node only shows it.
    pub openwrt: Option<RouterPlan>,
    /// Whether this is a board of a box with a router: then the router assigns its addresses.
    pub is_board: bool,
    /// The coordinator, if it is a board and this node is a board.
    pub manager: Option<Manager>,
    /// The policies for the paths of the unit `forward`, if this is a board that has the unit.
    pub policies: PathAllows,
}

impl NetworkConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `config` does not answer, or the settings of the router are invalid.
    pub fn read(node: &NodeFacts, which: Which) -> Result<Self, Failure> {
        let settings = Settings::read(Path::new(SOCKETS), which)?;
        let network = settings.optional("network")?.unwrap_or_default();
        Ok(Self::new(node, network, settings.cluster_settings()?)?)
    }

    fn new(
        node: &NodeFacts,
        network: NetworkSettings,
        cluster: Option<ClusterSettings>,
    ) -> Result<Self, Box<FileError>> {
        let mut config = Self {
            network,
            cluster: None,
            router: None,
            openwrt: None,
            is_board: false,
            manager: None,
            policies: PathAllows::default(),
        };
        let Some(settings) = cluster else { return Ok(config) };
        if node.is_router() {
            config.router = Some(RouterPlan::new(&settings, &node.units)?);
        } else {
            // On a router, `[network]` describes its uplink.
            config.network = NetworkSettings::default();
            config.is_board = true;
            config.manager = Manager::of(&settings.cluster, &settings.boards);
            if node.forwards() {
                config.policies = PathAllows::of(&settings, &node.units)?;
            }
            if !settings.cluster.router.is_octet() {
                config.openwrt = Some(RouterPlan::new(&settings, &node.units)?);
            }
        }
        config.cluster = Some(settings.cluster);
        Ok(config)
    }

    /// The plan of the box's router, as far as this node knows it: a router with Octet can be asked.
    pub fn plan(&self) -> Option<&RouterPlan> {
        self.router.as_ref().or(self.openwrt.as_ref())
    }

    /// The ruleset of a node with this `number` and the port bindings `plugged`.
    pub fn rules(
        &self,
        node: &NodeFacts,
        number: Option<u8>,
        plugged: &PortBindings,
    ) -> NodeTables {
        let leased = self.network.addressing == Addressing::Dhcp;
        match &self.router {
            Some(plan) => NodeTables::router(plan, &node.units, plugged, leased),
            None => {
                let enrolment =
                    self.manager.as_ref().map_or(&[][..], |it| it.enrolment_sources(number));
                let (asks, policies) = ((leased, self.is_board), self.policies.to(number));
                NodeTables::host(&Inbound::of(&node.units, asks, enrolment, policies))
            }
        }
    }
}
