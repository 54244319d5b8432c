//! The daemon: it loads the rules first, then sets links and addresses, for as long as the node
//! runs.
//!
//! It keeps no state on disk: after a restart netd reads the kernel's state, loads the same rules
//! in one transaction, and changes only what differs from the plan. What it has set stays in place
//! when netd ends.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;

use octet_appliance::{UNITS, Unit};
use octet_node::control::Failure;
use octet_node::say;
use octet_node::serve::tasks;
use octet_node::settings::Which;
use octet_node::{Callers, UnitEnvironment, notify_ready};
use rtnetlink::new_connection;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::channel;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use crate::backend::BackendError;
use crate::changes::ChangeNotices;
use crate::config::{NetworkConfig, NodeFacts};
use crate::generation::Generations;
use crate::kernel::NetKernel;
use crate::network::Network;
use crate::pace::PollPace;
use crate::serve::{LIMITS, NetdCommand, ServeState, verbs};

/// Why netd ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum NetdError {
    #[error("{0}")]
    Config(Failure),
    /// The list of units, which names the gate's ports, cannot be read.
    #[error("{UNITS}: {0}")]
    Units(io::Error),
    /// The rules cannot be loaded; no link is switched on.
    #[error("no link is switched on: {0}")]
    Rules(BackendError),
    #[error("the kernel's links cannot be seen: {0}")]
    Kernel(BackendError),
    /// The environment from PID 1, descriptors or threads.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs until SIGTERM, in the environment that PID 1 has passed.
///
/// # Errors
/// The rules cannot be loaded, or the kernel does not answer. PID 1 then restarts netd.
pub fn run(mut given: UnitEnvironment) -> Result<(), NetdError> {
    let units = std::fs::read(UNITS).map_err(NetdError::Units)?;
    let units: Vec<Unit> = serde_json::from_slice(&units)
        .map_err(|error| NetdError::Units(io::Error::other(error)))?;
    let node = Arc::new(NodeFacts::new(units));
    let config = NetworkConfig::read(&node, Which::InForce).map_err(NetdError::Config)?;
    let listener = given.socket("control")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()?;
    LocalSet::new().block_on(&runtime, serve(config, node, listener, given.callers))
}

async fn serve(
    config: NetworkConfig,
    node: Arc<NodeFacts>,
    listener: StdListener,
    callers: Callers,
) -> Result<(), NetdError> {
    let mut end = signal(SignalKind::terminate())?;
    // Subscribe before anything is set, so that no concurrent change is missed.
    let mut generations = Generations::open()?;
    let changes = ChangeNotices::open()?;
    // No multicast group is joined, so nothing unsolicited arrives. The receiver is kept because
    // the connection answers requests only while it exists.
    let (connection, handle, _unasked) = new_connection()?;
    tokio::spawn(connection);
    let kernel = NetKernel::new(handle);
    let (sender, mut commands) = channel(1);
    let config = Arc::new(config);
    let shared = ServeState::new(kernel.clone(), Arc::clone(&node), Arc::clone(&config), sender);
    let shared = Rc::new(shared);
    let mut network = Network::new(config, node, kernel, Rc::clone(&shared));
    network.begin().await?;
    if let Err(error) = notify_ready() {
        say!("cannot notify PID 1: {error}");
    }
    tasks::serve(listener, callers, LIMITS, verbs(), shared)?;
    let mut pace = PollPace::new(Instant::now());
    loop {
        let due = network.due();
        tokio::select! {
            _ = end.recv() => return Ok(()),
            Some(command) = commands.recv() => match command {
                // The client may have disconnected.
                NetdCommand::ApplyConfig { config, done } => {
                    let _ = done.send(network.change(*config).await?);
                }
                NetdCommand::SetLease { link, lease, done } => {
                    let _ = done.send(network.lease(&link, lease).await?);
                }
                NetdCommand::SetAdvertisement { link, advert, done } => {
                    let _ = done.send(network.advert(&link, advert).await?);
                }
                NetdCommand::BindPort { device, mac, done } => {
                    let _ = done.send(network.bind_port(&device, &mac).await?);
                }
            },
            changed = changed(&changes, pace.next()) => {
                changed?;
                let began = Instant::now();
                network.settle().await?;
                pace.observed(began, Instant::now());
            }
            author = generations.next() => network.rules_changed(&author?).await,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                network.tick().await?;
            }
        }
    }
}

/// Returns when something has changed, but not before `next`. Notifications that overflow the
/// socket's buffer until then do not matter, because the whole state is read again.
async fn changed(changes: &ChangeNotices, next: Instant) -> io::Result<()> {
    sleep_until(next).await;
    changes.changed().await
}
