//! Telling PID 1 that this service is ready (`sd_notify(3)`).

use std::io;

use octet_control::notify;

/// Says that this service is ready. Outside the appliance, where nobody waits for it, nothing is
/// said.
///
/// # Errors
/// PID 1 could not be told.
pub fn notify_ready() -> io::Result<()> {
    notify::send("READY=1")
}
