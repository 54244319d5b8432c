//! A rate limit per board. Pure: it has no clock and no socket.

use std::collections::BTreeMap;
use std::time::Duration;

/// The theoretical arrival time of each number (generic cell rate algorithm, ITU-T I.371), and
/// whether the limit was reported. There are no more entries than boards.
#[derive(Debug)]
pub struct RateLimiter {
    burst: u32,
    interval: Duration,
    used: BTreeMap<u8, (Duration, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateDecision {
    Allowed,
    /// The limit is exceeded with this event.
    LimitedFromNow,
    Limited,
}

impl RateLimiter {
    /// Allows each number a burst of `burst`, and one more after each `interval`.
    pub fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, used: BTreeMap::new() }
    }

    /// Handles an event of board `number` at `now`.
    pub fn check(&mut self, number: u8, now: Duration) -> RateDecision {
        let (used, said) = self.used.entry(number).or_default();
        let next = (*used).max(now) + self.interval;
        if next > now + self.interval * self.burst {
            let before = std::mem::replace(said, true);
            return if before { RateDecision::Limited } else { RateDecision::LimitedFromNow };
        }
        (*used, *said) = (next, false);
        RateDecision::Allowed
    }

    /// When the next event of board `number` is allowed.
    pub fn next_allowed(&self, number: u8) -> Duration {
        let used = self.used.get(&number).map_or(Duration::ZERO, |(used, _)| *used);
        (used + self.interval).saturating_sub(self.interval * self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_often_and_no_more() {
        let interval = Duration::from_secs(2);
        let mut rate = RateLimiter::new(20, interval);
        let now = Duration::from_secs(100);
        for _ in 0..20 {
            assert_eq!(rate.check(1, now), RateDecision::Allowed);
        }
        assert_eq!(rate.check(1, now), RateDecision::LimitedFromNow);
        assert_eq!(rate.check(1, now), RateDecision::Limited);
        assert_eq!(rate.check(2, now), RateDecision::Allowed);
        assert_eq!((rate.next_allowed(1), rate.next_allowed(3)), (now + interval, Duration::ZERO));
        let almost = now + interval - Duration::from_nanos(1);
        assert_eq!(rate.check(1, almost), RateDecision::Limited);
        assert_eq!(rate.check(1, now + interval), RateDecision::Allowed);
        assert_eq!(rate.check(1, now + interval), RateDecision::LimitedFromNow);
    }
}
