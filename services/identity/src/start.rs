//! The service: where its facts come from, and what becomes of its end.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::rc::Rc;

use crate::service::{IdentityService, LIMITS, verbs};
use crate::store::IdentityStore;
use octet_node::say;
use octet_node::serve::tasks;
use octet_node::{Callers, UnitEnvironment, notify_ready, unit_of};
use tokio::task::LocalSet;

/// Serves until PID 1 ends it.
pub fn main() -> ExitCode {
    octet_node::run(|mut given: UnitEnvironment| {
        let control = given.socket("control")?;
        let store = IdentityStore::open(given.state, |_| Ok(()));
        match &store {
            Ok(store) => say!("this node is {}", store.node()),
            Err(error) => say!("{error}; no service's key is certified"),
        }
        run(IdentityService::new(store, unit_of), control, notify_ready).map(|never| match never {})
    })
}

/// Serves whoever connects to `control`, for good. `ready` is called once it can be asked.
pub fn run(
    identity: IdentityService,
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
