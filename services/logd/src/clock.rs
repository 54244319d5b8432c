//! The two clocks of the log: wall-clock time, and the time since the kernel started.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octet_node::boot::uptime;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BothClocks {
    /// Microseconds since 1970 (UTC); 0 before that.
    pub wall: u64,
    /// Microseconds since the kernel started (`CLOCK_BOOTTIME`).
    pub uptime: u64,
}

impl BothClocks {
    pub fn read() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: micros(wall), uptime: micros(uptime()) }
    }

    /// The time at which the kernel had run for `uptime` microseconds.
    #[must_use]
    pub fn at_uptime(self, uptime: u64) -> Self {
        Self { wall: self.wall.saturating_sub(self.uptime.saturating_sub(uptime)), uptime }
    }

    pub fn since_start(self) -> Duration {
        Duration::from_micros(self.uptime)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
