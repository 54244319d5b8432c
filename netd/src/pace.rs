//! How soon netd looks again at what the kernel has. Whoever is at a port can have the kernel tell of changes without
//! end, so that looks get rarer the longer it goes on, and never take more than a fifth of a processor.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after a look when there was quiet before it.
const MIN: Duration = Duration::from_millis(20);

/// The longest pause, if looks themselves are not long.
const MAX: Duration = Duration::from_secs(1);

/// The part of a look that a pause is at least: one part of looking and four of rest.
const REST: u32 = 4;

/// When the next look may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollPace {
    next: Instant,
    pause: Duration,
}

impl PollPace {
    /// At once, from `now` on.
    pub fn new(now: Instant) -> Self {
        Self { next: now, pause: Duration::ZERO }
    }

    pub fn next(&self) -> Instant {
        self.next
    }

    /// There was a look between these two times. If it was waited for, the pause behind it is twice as long as the one
    /// before.
    pub fn looked(&mut self, began: Instant, ended: Instant) {
        let quiet = began.saturating_duration_since(self.next);
        let is_quiet = self.pause.is_zero() || quiet >= self.pause;
        self.pause = if is_quiet { MIN } else { (self.pause * 2).min(MAX) };
        self.next = ended + self.pause.max((ended - began) * REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(time: Instant, millis: u64) -> Instant {
        time + Duration::from_millis(millis)
    }

    #[test]
    fn what_goes_on_is_looked_at_less_and_less() {
        let mut now = Instant::now();
        let mut pace = PollPace::new(now);
        assert_eq!(pace.next(), now);
        let mut pauses = vec![];
        for _ in 0..9 {
            // What happens meanwhile waits.
            let began = pace.next();
            now = after(began, 1);
            pace.looked(began, now);
            pauses.push((pace.next() - now).as_millis());
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        // One that comes soon after the pause belongs to them, and one after some quiet does not.
        let began = after(pace.next(), 999);
        pace.looked(began, began);
        assert_eq!(pace.next(), after(began, 1000));
        let began = after(pace.next(), 1000);
        pace.looked(began, began);
        assert_eq!(pace.next(), after(began, 20));
    }

    #[test]
    fn a_long_look_is_followed_by_four_times_as_much_rest() {
        let start = Instant::now();
        let mut pace = PollPace::new(start);
        let (mut looked, mut now) = (Duration::ZERO, start);
        for took in [3, 700, 5, 60, 2500, 0, 1] {
            let began = pace.next();
            now = after(began, took);
            looked += now - began;
            pace.looked(began, now);
            assert!(looked * 5 <= pace.next() - start);
        }
        assert!(pace.next() > now);
    }
}
