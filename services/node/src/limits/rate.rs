//! The rate limit per client. Pure: it has no clock, and any clock will do.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The minimum interval between searches for clients that can be forgotten.
const CLEANING_INTERVAL: Duration = Duration::from_secs(1);

/// So many events at once, and one more after each interval.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub burst: u32,
    pub interval: Duration,
}

impl Rate {
    /// Up to `count` events in each second.
    pub const fn per_second(count: u32) -> Self {
        Self { burst: count, interval: Duration::from_nanos(1_000_000_000 / count as u64) }
    }
}

/// The recent clients, each with its theoretical arrival time (generic cell rate algorithm, ITU-T I.371), and
/// whether the limit was reported.
#[derive(Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    max_clients: usize,
    used: HashMap<K, (Duration, bool)>,
    cleaned: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateDecision {
    Allowed,
    /// The limit is exceeded with this event.
    LimitedFromNow,
    Limited,
}

impl<K: Copy + Eq + Hash> RateLimiter<K> {
    /// Limits each client to `rate`, and remembers at most `max_clients`.
    pub fn new(rate: Rate, max_clients: usize) -> Self {
        Self { rate, max_clients, used: HashMap::new(), cleaned: Duration::ZERO }
    }

    /// Handles an event of `client` at `now`. If there is no room for it, the client that has recovered most is
    /// forgotten.
    pub fn check(&mut self, client: K, now: Duration) -> RateDecision {
        if self.used.len() >= self.max_clients && !self.used.contains_key(&client) {
            let quietest = self.used.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(quietest) = quietest.map(|(client, _)| *client) {
                self.used.remove(&quietest);
            }
        }
        let (used, is_reported) = self.used.entry(client).or_default();
        let full = now + self.rate.interval * self.rate.burst;
        // It is later than `full` only if the clock was set back: then the client begins anew.
        let earliest = if *used > full { now } else { (*used).max(now) };
        let next = earliest + self.rate.interval;
        if next > full {
            return match std::mem::replace(is_reported, true) {
                true => RateDecision::Limited,
                false => RateDecision::LimitedFromNow,
            };
        }
        (*used, *is_reported) = (next, false);
        RateDecision::Allowed
    }

    /// Whether an event of `client` at `now` is allowed. New clients are not while there is no room.
    pub fn allows(&mut self, client: K, now: Duration) -> bool {
        self.has_room(client, now) && self.check(client, now) == RateDecision::Allowed
    }

    /// Whether `client` is known, or can be remembered when clients are forgotten that have recovered.
    pub fn has_room(&mut self, client: K, now: Duration) -> bool {
        if self.used.contains_key(&client) {
            return true;
        }
        let is_full = self.used.len() >= self.max_clients;
        if is_full && now.abs_diff(self.cleaned) >= CLEANING_INTERVAL {
            self.cleaned = now;
            self.used.retain(|_, (used, _)| *used > now);
        }
        self.used.len() < self.max_clients
    }

    /// Takes back an event of `client`.
    pub fn refund(&mut self, client: K) {
        if let Some((used, _)) = self.used.get_mut(&client) {
            *used = used.saturating_sub(self.rate.interval);
        }
    }

    /// When the next event of `client` is allowed.
    pub fn next(&self, client: K) -> Duration {
        let used = self.used.get(&client).map_or(Duration::ZERO, |(used, _)| *used);
        (used + self.rate.interval).saturating_sub(self.rate.interval * self.rate.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { burst: 20, interval: Duration::from_secs(2) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn so_often_and_no_more() {
        let mut rate = RateLimiter::new(RATE, 100);
        let (now, then) = (seconds(100), seconds(100) + RATE.interval);
        for _ in 0..RATE.burst {
            assert_eq!(rate.check('a', now), RateDecision::Allowed);
        }
        assert_eq!(rate.check('a', now), RateDecision::LimitedFromNow);
        assert_eq!(rate.check('a', now), RateDecision::Limited);
        assert_eq!(rate.check('b', now), RateDecision::Allowed);
        assert_eq!((rate.next('a'), rate.next('c')), (then, Duration::ZERO));
        assert_eq!(rate.check('a', then - Duration::from_nanos(1)), RateDecision::Limited);
        assert_eq!(rate.check('a', then), RateDecision::Allowed);
        assert_eq!(rate.check('a', then), RateDecision::LimitedFromNow);
        for _ in 0..100 {
            assert_eq!(rate.check('c', seconds(200)), RateDecision::Allowed);
            rate.refund('c');
        }
    }

    #[test]
    fn new_clients_wait_for_room() {
        let mut rate = RateLimiter::new(Rate { burst: 3, interval: seconds(10) }, 2);
        assert!((0..3).all(|_| rate.allows('a', seconds(100))));
        assert!(!rate.allows('a', seconds(100)) && !rate.allows('a', seconds(109)));
        assert!(rate.allows('a', seconds(110)) && !rate.allows('a', seconds(110)));
        assert!(rate.allows('b', seconds(110)));
        assert!(!rate.allows('c', seconds(110)));
        assert!(rate.allows('c', seconds(200)));
    }

    #[test]
    fn a_clock_that_is_set_back_gives_one_burst() {
        let mut rate = RateLimiter::new(Rate { burst: 3, interval: seconds(10) }, 2);
        assert!((0..3).all(|_| rate.allows('a', seconds(1000))));
        assert!((0..3).all(|_| rate.allows('a', seconds(50))) && !rate.allows('a', seconds(50)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// For any sequence of events, the table is bounded, and no client exceeds burst and rate.
        #[test]
        fn bounded(events in prop::collection::vec((any::<u16>(), 0u64..3), 1..3000)) {
            let mut rate = RateLimiter::new(RATE, 1024);
            let (mut now, mut allowed) = (0, 0u64);
            for (client, pause) in events {
                now += pause;
                rate.check(Some(client), seconds(now));
                if rate.check(None, seconds(now)) == RateDecision::Allowed {
                    allowed += 1;
                }
                prop_assert!(rate.used.len() <= 1024);
            }
            prop_assert!(allowed <= u64::from(RATE.burst) + now / RATE.interval.as_secs() + 1);
        }
    }
}
