use std::io;

use octet_control::notify;

/// Notifies PID 1 that this service is ready (`sd_notify(3)`). Outside the appliance, it does nothing.
///
/// # Errors
/// PID 1 could not be notified.
pub fn notify_ready() -> io::Result<()> {
    notify::send("READY=1")
}
