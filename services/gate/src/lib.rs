//! The gate: the entry point for remote operators. It accepts TLS 1.3 with raw public keys on both
//! sides, speaks the control protocol, and authorizes each call of a unit's verb by the operator's
//! capabilities.
//!
//! One thread serves all connections. Three others do what blocks: following `identity`, following
//! `cluster`, and writing to disk.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod boards;
mod door;
mod entry;
mod gate;
pub mod ids;
pub mod limits;
mod offer;
pub mod places;
mod relay;
mod run;
mod session;
mod start;
pub mod trusted;
mod units;
mod verbs;

pub use start::main;

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use octet_node::Callers;
use octet_node::control::operator::Operator;
use octet_node::say;
use octet_node::serve::tasks;
use octet_node::sub_key::{self, KeyUpdate};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use crate::boards::BoardGates;
use crate::entry::{GateIdentity, OperatorListener};
use crate::gate::Gate;
use crate::ids::Ids;
use crate::limits::GateLimits;
use crate::trusted::{Trusted, this_boot};
use crate::units::UnitVerbs;

/// The idle time after which the disk thread ends.
const LINGER: Duration = Duration::from_secs(5);

/// The configuration of a gate.
pub struct GateConfig {
    pub operators: Operator,
    pub limits: GateLimits,
    pub folder: Option<PathBuf>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    pub port: TcpListener,
    /// The port of the boards' gates.
    pub board_port: u16,
    pub control: UnixListener,
    /// The local users that may call the gate.
    pub callers: Callers,
}

/// Serves forever. `ready` is called once the gate has an identity, or knows why it has none yet.
pub fn run(parts: GateConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(1)
        .thread_keep_alive(LINGER)
        .build()?;
    LocalSet::new().block_on(&runtime, serve(parts, ready))
}

async fn serve(parts: GateConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (sender, news) = unbounded_channel();
    // The receiver lives as long as the gate.
    let tell = move |what| drop(sender.send(what));
    sub_key::keep(parts.folder.clone(), parts.sockets.join("identity.sock"), tell)?;
    if parts.operators.keys.is_empty() {
        say!("appliance.toml names no operator: all connections are rejected");
    }
    let folder = parts.folder.as_deref();
    let ids = Ids::open(folder);
    if let Some(trouble) = ids.trouble() {
        say!("no signed command is run: {trouble}");
    }
    let gate = Rc::new(Gate {
        operators: parts.operators.into(),
        connected: Default::default(),
        sockets: parts.sockets.clone(),
        limits: parts.limits,
        units: UnitVerbs::new(&parts.sockets)?,
        ids: Arc::new(Mutex::new(ids)),
        trusted: Trusted::open(folder, this_boot()).into(),
        node: None.into(),
        sessions: Default::default(),
        relays: Default::default(),
        boards: BoardGates::keep(parts.sockets.join("cluster.sock"), parts.board_port)?,
        counts: Default::default(),
    });
    let entry = OperatorListener::new(Rc::clone(&gate));
    parts.port.set_nonblocking(true)?;
    let port = tokio::net::TcpListener::from_std(parts.port)?;
    tasks::serve(parts.control, parts.callers, verbs::LIMITS, verbs::verbs(), Rc::clone(&gate))?;
    spawn_local(Rc::clone(&entry).run(port));
    follow(&gate, &entry, news, ready).await
}

/// Uses each certified identity, as long as the thread that provides them runs.
async fn follow(
    gate: &Gate,
    entry: &OperatorListener,
    mut news: UnboundedReceiver<KeyUpdate>,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let mut ready = Some(ready);
    while let Some(news) = news.recv().await {
        match news {
            KeyUpdate::Certified(certified) => {
                let shown = GateIdentity::new(&certified).map_err(io::Error::other)?;
                let statement = certified.certificate.body();
                say!(
                    "this is the gate of {}, with its key number {}",
                    statement.node,
                    statement.epoch
                );
                gate.node.set(Some(statement.node));
                entry.set_identity(shown);
            }
            KeyUpdate::NotCertified(why) => say!("the gate's key is not certified now: {why}"),
        }
        if let Some(ready) = ready.take() {
            ready()?;
        }
    }
    Err(io::Error::other("the thread that keeps the gate's key is gone"))
}
