//! The delay before a failed unit is restarted, and the limit of restarts.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Moment, Settings};

/// A unit's recent failures and restarts.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    /// Failures since the unit was last ready for at least `max_delay`.
    consecutive: u32,
    /// Times of restarts within the budget's window.
    granted: VecDeque<Moment>,
}

impl Backoff {
    /// The unit was ready for this long: a run of `max_delay` or more resets the delay.
    pub fn record_ready(&mut self, time: Duration, settings: &Settings) {
        if time >= settings.max_delay {
            self.consecutive = 0;
        }
    }

    /// The unit failed at `now`. Returns the delay before the next try, or `None` if the budget is
    /// used up.
    ///
    /// The delay is `delay`, doubled with every consecutive failure, at most `max_delay`; `chance`
    /// scales it to between 3/4 and 5/4, again at most `max_delay`.
    pub fn next_delay(
        &mut self,
        settings: &Settings,
        chance: u64,
        now: Moment,
    ) -> Option<Duration> {
        while self.granted.front().is_some_and(|&then| then.saturating_add(settings.window) < now) {
            self.granted.pop_front();
        }
        if self.granted.len() >= settings.budget as usize {
            return None;
        }
        self.granted.push_back(now);
        let factor = 1u32.checked_shl(self.consecutive).unwrap_or(u32::MAX);
        self.consecutive = self.consecutive.saturating_add(1);
        let pause = settings.delay.saturating_mul(factor).min(settings.max_delay);
        // In steps of 1/1024: 768 to 1280.
        let share = 768 + u32::try_from(chance % 513).unwrap_or(0);
        Some((pause.saturating_mul(share) / 1024).min(settings.max_delay))
    }
}
