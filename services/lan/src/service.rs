//! The service: it takes sockets and configuration from PID 1, and starts the loop.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use octet_appliance::{Cluster, Neighbour, OriginSection, Vpn};
use octet_node::control::SOCKETS;
use octet_node::settings::{Settings, SettingsError, Which};
use octet_node::{UnitEnvironment, address};

use crate::daemon::{DaemonConfig, LanConfig, run};
use crate::dns::prefix::IpPrefix;
use crate::dns_service::ROUTER;

/// Runs until PID 1 ends it.
pub fn main() -> ExitCode {
    octet_node::run(|given| run(daemon_config(given)?))
}

fn daemon_config(mut given: UnitEnvironment) -> io::Result<DaemonConfig> {
    Ok(DaemonConfig {
        sockets: SOCKETS.into(),
        config: read_config(Which::InForce).map_err(io::Error::other)?,
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

pub fn read_config(which: Which) -> Result<LanConfig, SettingsError> {
    let settings = Settings::read(Path::new(SOCKETS), which)?;
    let vpn: Option<Vpn> = settings.optional("vpn")?;
    let neighbours: Vec<Neighbour> = settings.list("neighbour")?;
    let exit = vpn.map(|vpn| {
        let exit = address::exit(&vpn, &neighbours);
        exit.into_iter().map(|node| IpAddr::V6(node.ip())).collect()
    });
    let cluster = settings.cluster()?;
    let whole = cluster.as_ref().map(box_networks).unwrap_or_default();
    let silent = cluster.filter(|cluster| !cluster.router.is_octet());
    Ok(LanConfig {
        identity: settings.section("appliance")?,
        network: settings.section("network")?,
        openwrt_cluster: silent,
        box_networks: whole,
        exit_addresses: exit,
        origins: settings.list("origin")?.iter().map(origin_hosts).collect(),
    })
}

/// The name of an origin, and the hosts whose caches are its fronts: the one that fetches first.
fn origin_hosts(origin: &OriginSection) -> (String, Vec<String>) {
    let board = |board: u8| format!("board-{board}");
    let first = origin.board.map_or_else(|| ROUTER.to_owned(), board);
    let others = origin.fronts.iter().map(|it| board(*it));
    (origin.name.to_string(), std::iter::once(first).chain(others).collect())
}

/// The networks that contain all segments of the box.
fn box_networks(cluster: &Cluster) -> Vec<IpPrefix> {
    let (four, six) = (cluster.network.host(0, 0), cluster.network6.host(0, 0));
    [IpPrefix::new(four.into(), 16), IpPrefix::new(six.into(), 48)].into_iter().flatten().collect()
}
