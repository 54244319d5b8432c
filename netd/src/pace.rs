//! Limits how often netd reads the kernel's state. A node at a port can cause notifications without
//! end; the longer that lasts the longer the pauses become, so that reading never takes more than a
//! fifth of a CPU.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after a read that followed a quiet time.
const MIN: Duration = Duration::from_millis(20);

/// The longest pause, unless reading itself takes long.
const MAX: Duration = Duration::from_secs(1);

/// The minimum pause as a multiple of the time of a read: one part reading and four parts pause.
const REST: u32 = 4;

/// When the next read may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollPace {
    next: Instant,
    pause: Duration,
}

impl PollPace {
    /// Allows the first read at `now`.
    pub fn new(now: Instant) -> Self {
        Self { next: now, pause: Duration::ZERO }
    }

    pub fn next(&self) -> Instant {
        self.next
    }

    /// Records a read between these two times. If it had to wait, the next pause is twice as long
    /// as the last one.
    pub fn observed(&mut self, began: Instant, ended: Instant) {
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
            // A notification within the pause waits.
            let began = pace.next();
            now = after(began, 1);
            pace.observed(began, now);
            pauses.push((pace.next() - now).as_millis());
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        // A notification shortly after the pause continues the burst; one after some quiet does
        // not.
        let began = after(pace.next(), 999);
        pace.observed(began, began);
        assert_eq!(pace.next(), after(began, 1000));
        let began = after(pace.next(), 1000);
        pace.observed(began, began);
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
            pace.observed(began, now);
            assert!(looked * 5 <= pace.next() - start);
        }
        assert!(pace.next() > now);
    }
}
