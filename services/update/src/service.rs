//! The service's start, with what PID 1 passes to it.

use std::os::unix::net::UnixListener;
use std::process::ExitCode;

use octet_node::{UnitEnvironment, say};

use crate::serve::{SharedState, serve};

/// Serves until PID 1 ends it. That interrupts a running installation, whose remains are removed at
/// the next start.
pub fn main() -> ExitCode {
    octet_node::run(|mut given: UnitEnvironment| {
        let control: UnixListener = given.socket("control")?;
        if given.state.is_none() {
            say!("the version floor is not stored: PID 1 has passed no state folder");
        }
        let work = SharedState::new(given.state);
        if let Err(error) = octet_node::notify_ready() {
            say!("cannot notify PID 1: {error}");
        }
        if let Err(failure) = work.tidy_up() {
            say!("the files of an interrupted update stay until the next one: {failure}");
        }
        serve(&control, work, &given.callers).map(|never| match never {})
    })
}
