//! Rate limits: a token bucket per key.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy)]
pub struct RequestRate {
    pub burst: u32,
    /// The interval of refills in seconds; 0: unlimited.
    pub seconds: u32,
}

/// The keys with recent uses.
#[derive(Debug)]
pub struct RecentUses<K> {
    rate: RequestRate,
    max_keys: usize,
    /// The used seconds of each bucket, and the time of their update.
    used: BTreeMap<K, (u64, u64)>,
}

impl<K: Ord + Copy> RecentUses<K> {
    /// Limits each key to `rate`, for at most `max_keys` keys at once.
    pub fn new(rate: RequestRate, max_keys: usize) -> Self {
        Self { rate, max_keys, used: BTreeMap::new() }
    }

    /// Whether `who` may act at `now`, in seconds; if so, the use is counted.
    pub fn allow(&mut self, who: K, now: u64) -> bool {
        let seconds = u64::from(self.rate.seconds);
        let full = u64::from(self.rate.burst) * seconds;
        if seconds == 0 {
            return true;
        }
        let left = |(used, at): (u64, u64)| used.saturating_sub(now.saturating_sub(at));
        if self.used.len() >= self.max_keys && !self.used.contains_key(&who) {
            self.used.retain(|_, bucket| left(*bucket) > 0);
            if self.used.len() >= self.max_keys {
                return false;
            }
        }
        let bucket = self.used.entry(who).or_insert((0, now));
        let used = left(*bucket);
        let may = used + seconds <= full;
        *bucket = (if may { used + seconds } else { used }, now.max(bucket.1));
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_often_at_once_and_then_after_a_while() {
        let mut rates = RecentUses::new(RequestRate { burst: 3, seconds: 10 }, 2);
        assert!((0..3).all(|_| rates.allow('a', 100)));
        assert!(!rates.allow('a', 100) && !rates.allow('a', 109));
        assert!(rates.allow('a', 110) && !rates.allow('a', 110));
        // One key does not affect another, but the number of keys is limited.
        assert!(rates.allow('b', 110));
        assert!(!rates.allow('c', 110));
        assert!(rates.allow('c', 200));
        // A clock that is set back refills nothing.
        assert!((0..3).filter(|_| rates.allow('a', 50)).count() <= 3);
    }
}
