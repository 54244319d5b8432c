//! The service's start, with what PID 1 passes to it.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use octet_node::control::SOCKETS;
use octet_node::map::{MAP, Update};
use octet_node::metrics::server;
use octet_node::say;
use octet_node::settings::Which;
use octet_node::{UnitEnvironment, follow, notify_ready, sub_key};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::daemon::{Daemon, DaemonEvent, MetricsClient};
use crate::settings::Settings;
use crate::state_folder::StateFolder;
use crate::verbs;

/// Serves until PID 1 ends it.
pub fn main() -> ExitCode {
    octet_node::run(|given| {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        runtime.and_then(|runtime| runtime.block_on(run(given)))
    })
}

async fn run(mut given: UnitEnvironment) -> io::Result<()> {
    let udp = |socket: UdpSocket| {
        socket.set_nonblocking(true)?;
        tokio::net::UdpSocket::from_std(socket)
    };
    let (neighbours, paths) = (udp(given.socket("neighbours")?)?, udp(given.socket("paths")?)?);
    let (news, heard) = unbounded_channel();
    keep_informed(given.state.take(), news.clone())?;
    let asks = MetricsClient(news.clone());
    verbs::listen(given.socket("control")?, given.callers.clone(), news)?;
    let memory = given.runtime.take();
    let memory = memory.ok_or_else(|| io::Error::other("PID 1 has given no folder in memory"))?;
    let memory = StateFolder::new(memory);
    let settings = Settings::read(Path::new(SOCKETS), Which::InForce).map_err(io::Error::other)?;
    let daemon = Daemon::open(neighbours, paths, heard, memory, settings).await?;
    let metrics: TcpListener = given.socket("metrics")?;
    metrics.set_nonblocking(true)?;
    tokio::spawn(server::serve(tokio::net::TcpListener::from_std(metrics)?, asks));
    notify_ready()?;
    daemon.run().await
}

/// Forwards updates from `identity` and `cluster` to `news`.
fn keep_informed(folder: Option<PathBuf>, news: UnboundedSender<DaemonEvent>) -> io::Result<()> {
    let sockets = Path::new(SOCKETS);
    let certified = news.clone();
    sub_key::keep(folder, sockets.join("identity.sock"), move |said| match said {
        sub_key::KeyUpdate::Certified(key) => {
            let _ = certified.send(DaemonEvent::Certified(key));
        }
        sub_key::KeyUpdate::NotCertified(why) => say!("this service's key is not certified: {why}"),
    })?;
    let trouble = "cluster does not tell who is a neighbour";
    follow::keep(sockets.join("cluster.sock"), MAP, trouble, move |update: Update| {
        news.send(DaemonEvent::Map(update.map.map(|map| map.map().clone()))).is_ok()
    })
}
