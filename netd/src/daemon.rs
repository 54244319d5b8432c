//! The daemon: rules first, then links and addresses, for as long as the box runs.
//!
//! It keeps nothing: a netd that is started again looks at what the kernel has, loads the same rules
//! in one transaction, and changes what is not as it should be. What it has set stays when it ends.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;

use futures_util::StreamExt;
use octet_appliance::{UNITS, Unit};
use octet_node::control::Failure;
use octet_node::settings::Which;
use octet_node::{Callers, notify_ready};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::channel;
use tokio::time::{Instant, sleep_until};

use crate::generation::Generations;
use crate::kernel::Kernel;
use crate::netconf::Netconf;
use crate::network::Network;
use crate::nft::NftError;
use crate::serve::{self, Shared, Wish};
use crate::told::{Node, Told};

/// What the kernel tells of: everything that netd sets, but what [`Netconf`] hears of.
const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// netd cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum NetdError {
    /// What it is told.
    #[error("{0}")]
    Told(Failure),
    /// The list of units, which names the gate's ports.
    #[error("{UNITS}: {0}")]
    Units(io::Error),
    /// The rules do not stand; no link is switched on.
    #[error("nothing is let in or out: {0}")]
    Rules(#[from] NftError),
    /// The kernel's links.
    #[error("the kernel's links cannot be seen: {0}")]
    Kernel(#[from] rtnetlink::Error),
    /// What PID 1 passes, descriptors, threads.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs until SIGTERM, with what PID 1 has passed.
///
/// # Errors
/// The rules cannot be loaded, or the kernel does not answer. PID 1 starts netd again.
pub fn run(inherited: Vec<(String, OwnedFd)>) -> Result<(), NetdError> {
    let units = std::fs::read(UNITS).map_err(NetdError::Units)?;
    let units: Vec<Unit> = serde_json::from_slice(&units)
        .map_err(|error| NetdError::Units(io::Error::other(error)))?;
    let node = Arc::new(Node::new(units));
    let told = Told::read(&node, Which::InForce).map_err(NetdError::Told)?;
    let (_, socket) = inherited.into_iter().next().ok_or_else(|| {
        io::Error::other("PID 1 has passed no socket: unit.toml has to have `[sockets.control]`")
    })?;
    let listener = StdListener::from(socket);
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()?;
    runtime.block_on(serve(told, node, listener))
}

async fn serve(told: Told, node: Arc<Node>, listener: StdListener) -> Result<(), NetdError> {
    let mut end = signal(SignalKind::terminate())?;
    // Before anything is set: what somebody else does meanwhile is heard of.
    let mut generations = Generations::open()?;
    let netconf = Netconf::open()?;
    let (connection, handle, mut events) = new_multicast_connection(&GROUPS)?;
    tokio::spawn(connection);
    let kernel = Kernel::new(handle);
    let (sender, mut wishes) = channel(1);
    let callers = Callers::from_environment();
    let shared = Arc::new(Shared::new(callers, kernel.clone(), Arc::clone(&node), sender));
    let mut network = Network::new(told, node, kernel, Arc::clone(&shared));
    network.begin().await?;
    if let Err(error) = notify_ready() {
        eprintln!("cannot notify PID 1: {error}");
    }
    tokio::spawn(serve::serve(UnixListener::from_std(listener)?, shared));
    loop {
        let due = network.due();
        tokio::select! {
            _ = end.recv() => return Ok(()),
            Some(wish) = wishes.recv() => match wish {
                // Who asked may have gone.
                Wish::Told { told, done } => {
                    let _ = done.send(network.change(*told).await?);
                }
                Wish::Leased { link, lease, done } => {
                    let _ = done.send(network.lease(&link, lease).await?);
                }
                Wish::Advertised { link, advert, done } => {
                    let _ = done.send(network.advert(&link, advert).await?);
                }
                Wish::Plugged { device, mac, done } => {
                    let _ = done.send(network.plug(&device, &mac).await?);
                }
            },
            event = events.next() => {
                if event.is_none() {
                    return Err(NetdError::Io(io::Error::other("the kernel says no more")));
                }
                // Each change comes with many; what counts is what there is after all of them.
                while events.try_recv().is_ok() {}
                network.settle().await?;
            }
            changed = netconf.changed() => {
                changed?;
                network.settle().await?;
            }
            author = generations.next() => network.rules_changed(&author?).await,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                network.tick().await?;
            }
        }
    }
}
