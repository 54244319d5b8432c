//! Bytes per second, from counters that are read now and then.

use std::collections::VecDeque;
use std::time::Duration;

/// The time over which a rate is taken. Boards report every 10 s, so a shorter one would jump.
const WINDOW: Duration = Duration::from_secs(30);

/// The maximum number of readings: one for each question in the window, and some more.
const MAX_READINGS: usize = 16;

/// The counters of a node over the window.
#[derive(Debug, Default)]
pub struct Counters {
    readings: VecDeque<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Duration,
    received: Option<u64>,
    sent: Option<u64>,
}

impl Counters {
    /// Adds a reading at `now`, in bytes. A counter that has gone back started anew: with the node,
    /// or with its link.
    pub fn count(&mut self, received: Option<u64>, sent: Option<u64>, now: Duration) {
        let is_back =
            |last: Option<u64>, new: Option<u64>| last.zip(new).is_some_and(|(a, b)| b < a);
        if let Some(last) = self.readings.back()
            && (is_back(last.received, received) || is_back(last.sent, sent))
        {
            self.readings.clear();
        }
        self.readings.push_back(Reading { at: now, received, sent });
        while self.readings.len() > MAX_READINGS
            || self.readings.get(1).is_some_and(|next| now.saturating_sub(next.at) >= WINDOW)
        {
            self.readings.pop_front();
        }
    }

    /// Received and sent bytes per second; `None` before there are two readings, and if the last
    /// one is older than two windows.
    pub fn rates(&self, now: Duration) -> (Option<u64>, Option<u64>) {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else {
            return (None, None);
        };
        if now.saturating_sub(last.at) > 2 * WINDOW {
            return (None, None);
        }
        let millis = last.at.saturating_sub(first.at).as_millis();
        let rate = |first: Option<u64>, last: Option<u64>| {
            let bytes = last?.checked_sub(first?)?;
            u64::try_from((u128::from(bytes) * 1000).checked_div(millis)?).ok()
        };
        (rate(first.received, last.received), rate(first.sent, last.sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_rate_is_of_the_last_half_minute() {
        let mut counters = Counters::default();
        assert_eq!(counters.rates(at(0)), (None, None));
        counters.count(Some(1000), None, at(0));
        assert_eq!(counters.rates(at(0)), (None, None));
        counters.count(Some(1500), Some(7), at(5));
        assert_eq!(counters.rates(at(5)), (Some(100), None));
        for second in (10..=100).step_by(5) {
            counters.count(Some(1500), Some(7 + second), at(second));
        }
        assert_eq!(counters.rates(at(100)), (Some(0), Some(1)));
        assert!(counters.readings.len() <= 8);
        // Nothing was counted for a while: the rate is not known.
        assert_eq!(counters.rates(at(161)), (None, None));
    }

    #[test]
    fn a_counter_that_goes_back_starts_anew() {
        let mut counters = Counters::default();
        counters.count(Some(5000), Some(5000), at(0));
        counters.count(Some(10), Some(6000), at(5));
        assert_eq!(counters.rates(at(5)), (None, None));
        counters.count(Some(60), Some(6100), at(10));
        assert_eq!(counters.rates(at(10)), (Some(10), Some(20)));
    }

    proptest! {
        #[test]
        fn readings_are_bounded(readings in prop::collection::vec((any::<Option<u64>>(), any::<Option<u64>>(), 0u64..9), 0..200)) {
            let (mut counters, mut now) = (Counters::default(), 0);
            for (received, sent, step) in readings {
                now += step;
                counters.count(received, sent, at(now));
                prop_assert!(counters.readings.len() <= MAX_READINGS);
                let _ = counters.rates(at(now));
            }
        }
    }
}
