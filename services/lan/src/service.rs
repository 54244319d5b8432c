//! The service: it takes sockets and configuration from PID 1, and starts the loop.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use octet_appliance::{Cluster, Neighbour, Vpn};
use octet_node::control::SOCKETS;
use octet_node::settings::{SettingsError, Which, section_in};
use octet_node::{UnitEnvironment, address};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::daemon::{DaemonConfig, LanConfig, run};
use crate::dns::prefix::IpPrefix;

/// Runs until PID 1 ends it.
pub fn main() -> ExitCode {
    octet_node::run(|given| run(parts(given)?))
}

fn parts(mut given: UnitEnvironment) -> io::Result<DaemonConfig> {
    Ok(DaemonConfig {
        sockets: SOCKETS.into(),
        told: told(Which::InForce).map_err(io::Error::other)?,
        dhcp: given.socket("dhcp")?,
        dhcp_client: given.socket("dhcp-client")?,
        ra: given.socket("ra")?,
        icmp: given.socket("icmp")?,
        dns: (given.socket("dns")?, given.socket("dns-tcp")?),
        time: given.socket("time")?,
        control: given.socket("control")?,
        callers: given.callers,
    })
}

pub fn told(which: Which) -> Result<LanConfig, SettingsError> {
    let sockets = Path::new(SOCKETS);
    let identity = section_in(sockets, "appliance", which)?;
    let vpn: Option<Vpn> = may_be(section_in(sockets, "vpn", which)?, "vpn")?;
    let neighbours: Option<Vec<Neighbour>> =
        may_be(section_in(sockets, "neighbour", which)?, "neighbour")?;
    let exit = vpn.map(|vpn| {
        let exit = address::exit(&vpn, &neighbours.unwrap_or_default());
        exit.into_iter().map(|node| IpAddr::V6(node.ip())).collect()
    });
    let cluster: Option<Cluster> = may_be(section_in(sockets, "cluster", which)?, "cluster")?;
    let whole = cluster.as_ref().map(whole).unwrap_or_default();
    let silent = cluster.filter(|cluster| !cluster.router.is_octet());
    Ok(LanConfig { identity, network: section_in(sockets, "network", which)?, silent, whole, exit })
}

/// The networks that contain all segments of the box.
fn whole(cluster: &Cluster) -> Vec<IpPrefix> {
    let (four, six) = (cluster.network.host(0, 0), cluster.network6.host(0, 0));
    [IpPrefix::new(four.into(), 16), IpPrefix::new(six.into(), 48)].into_iter().flatten().collect()
}

/// An optional section; an image without the unit `config` has an empty object for it.
fn may_be<T: DeserializeOwned>(value: Value, section: &str) -> Result<Option<T>, SettingsError> {
    if value.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(None);
    }
    let wrong = |source| SettingsError::Wrong { section: section.to_owned(), source };
    serde_json::from_value(value).map_err(wrong)
}
