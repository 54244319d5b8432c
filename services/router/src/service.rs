//! The service's start, with what PID 1 passes to it.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use octet_appliance::{UNITS, Unit};
use octet_node::control::SOCKETS;
use octet_node::serve::threads::{ConnectionLimits, serve};
use octet_node::{Callers, UnitEnvironment, notify_ready};

use crate::config::NodeSockets;
use crate::password::Password;
use crate::verbs::verbs;
use crate::work::RouterService;

/// An apply may take minutes; other callers must get an answer meanwhile.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 8, for_operators: 4, of_one: 2 };

pub struct RouterServiceConfig {
    pub control: UnixListener,
    /// The users that may call this service.
    pub callers: Callers,
    /// The data folder, if there is one.
    pub folder: Option<PathBuf>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The units of the image.
    pub units: Vec<Unit>,
}

/// Serves until PID 1 ends it. The router then rolls back an unconfirmed change.
pub fn main() -> ExitCode {
    octet_node::run(|mut given: UnitEnvironment| -> Result<(), Box<dyn Error>> {
        let parts = RouterServiceConfig {
            control: given.socket("control")?,
            callers: given.callers,
            folder: given.state,
            sockets: SOCKETS.into(),
            units: serde_json::from_slice(&std::fs::read(UNITS)?)?,
        };
        match run(parts, notify_ready)? {}
    })
}

/// Serves with these `parts`; calls `ready` when the socket accepts calls.
///
/// # Errors
/// The socket failed, or PID 1 could not be notified.
pub fn run(
    parts: RouterServiceConfig,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<Infallible> {
    let RouterServiceConfig { control, callers, folder, sockets, units } = parts;
    let work = RouterService::new(NodeSockets { sockets, units }, Password::new(folder));
    ready()?;
    serve(&control, &callers, LIMITS, verbs(), work)
}
