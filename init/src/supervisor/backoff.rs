//! How long to wait before a unit is started again, and when to give up.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Moment, Settings};

/// What became of a unit's recent tries.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    /// Failures since the unit last held out for `max_delay`.
    in_a_row: u32,
    /// When restarts were granted, within the budget's window.
    granted: VecDeque<Moment>,
}

impl Backoff {
    /// The unit failed at `now` after it had been ready for `ready_for`. Returns the pause before
    /// the next try, or `None` if the budget is used up.
    pub fn failed(
        &mut self,
        settings: &Settings,
        ready_for: Duration,
        now: Moment,
    ) -> Option<Duration> {
        if ready_for >= settings.max_delay {
            self.in_a_row = 0;
        }
        while self.granted.front().is_some_and(|&then| then + settings.window < now) {
            self.granted.pop_front();
        }
        if self.granted.len() >= settings.budget as usize {
            return None;
        }
        self.granted.push_back(now);
        let factor = 1u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX);
        self.in_a_row += 1;
        Some(settings.delay.saturating_mul(factor).min(settings.max_delay))
    }
}
