//! Rate limits per unit, for bytes and for lines, each with a burst. Dropped lines are counted, and
//! reported once a second.
//!
//! Each limit is the generic cell rate algorithm (ITU-T I.371): it has one number, the theoretical
//! arrival time of what it has admitted, which may be ahead of the current time by the burst.

use std::time::Duration;

/// The minimum interval of reports about a unit's dropped lines.
const PERIOD: Duration = Duration::from_secs(1);

/// The sustained rates of a unit, and its bursts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRate {
    /// Bytes per second.
    pub bytes: u64,
    pub byte_burst: u64,
    /// Lines per second.
    pub lines: u64,
    pub line_burst: u64,
}

impl Default for LogRate {
    fn default() -> Self {
        // A unit's burst fits into memory even while the disk fails.
        Self { bytes: 1 << 20, byte_burst: 1 << 20, lines: 10_000, line_burst: 10_000 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    pub lines: u64,
    /// Bytes, including newlines.
    pub bytes: u64,
}

/// The limits of one unit. Times have an arbitrary, fixed origin, and never decrease.
#[derive(Debug, Clone)]
pub struct Limiter {
    bytes: Cell,
    lines: Cell,
    dropped: Dropped,
    /// When the first of `dropped` was dropped.
    since: Duration,
}

impl Limiter {
    pub fn new(rate: LogRate) -> Self {
        Self {
            bytes: Cell::new(rate.bytes, rate.byte_burst),
            lines: Cell::new(rate.lines, rate.line_burst),
            dropped: Dropped::default(),
            since: Duration::ZERO,
        }
    }

    /// Whether a line of `length` bytes is admitted at `now`; otherwise it is counted as dropped.
    pub fn admit(&mut self, length: usize, now: Duration) -> bool {
        let length = length as u64 + 1;
        if self.bytes.has_room(length, now) && self.lines.has_room(1, now) {
            self.bytes.take(length, now);
            self.lines.take(1, now);
            return true;
        }
        if self.dropped.lines == 0 {
            self.since = now;
        }
        self.dropped.lines += 1;
        self.dropped.bytes += length;
        false
    }

    /// When dropped lines must be reported; `None` if there are none.
    pub fn due(&self) -> Option<Duration> {
        (self.dropped.lines > 0).then(|| self.since + PERIOD)
    }

    /// Takes the count of dropped lines that were not reported yet.
    pub fn take_dropped(&mut self) -> Option<Dropped> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped.lines > 0).then_some(dropped)
    }
}

/// One limit; all values are in nanoseconds.
#[derive(Debug, Clone)]
struct Cell {
    rate: u64,
    burst: u128,
    ahead_of: u128,
}

impl Cell {
    fn new(rate: u64, burst: u64) -> Self {
        let rate = rate.max(1);
        Self { rate, burst: cost(burst, rate), ahead_of: 0 }
    }

    fn after(&self, amount: u64, now: Duration) -> u128 {
        self.ahead_of.max(now.as_nanos()) + cost(amount, self.rate)
    }

    fn has_room(&self, amount: u64, now: Duration) -> bool {
        self.after(amount, now) <= now.as_nanos() + self.burst
    }

    fn take(&mut self, amount: u64, now: Duration) {
        self.ahead_of = self.after(amount, now);
    }
}

/// The time that `amount` takes at `rate` per second.
fn cost(amount: u64, rate: u64) -> u128 {
    (u128::from(amount) * 1_000_000_000).div_ceil(u128::from(rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: LogRate = LogRate { bytes: 1000, byte_burst: 4000, lines: 100, line_burst: 400 };

    #[test]
    fn a_burst_then_the_rate() {
        let mut limiter = Limiter::new(RATE);
        let at = Duration::from_secs(5);
        let kept = (0..100).filter(|_| limiter.admit(99, at)).count();
        assert_eq!(kept, 40);
        assert_eq!(limiter.due(), Some(at + PERIOD));
        assert_eq!(limiter.take_dropped(), Some(Dropped { lines: 60, bytes: 6000 }));
        assert_eq!((limiter.due(), limiter.take_dropped()), (None, None));
        let later = at + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| limiter.admit(99, later)).count(), 10);
    }

    #[test]
    fn lines_are_bounded_too() {
        let mut limiter = Limiter::new(RATE);
        assert_eq!((0..1000).filter(|_| limiter.admit(0, Duration::ZERO)).count(), 400);
    }

    proptest! {
        /// In no interval more is admitted than burst and rate permit; each line is kept or
        /// counted; and a unit below the rate loses nothing.
        #[test]
        fn bounded(lines in prop::collection::vec((0u64..200, 0usize..1500), 1..200)) {
            let mut limiter = Limiter::new(RATE);
            let mut now = Duration::ZERO;
            let mut kept: Vec<(Duration, u64)> = vec![];
            let mut dropped = 0;
            for (pause, length) in &lines {
                now += Duration::from_millis(*pause);
                if limiter.admit(*length, now) {
                    kept.push((now, *length as u64 + 1));
                }
                dropped += limiter.take_dropped().map_or(0, |dropped| dropped.lines);
            }
            prop_assert_eq!(kept.len() as u64 + dropped, lines.len() as u64);
            for (i, (start, _)) in kept.iter().enumerate() {
                let mut sum = 0;
                for (at, bytes) in &kept[i..] {
                    sum += bytes;
                    let millis = (*at - *start).as_millis() as u64;
                    prop_assert!(sum <= RATE.byte_burst + RATE.bytes * millis / 1000 + 1);
                }
            }
        }

        #[test]
        fn who_stays_below_loses_nothing(lengths in prop::collection::vec(0usize..999, 1..100)) {
            let mut limiter = Limiter::new(RATE);
            let mut now = Duration::ZERO;
            for length in lengths {
                prop_assert!(limiter.admit(length, now));
                now += Duration::from_micros((length as u64 + 1) * 1000).max(Duration::from_millis(10));
            }
        }
    }
}
