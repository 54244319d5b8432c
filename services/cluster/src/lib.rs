//! `cluster` manages the membership of the box. The coordinator enrols the node at each switch port
//! and signs the membership map, which every node stores (docs/cluster.md).
//!
//! One thread does all of the work. Four others block: two on PID 1, and two on `identity`; and
//! temporarily one on the disk or on another unit.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod coordinator;
pub mod limits;
mod local_node;
mod measure;
mod member;
pub mod message;
mod node;
pub mod pin;
mod placement;
pub mod position;
pub mod registry;
pub mod report;
pub mod rules;
mod service;
pub mod settings;
mod status_row;
pub mod store;
mod traffic;
mod verbs;

pub use service::main;

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use octet_node::Callers;
use octet_node::map::Update;
use octet_node::say;
use octet_node::serve::tasks;
use tokio::sync::{Semaphore, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::coordinator::Coordinator;
use crate::limits::ClusterLimits;
use crate::member::MemberConnection;
use crate::node::{ClusterNode, NodeRole};
use crate::pin::PersistedPin;
use crate::position::{BoxAddressing, NodeConfig, NodePosition};
use crate::report::NodeReport;
use crate::settings::Settings;
use crate::store::ClusterStore;

/// The idle time after which a disk thread ends.
const LINGER: Duration = Duration::from_secs(5);

/// The pause before an unreadable registry is read again.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// The configuration of this service.
pub struct ClusterConfig {
    /// The active settings.
    pub settings: Settings,
    pub limits: ClusterLimits,
    pub addressing: BoxAddressing,
    pub folder: Option<PathBuf>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The listener for boards, if this node is the coordinator.
    pub port: TcpListener,
    pub control: UnixListener,
    /// The users that may call this service.
    pub callers: Callers,
}

/// Serves forever. `ready` is called once the socket accepts calls.
pub fn run(parts: ClusterConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(2)
        .thread_keep_alive(LINGER)
        .build()?;
    LocalSet::new().block_on(&runtime, serve(parts, ready))
}

async fn serve(parts: ClusterConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let identity = local_node::start(parts.folder.clone(), &parts.sockets)?;
    let (sender, init_config) = watch::channel(NodeConfig::default());
    position::follow_init(parts.sockets.clone(), sender)?;
    let (sender, report) = watch::channel(NodeReport::default());
    measure::start(parts.sockets.clone(), parts.limits.ping_interval, sender)?;
    let store = ClusterStore::new(parts.folder);
    let (persisted, trouble) = match store.read_pin() {
        Ok(persisted) => (persisted, None),
        Err(error) => {
            say!("{error}: without an owner's statement no node is accepted as coordinator");
            (PersistedPin::default(), Some(error.to_string()))
        }
    };
    let update = Update { number: persisted.number, map: persisted.map.clone() };
    let node = Rc::new(ClusterNode {
        sockets: parts.sockets,
        store,
        trouble,
        long_joins: Semaphore::new(parts.limits.long_joins),
        limits: parts.limits,
        addressing: parts.addressing,
        settings: watch::Sender::new(parts.settings),
        init_config,
        report,
        identity,
        update: watch::Sender::new(update),
        persisted: persisted.into(),
        role: NodeRole::Idle("a node that does not know yet what it is").into(),
    });
    parts.port.set_nonblocking(true)?;
    let port = tokio::net::TcpListener::from_std(parts.port)?;
    tasks::serve(parts.control, parts.callers, verbs::LIMITS, verbs::verbs(), Rc::clone(&node))?;
    spawn_local(log_end(placement::run(Rc::clone(&node))));
    ready()?;
    let (mut init_config, mut settings) = (node.init_config.clone(), node.settings.subscribe());
    loop {
        init_config.mark_unchanged();
        settings.mark_unchanged();
        let position = node.position();
        let play = run_role(&node, position, &port);
        tokio::pin!(play);
        // The role lasts until PID 1 or the settings change it.
        loop {
            tokio::select! {
                () = &mut play => {
                    return Err(io::Error::other("the thread that keeps this service's key is gone"));
                }
                changed = init_config.changed() => changed.map_err(io::Error::other)?,
                changed = settings.changed() => changed.map_err(io::Error::other)?,
            }
            if node.position() != position {
                break;
            }
        }
    }
}

/// Runs a task that must not end, and logs it if it does.
async fn log_end(task: impl Future<Output = io::Result<()>>) {
    if let Err(error) = task.await {
        say!("the placement of units is no longer reported to PID 1: {error}");
    }
}

/// Runs the role of a node at `position`, forever.
async fn run_role(
    node: &Rc<ClusterNode>,
    position: Option<NodePosition>,
    port: &tokio::net::TcpListener,
) {
    match position {
        None => {
            say!("this box is one board");
            node.role.replace(NodeRole::Idle("this box is one board"));
            reject_connections(port).await;
        }
        Some(NodePosition::Coordinator(number)) => run_coordinator(node, number, port).await,
        Some(NodePosition::Board(number, coordinator)) => {
            let member = MemberConnection::new(Rc::clone(node), number, coordinator);
            node.role.replace(NodeRole::Member(Rc::clone(&member)));
            tokio::join!(member.run(), reject_connections(port));
        }
        Some(NodePosition::OtherRouter) => {
            const WHY: &str = "a router that runs Octet, in a box whose settings say `router = \"openwrt\"`: \
                               neither the coordinator nor a board";
            say!("this is {WHY}");
            node.role.replace(NodeRole::Idle(WHY));
            reject_connections(port).await;
        }
        Some(NodePosition::Unknown) => {
            node.role.replace(NodeRole::Idle("a board that does not know its number yet"));
            reject_connections(port).await;
        }
    }
}

async fn run_coordinator(node: &Rc<ClusterNode>, number: u8, port: &tokio::net::TcpListener) {
    node.role.replace(NodeRole::Idle("the coordinator; its key is not certified yet"));
    let mut identity = node.identity.certified.clone();
    let certified = loop {
        if let Some(certified) = identity.borrow_and_update().clone() {
            break certified;
        }
        if identity.changed().await.is_err() {
            return;
        }
    };
    let mut problem = String::new();
    let coordinator = loop {
        match Coordinator::open(Rc::clone(node), number, &certified) {
            Ok(coordinator) => break coordinator,
            Err(why) => {
                node.role.replace(NodeRole::Idle("the coordinator; its book cannot be read"));
                if why != problem {
                    say!("no board is enrolled: {why}; restore it, or reset this node");
                    problem = why;
                }
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    };
    say!("this node is the coordinator");
    node.role.replace(NodeRole::Coordinator(Rc::clone(&coordinator)));
    coordinator::serve(coordinator, port).await;
}

/// Closes connections on a node that is not the coordinator.
async fn reject_connections(port: &tokio::net::TcpListener) {
    loop {
        if port.accept().await.is_err() {
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
}
