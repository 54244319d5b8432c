//! The service: where its facts come from, and what becomes of its end.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use octet_node::control::SOCKETS;
use octet_node::say;
use octet_node::settings::Which;
use octet_node::{Callers, inherited, notify_ready};

use crate::limits::Limits;
use crate::peers::PORT;
use crate::{Parts, run, settings};

/// Serves until PID 1 ends it.
pub fn main() -> ExitCode {
    // First of all, before anything opens a descriptor.
    let inherited = inherited();
    match parts(inherited).and_then(|parts| run(parts, notify_ready)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parts(inherited: Vec<(String, OwnedFd)>) -> io::Result<Parts> {
    let mut sockets = inherited.into_iter();
    let mut take = |wanted: &str| {
        let missing = || io::Error::other(format!("PID 1 has not passed the socket `{wanted}`"));
        sockets.find(|(name, _)| name == wanted).map(|(_, socket)| socket).ok_or_else(missing)
    };
    // In the order of their names, as they are passed.
    let (control, http, metrics) = (take("control")?, take("http")?, take("metrics")?);
    let quota = settings::quota(Path::new(SOCKETS), Which::InForce).unwrap_or_else(|error| {
        say!("what objects may take is not known: none goes but for what stays free: {error}");
        Some(u64::MAX)
    });
    Ok(Parts {
        limits: Limits { quota, ..Limits::default() },
        // PID 1 sets it when the folder is there and can be written.
        folder: std::env::var_os("STATE_DIRECTORY").map(PathBuf::from),
        sockets: SOCKETS.into(),
        at: vec![
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT),
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT),
        ],
        http: TcpListener::from(http),
        metrics: TcpListener::from(metrics),
        control: UnixListener::from(control),
        callers: Callers::from_environment(),
    })
}
