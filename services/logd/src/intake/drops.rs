//! Logs what was dropped.

use std::time::Duration;

use crate::limit::Limiter;

use super::LogIntake;

/// The minimum interval of messages about a disk that is too slow.
const PERIOD: Duration = Duration::from_secs(1);

impl LogIntake {
    /// When dropped lines must be reported next, as time since the kernel started.
    pub fn due(&self) -> Option<Duration> {
        let limits = self.pipes.iter().map(|pipe| &pipe.limit).chain([&self.kernel_limit]);
        limits.filter_map(Limiter::due).min()
    }

    /// Logs the lines above the rate limits that are due for a report.
    pub fn log_dropped(&mut self, now: Duration) {
        let pipes = self.pipes.iter_mut().map(|pipe| (&pipe.unit, &mut pipe.limit));
        for (unit, limit) in pipes.chain([(&self.kernel_unit, &mut self.kernel_limit)]) {
            if limit.due().is_some_and(|due| due <= now)
                && let Some(dropped) = limit.take_dropped()
            {
                self.tail.lock().stats.unit(unit).count_over_rate(dropped);
                self.tail.log(&format!(
                    "dropped {} lines ({} bytes) of {unit} in the last second: it writes too much",
                    dropped.lines, dropped.bytes
                ));
            }
        }
    }

    /// Logs, at most once a second, the lines that were removed before they were on disk.
    pub fn log_evicted(&mut self, now: Duration) {
        if now < self.no_room_told + PERIOD {
            return;
        }
        let dropped = self.tail.lock().stats.take_unreported();
        for (unit, dropped) in dropped {
            self.no_room_told = now;
            self.tail.log(&format!(
                "dropped {} lines ({} bytes) of {unit}: the disk does not take them",
                dropped.lines, dropped.bytes
            ));
        }
    }
}
