//! A process that is cluster on one node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use octet_cluster::limits::ClusterLimits;
use octet_cluster::place::Wiring;
use octet_cluster::settings::Settings;
use octet_cluster::{ClusterConfig, run as run_cluster};
use octet_node::settings::Which;
use octet_node::{Callers, inherited};
use rustix::process::{Signal, geteuid, set_parent_process_death_signal};
use serde_json::Value;

use super::Failed;

/// The word that makes a process a node.
pub const ROLE: &str = "node";

/// Its own socket, in its folder.
pub const SOCKET: &str = "cluster.sock";

/// Its data folder, in its folder.
pub const STATE: &str = "state";

/// What is asked of it here.
const VERBS: &str = "show,map,drain,undrain";

/// No process outlives the one that measures, whatever that died of.
pub fn end_with_parent() -> Result<(), Failed> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Is node `number`, whose coordinator listens at `coordinator`; the coordinator itself inherits the socket.
pub fn run(folder: &Path, number: u8, coordinator: u16) -> Result<Value, Failed> {
    let port = match inherited().into_iter().next() {
        Some((_, socket)) => TcpListener::from(socket),
        None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
    };
    end_with_parent()?;
    let wiring = Wiring {
        number_of: Box::new(|_, address| match address {
            IpAddr::V4(v4) if v4.octets()[..3] == [127, 0, 1] => Some(v4.octets()[3]),
            _ => None,
        }),
        coordinator_of: Box::new(move |_, _, _| {
            SocketAddr::from((Ipv4Addr::LOCALHOST, coordinator))
        }),
        source_of: Box::new(|number| Some(Ipv4Addr::new(127, 0, 1, number).into())),
    };
    let parts = ClusterConfig {
        settings: Settings::read(folder, Which::InForce)?,
        limits: ClusterLimits::default(),
        wiring,
        folder: Some(folder.join(STATE)),
        sockets: folder.to_owned(),
        port,
        control: UnixListener::bind(folder.join(SOCKET))?,
        callers: Callers::parse(&format!("{}={VERBS}", geteuid().as_raw())).unwrap_or_default(),
    };
    println!("node {number}");
    run_cluster(parts, || Ok(()))?;
    Ok(Value::Null)
}
