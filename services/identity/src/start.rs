//! The service's start, with what PID 1 passes to it.

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

/// Serves `control` forever. `ready` is called once the socket accepts calls.
pub fn run(
    identity: IdentityService,
    control: UnixListener,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<Infallible> {
    // One thread, which also blocks on the disk: there is little else to do.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (callers, identity) = (Callers::from_environment(), Rc::new(identity));
        let served = tasks::serve(control, callers, LIMITS, verbs(), identity)?;
        ready()?;
        Ok(served.await?)
    })
}
