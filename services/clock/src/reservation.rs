//! Decides when to write which reservation. Pure: it has no clock and no disk.
//!
//! Other programs may set the clock at any time. The clock then no longer tells which times it has
//! shown; that follows from the uptime, because both advance at the same rate.

use std::time::Duration;

use crate::decide::Time;

/// How far ahead of the clock a reservation is.
pub const AHEAD: Duration = Duration::from_secs(120);

/// A reservation is renewed when this much of it is left. Writing may take that long.
const EARLY: Duration = Duration::from_secs(60);

/// The pause before a failed write is retried.
const RETRY: Duration = Duration::from_secs(60);

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BothClocks {
    pub wall: Time,
    /// The time since the kernel started.
    pub uptime: Duration,
}

/// The state of the reservations.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// The latest time that the clock has shown.
    shown: Time,
    /// The clocks at the last call of [`update`](Self::update).
    last: BothClocks,
    stored: Option<Time>,
    /// The reservation of an earlier process in the same boot: the clock may have shown any time up
    /// to it.
    floor: Time,
    /// Whether a write is in progress.
    writing: bool,
    /// After a failed write: the uptime of the next attempt.
    retry: Option<Duration>,
}

impl Reservation {
    /// Starts at `now`. `kept` is the stored reservation; `same_boot` is true if it was written in
    /// this boot.
    pub fn new(now: BothClocks, stored: Option<Time>, same_boot: bool) -> Self {
        let floor = stored.filter(|_| same_boot).unwrap_or_default();
        Self { shown: now.wall, last: now, stored, floor, writing: false, retry: None }
    }

    /// Updates the state with the clocks at `now`.
    pub fn update(&mut self, now: BothClocks) {
        let passed = now.uptime.saturating_sub(self.last.uptime);
        // The clock may have run undisturbed until just before `now`, and then have been set.
        self.shown = self.shown.max(self.last.wall + passed).max(now.wall);
        self.last = now;
    }

    /// A time that the clock has not passed yet.
    pub fn latest_time(&self) -> Time {
        self.shown.max(self.floor)
    }

    /// The reservation to write now, if any. The caller has to write it.
    pub fn next_write(&mut self) -> Option<Time> {
        let enough = self.stored.is_some_and(|kept| kept > self.shown + EARLY);
        let later = self.retry.is_some_and(|retry| self.last.uptime < retry);
        if self.writing || enough || later {
            return None;
        }
        self.writing = true;
        Some(self.floor.max(self.shown + AHEAD))
    }

    pub fn is_writing(&self) -> bool {
        self.writing
    }

    /// Records that the reservation `until` was written.
    pub fn written(&mut self, until: Time) {
        (self.writing, self.retry, self.stored) = (false, None, Some(until));
    }

    /// Records that a write has failed.
    pub fn failed(&mut self) {
        (self.writing, self.retry) = (false, Some(self.last.uptime + RETRY));
    }

    /// The wall time at which to call again; `None` while a write is in progress. After the clock
    /// was set, the caller has to call at once.
    pub fn due(&self) -> Option<Time> {
        if self.writing {
            return None;
        }
        let renewal = self.stored.map(|kept| kept.saturating_sub(EARLY)).unwrap_or_default();
        let pause = self.retry.map(|retry| retry.saturating_sub(self.last.uptime));
        Some(pause.map_or(renewal.max(self.last.wall), |pause| self.last.wall + pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(wall: u64, uptime: u64) -> BothClocks {
        BothClocks { wall: Duration::from_secs(wall), uptime: Duration::from_secs(uptime) }
    }

    fn seconds(seconds: u64) -> Time {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ahead_and_renewed_in_time() {
        let mut keeping = Reservation::new(at(1000, 5), None, false);
        assert_eq!(keeping.next_write(), Some(seconds(1120)));
        assert_eq!((keeping.next_write(), keeping.due()), (None, None));
        keeping.written(seconds(1120));
        assert_eq!((keeping.next_write(), keeping.due()), (None, Some(seconds(1060))));
        keeping.update(at(1060, 65));
        assert_eq!(keeping.next_write(), Some(seconds(1180)));
        keeping.failed();
        assert_eq!((keeping.next_write(), keeping.due()), (None, Some(seconds(1120))));
        keeping.update(at(1120, 125));
        assert_eq!(
            (keeping.next_write(), keeping.latest_time()),
            (Some(seconds(1240)), seconds(1120))
        );
    }

    /// If the clock is set back, the times that it has shown still count.
    #[test]
    fn set_back() {
        let mut keeping = Reservation::new(at(1000, 5), None, false);
        keeping.next_write();
        keeping.written(seconds(1120));
        keeping.update(at(100, 15));
        assert_eq!((keeping.latest_time(), keeping.next_write()), (seconds(1010), None));
        assert_eq!(keeping.due(), Some(seconds(1060)));
    }

    /// The clock may have shown any time up to the reservation of the earlier process, but this
    /// process has not seen it.
    #[test]
    fn started_again_in_the_same_boot() {
        let mut keeping = Reservation::new(at(1000, 5), Some(seconds(1090)), true);
        assert_eq!((keeping.next_write(), keeping.latest_time()), (None, seconds(1090)));
        keeping.update(at(1031, 36));
        assert_eq!(
            (keeping.next_write(), keeping.latest_time()),
            (Some(seconds(1151)), seconds(1090))
        );
    }

    proptest! {
        /// However the clock is set and whenever writing fails, each requested reservation is later
        /// than all shown times. The stored reservation is, too, as long as nothing is due and
        /// writing works.
        #[test]
        fn always_ahead(steps in prop::collection::vec((0u8..4, 0u64..500, any::<bool>()), 1..60)) {
            let (mut now, mut shown) = (at(10_000, 0), seconds(10_000));
            let mut keeping = Reservation::new(now, None, false);
            let mut kept = None;
            for (kind, amount, works) in steps {
                match kind {
                    0 => now.wall += seconds(amount),
                    1 => now.wall = now.wall.saturating_sub(seconds(amount)),
                    _ => if let Some(due) = keeping.due() {
                        let passed = due.saturating_sub(now.wall).min(seconds(amount));
                        now = BothClocks { wall: now.wall + passed, uptime: now.uptime + passed };
                        // The clock was not set and writing worked, so the reservation covers this
                        // time.
                        shown = shown.max(now.wall);
                        prop_assert!(kept.is_none_or(|kept| kept > shown));
                    },
                }
                shown = shown.max(now.wall);
                keeping.update(now);
                prop_assert!(keeping.latest_time() >= shown);
                if let Some(until) = keeping.next_write() {
                    prop_assert!(until >= shown + AHEAD && keeping.due().is_none());
                    if works { keeping.written(until) } else { keeping.failed() }
                    kept = works.then_some(until);
                }
                prop_assert!(keeping.due().is_some_and(|due| due >= now.wall));
            }
        }
    }
}
