//! Which boot of the kernel this is, and how long it has been running.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A boot of the kernel; 0 if it does not tell.
pub type BootId = u128;

/// This boot (`/proc/sys/kernel/random/boot_id`).
pub fn boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    BootId::from_str_radix(&digits, 16).unwrap_or(0)
}

/// The uptime, including sleep.
pub fn uptime() -> Duration {
    clock_gettime(ClockId::Boottime).try_into().unwrap_or_default()
}
