//! What netd is told: the sections of `appliance.toml` that are its own.

use std::path::Path;

use octet_appliance::{
    Board, Cluster, ClusterSettings, Lan, NetworkSettings, Policy, Publish, Segments, Unit,
};
use octet_node::SettingsError;
use octet_node::control::{Client, Failure, FailureCode, INIT, SOCKETS};
use octet_node::settings::{Which, section_in};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::host::Inbound;
use crate::plugged::Plugged;
use crate::router::plan::Plan;
use crate::rules::Rules;

/// The number that PID 1 gives for the router.
const ROUTER: u64 = 0;

/// What does not change while the box runs.
#[derive(Debug)]
pub struct Node {
    /// The units of the image.
    pub units: Vec<Unit>,
    /// Whether this node is the router of the box.
    pub is_router: bool,
}

impl Node {
    /// With these units; asks PID 1 for the rest. Nobody is a router unless he is told so.
    pub fn new(units: Vec<Unit>) -> Self {
        let ask = || {
            let mut client =
                Client::connect(&Path::new(SOCKETS).join(format!("{INIT}.sock"))).ok()?;
            client.call("boot", Map::new()).ok()?.get("board")?.as_u64()
        };
        Self { units, is_router: ask() == Some(ROUTER) }
    }
}

/// What is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How this node is reached, and a router's uplink.
    pub network: NetworkSettings,
    /// What a router does between its ports.
    pub router: Option<Plan>,
}

impl Told {
    /// Reads it.
    ///
    /// # Errors
    /// `config` does not answer, or a router cannot be as it says.
    pub fn read(node: &Node, which: Which) -> Result<Self, Failure> {
        let network = section("network", which)?.unwrap_or_default();
        let router = match section::<Cluster>("cluster", which)? {
            Some(cluster) if node.is_router => Some(router(node, which, cluster)?),
            _ => None,
        };
        Ok(Self { network, router })
    }

    /// What the kernel is to let, with who is `plugged` in.
    pub fn rules(&self, node: &Node, plugged: &Plugged) -> Rules {
        let leased = self.network.addressing == octet_appliance::Addressing::Dhcp;
        match &self.router {
            Some(plan) => Rules::router(plan, &node.units, plugged, leased),
            None => Rules::Host(Inbound::of(&node.units, leased)),
        }
    }
}

fn router(node: &Node, which: Which, cluster: Cluster) -> Result<Plan, Failure> {
    let settings = ClusterSettings {
        cluster,
        boards: section::<Vec<Board>>("board", which)?.unwrap_or_default(),
        lan: section::<Lan>("lan", which)?,
        policies: section::<Vec<Policy>>("policy", which)?.unwrap_or_default(),
        publish: section::<Vec<Publish>>("publish", which)?.unwrap_or_default(),
    };
    let segments = Segments::of(&settings, &node.units, ("appliance.toml", ""));
    let (segments, _) = segments
        .map_err(|mistake| Failure::new(FailureCode::BadArgument, mistake.message, mistake.hint))?;
    Ok(Plan::new(&settings, &segments, &node.units))
}

/// A section that may not be there.
fn section<T: DeserializeOwned>(name: &str, which: Which) -> Result<Option<T>, Failure> {
    let value: Value = section_in(Path::new(SOCKETS), name, which)?;
    match value {
        Value::Null => Ok(None),
        // What an image without `config` says of a section that it does not have.
        Value::Object(empty) if empty.is_empty() && name != "lan" => Ok(None),
        value => serde_json::from_value(value)
            .map(Some)
            .map_err(|source| SettingsError::Wrong { section: name.to_owned(), source }.into()),
    }
}
