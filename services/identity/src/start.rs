//! The service: where its facts come from, and what becomes of its end.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use crate::service::{Identity, LIMITS, verbs};
use crate::store::Store;
use octet_node::say;
use octet_node::serve::tasks;
use octet_node::{Callers, inherited, notify_ready, unit_of};
use tokio::task::LocalSet;

/// Serves until PID 1 ends it.
pub fn main() -> ExitCode {
    // First of all, before anything opens a descriptor.
    let socket =
        inherited().into_iter().find(|(name, _)| name == "control").map(|(_, socket)| socket);
    let Some(socket) = socket else {
        say!("PID 1 has not passed the socket `control`");
        return ExitCode::FAILURE;
    };
    // PID 1 sets it when the folder is there and can be written.
    let folder = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let store = Store::open(folder, |_| Ok(()));
    match &store {
        Ok(store) => say!("this node is {}", store.node()),
        Err(error) => say!("{error}; no service's key is certified"),
    }
    let Err(error) = run(Identity::new(store, unit_of), UnixListener::from(socket), notify_ready);
    say!("{error}");
    ExitCode::FAILURE
}

/// Serves whoever connects to `control`, for good. `ready` is called once it can be asked.
///
/// # Errors
/// It cannot begin.
pub fn run(
    identity: Identity,
    control: UnixListener,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<Infallible> {
    // One thread, which waits for the disk, too: there is little to do but that.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (callers, identity) = (Callers::from_environment(), Rc::new(identity));
        let served = tasks::serve(control, callers, LIMITS, verbs(), identity)?;
        ready()?;
        Ok(served.await?)
    })
}
