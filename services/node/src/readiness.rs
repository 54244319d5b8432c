//! Telling PID 1 that this service is ready (`sd_notify(3)`).

use std::io;
use std::os::unix::net::UnixDatagram;

/// Says that this service is ready. Outside the appliance, where nobody waits for it, nothing is
/// said.
///
/// # Errors
/// PID 1 could not be told.
pub fn notify_ready() -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    UnixDatagram::unbound()?.send_to(b"READY=1", path).map(drop)
}
