//! The service: where its facts come from, and what becomes of its end.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::service::Identity;
use crate::store::Store;
use octet_node::say;
use octet_node::serve::serve;
use octet_node::{Callers, inherited, notify_ready, unit_of};

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
    let mut identity = Identity::new(store, unit_of);
    let listener = UnixListener::from(socket);
    let result =
        notify_ready().and_then(|()| serve(&listener, &Callers::from_environment(), &mut identity));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{error}");
            ExitCode::FAILURE
        }
    }
}
