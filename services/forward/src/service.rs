//! The service: what PID 1 gives it.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use octet_node::control::SOCKETS;
use octet_node::metrics::server;
use octet_node::say;
use octet_node::settings::Which;
use octet_node::{Callers, inherited, map, notify_ready, sub_key};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::daemon::{Asks, Daemon, News};
use crate::memory::Memory;
use crate::settings::Settings;
use crate::verbs;

/// Room for the stack of a thread that waits for another unit, in bytes.
const STACK: usize = 128 << 10;

/// The pause before `cluster` is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until PID 1 ends it.
pub fn main() -> ExitCode {
    // First of all, before anything opens a descriptor.
    let inherited = inherited();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    match runtime.and_then(|runtime| runtime.block_on(run(inherited))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(inherited: Vec<(String, OwnedFd)>) -> io::Result<()> {
    let mut sockets = inherited.into_iter();
    let mut take = |wanted: &str| {
        let missing = || io::Error::other(format!("PID 1 has not passed the socket `{wanted}`"));
        sockets.find(|(name, _)| name == wanted).map(|(_, socket)| socket).ok_or_else(missing)
    };
    // In the order of their names, as they are passed.
    let (control, metrics) = (take("control")?, take("metrics")?);
    let (neighbours, paths) = (take("neighbours")?, take("paths")?);
    let udp = |socket: OwnedFd| {
        let socket = UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        tokio::net::UdpSocket::from_std(socket)
    };
    // PID 1 sets it when the folder is there and can be written.
    let folder = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let (news, heard) = unbounded_channel();
    follow(folder, news.clone())?;
    let asks = Asks(news.clone());
    verbs::keep(UnixListener::from(control), Callers::from_environment(), news)?;
    let memory = std::env::var_os("RUNTIME_DIRECTORY")
        .ok_or_else(|| io::Error::other("PID 1 has given no folder in memory"))?;
    let memory = Memory::new(memory.into());
    let settings = Settings::read(Path::new(SOCKETS), Which::InForce).map_err(io::Error::other)?;
    let daemon = Daemon::open(udp(neighbours)?, udp(paths)?, heard, memory, settings).await?;
    let metrics = TcpListener::from(metrics);
    metrics.set_nonblocking(true)?;
    tokio::spawn(server::serve(tokio::net::TcpListener::from_std(metrics)?, asks));
    notify_ready()?;
    daemon.run().await
}

/// Has what `identity` and `cluster` say handed to `news`.
fn follow(folder: Option<PathBuf>, news: UnboundedSender<News>) -> io::Result<()> {
    let sockets = Path::new(SOCKETS);
    let certified = news.clone();
    sub_key::keep(folder, sockets.join("identity.sock"), move |said| match said {
        sub_key::News::Certified(key) => {
            let _ = certified.send(News::Certified(key));
        }
        sub_key::News::Not(why) => say!("this service's key is not certified: {why}"),
    })?;
    let socket = sockets.join("cluster.sock");
    let follow = move || {
        loop {
            let followed = map::follow(&socket, |update| {
                news.send(News::Map(update.map.map(|map| map.map().clone()))).is_ok()
            });
            if let Err(error) = followed {
                say!("cluster does not tell who is a neighbour: {error}");
            }
            std::thread::sleep(PAUSE);
        }
    };
    std::thread::Builder::new().name("map".into()).stack_size(STACK).spawn(follow).map(drop)
}
