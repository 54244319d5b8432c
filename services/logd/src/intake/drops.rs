//! Telling what was not kept.

use std::time::Duration;

use crate::limit::Limiter;

use super::LogIntake;

/// How often it is told, at most, that the disk does not keep up.
const PERIOD: Duration = Duration::from_secs(1);

impl LogIntake {
    /// When something that was dropped is to be told, as time since the kernel started.
    pub fn due(&self) -> Option<Duration> {
        let limits = self.pipes.iter().map(|pipe| &pipe.limit).chain([&self.kernel_limit]);
        limits.filter_map(Limiter::due).min()
    }

    /// Tells what was dropped, as far as it is time to.
    pub fn tell_dropped(&mut self, now: Duration) {
        let pipes = self.pipes.iter_mut().map(|pipe| (&pipe.unit, &mut pipe.limit));
        for (unit, limit) in pipes.chain([(&self.kernel_unit, &mut self.kernel_limit)]) {
            if limit.due().is_some_and(|due| due <= now)
                && let Some(dropped) = limit.take_dropped()
            {
                self.tail.lock().stats.unit(unit).over_rate(dropped);
                self.tail.say(&format!(
                    "dropped {} lines ({} bytes) of {unit} in the last second: it writes too much",
                    dropped.lines, dropped.bytes
                ));
            }
        }
    }

    /// Tells what had to go before the disk had taken it, once a second.
    pub fn tell_no_room(&mut self, now: Duration) {
        if now < self.no_room_told + PERIOD {
            return;
        }
        let dropped = self.tail.lock().stats.take_not_told();
        for (unit, dropped) in dropped {
            self.no_room_told = now;
            self.tail.say(&format!(
                "dropped {} lines ({} bytes) of {unit}: the disk does not take them",
                dropped.lines, dropped.bytes
            ));
        }
    }
}
