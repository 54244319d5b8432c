//! What every service of Octet uses: readiness, and the way to PID 1.

mod init;
mod readiness;

pub use init::watch_status;
pub use octet_control as control;
pub use readiness::notify_ready;
