//! The service: what PID 1 gives it.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use octet_node::Callers;
use octet_node::say;

use crate::serve::{Work, serve};

/// Serves operators until PID 1 ends it. An update that is being written then is cut off, and what it
/// has left goes at the next start.
pub fn main() -> ExitCode {
    // First of all, before anything opens a descriptor.
    let inherited = octet_node::inherited();
    let Some((_, socket)) = inherited.into_iter().find(|(name, _)| name == "control") else {
        say!("PID 1 has passed no socket `control`");
        return ExitCode::FAILURE;
    };
    // PID 1 sets it when the folder is there and can be written.
    let state = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    if state.is_none() {
        say!("the version floor is not kept: PID 1 has given no folder to keep it in");
    }
    let work = Work::new(state);
    if let Err(error) = octet_node::notify_ready() {
        say!("cannot notify PID 1: {error}");
    }
    if let Err(failure) = work.tidy_up() {
        say!("what an update has left that was cut off stays until the next: {failure}");
    }
    let Err(error) = serve(&UnixListener::from(socket), work, &Callers::from_environment());
    say!("the socket is gone: {error}");
    ExitCode::FAILURE
}
