//! A process that runs cluster as one node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use octet_cluster::limits::ClusterLimits;
use octet_cluster::position::BoxAddressing;
use octet_cluster::settings::Settings;
use octet_cluster::{ClusterConfig, run as run_cluster};
use octet_node::settings::Which;
use octet_node::{Callers, inherited};
use rustix::process::{Signal, geteuid, set_parent_process_death_signal};
use serde_json::Value;

use super::Failed;

/// The argument that makes a process run a node.
pub const ROLE: &str = "node";

/// The name of the control socket, in the node's folder.
pub const SOCKET: &str = "cluster.sock";

/// The name of the data folder, in the node's folder.
pub const STATE: &str = "state";

/// The verbs that the benchmark calls.
const VERBS: &str = "show,map,drain,undrain";

/// Ends this process when its parent dies, for whatever reason.
pub fn end_with_parent() -> Result<(), Failed> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Runs node `number`, whose coordinator listens at `coordinator`; the coordinator itself inherits
/// the socket.
pub fn run(folder: &Path, number: u8, coordinator: u16) -> Result<Value, Failed> {
    let port = match inherited().into_iter().next() {
        Some((_, socket)) => TcpListener::from(socket),
        None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
    };
    end_with_parent()?;
    let wiring = BoxAddressing {
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
        addressing: wiring,
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
