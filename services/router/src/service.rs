//! The service: what PID 1 gives it.

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

use crate::password::Password;
use crate::told::NodeSockets;
use crate::verbs::verbs;
use crate::work::RouterService;

/// An apply may take minutes; others can be told so meanwhile.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 8, for_operators: 4, of_one: 2 };

pub struct RouterServiceConfig {
    pub control: UnixListener,
    /// Who may ask it for what.
    pub callers: Callers,
    /// Its data folder, if there is one.
    pub folder: Option<PathBuf>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The units of the image.
    pub units: Vec<Unit>,
}

/// Serves until PID 1 ends it. The router undoes a change that is not confirmed then.
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

/// The same with these `parts`; calls `ready` when it can be asked.
///
/// # Errors
/// The socket is gone, or nobody hears that it is ready.
pub fn run(
    parts: RouterServiceConfig,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<Infallible> {
    let RouterServiceConfig { control, callers, folder, sockets, units } = parts;
    let work = RouterService::new(NodeSockets { sockets, units }, Password::new(folder));
    ready()?;
    serve(&control, &callers, LIMITS, verbs(), work)
}
