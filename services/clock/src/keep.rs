//! What is to be written, and when. No clock and no disk in here.
//!
//! The clock may be set by others at any time. It then tells only where it is now, not what it has
//! shown before; but as it runs as the uptime does, that follows from how far apart the two were.

use std::time::Duration;

use crate::decide::Time;

/// How far ahead of the clock a reservation is.
pub const AHEAD: Duration = Duration::from_secs(120);

/// It is renewed when no more than this is left of it. Writing may take that long.
const EARLY: Duration = Duration::from_secs(60);

/// The pause before a disk that failed is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BothClocks {
    pub wall: Time,
    /// How long the kernel has been running.
    pub uptime: Duration,
}

/// What the disk has, and what it must get.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// The latest time that the clock has shown.
    shown: Time,
    /// The clocks, when they were last looked at.
    last: BothClocks,
    kept: Option<Time>,
    /// What was kept by the clock before this one in the same boot: it may have shown that much.
    floor: Time,
    /// The disk is being asked to keep something.
    asked: bool,
    /// The disk failed; it is not asked again before this uptime.
    retry: Option<Duration>,
}

impl Keeping {
    /// Begins at `now`. `kept` is on disk, and if `same_boot`, it was put there in this boot.
    pub fn new(now: BothClocks, kept: Option<Time>, same_boot: bool) -> Self {
        let floor = kept.filter(|_| same_boot).unwrap_or_default();
        Self { shown: now.wall, last: now, kept, floor, asked: false, retry: None }
    }

    /// The clocks are at `now`.
    pub fn see(&mut self, now: BothClocks) {
        let passed = now.uptime.saturating_sub(self.last.uptime);
        // Up to now it may have run on as it was, and have been set just before.
        self.shown = self.shown.max(self.last.wall + passed).max(now.wall);
        self.last = now;
    }

    /// A time that the clock has not passed yet.
    pub fn exact(&self) -> Time {
        self.shown.max(self.floor)
    }

    /// What is to be kept now, if anything; it counts as asked for.
    pub fn ask(&mut self) -> Option<Time> {
        let enough = self.kept.is_some_and(|kept| kept > self.shown + EARLY);
        let later = self.retry.is_some_and(|retry| self.last.uptime < retry);
        if self.asked || enough || later {
            return None;
        }
        self.asked = true;
        Some(self.floor.max(self.shown + AHEAD))
    }

    /// Whether the disk has been asked and has not answered.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// The disk has taken `until`.
    pub fn taken(&mut self, until: Time) {
        (self.asked, self.retry, self.kept) = (false, None, Some(until));
    }

    /// The disk has not taken what it was asked for.
    pub fn failed(&mut self) {
        (self.asked, self.retry) = (false, Some(self.last.uptime + RETRY));
    }

    /// The time on the clock at which there is something to do; `None` if the disk has to answer
    /// before. A clock that is set is to be looked at at once.
    pub fn due(&self) -> Option<Time> {
        if self.asked {
            return None;
        }
        let renewal = self.kept.map(|kept| kept.saturating_sub(EARLY)).unwrap_or_default();
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
        let mut keeping = Keeping::new(at(1000, 5), None, false);
        assert_eq!(keeping.ask(), Some(seconds(1120)));
        assert_eq!((keeping.ask(), keeping.due()), (None, None));
        keeping.taken(seconds(1120));
        assert_eq!((keeping.ask(), keeping.due()), (None, Some(seconds(1060))));
        keeping.see(at(1060, 65));
        assert_eq!(keeping.ask(), Some(seconds(1180)));
        keeping.failed();
        assert_eq!((keeping.ask(), keeping.due()), (None, Some(seconds(1120))));
        keeping.see(at(1120, 125));
        assert_eq!((keeping.ask(), keeping.exact()), (Some(seconds(1240)), seconds(1120)));
    }

    /// The clock is put back: what it has shown still counts.
    #[test]
    fn set_back() {
        let mut keeping = Keeping::new(at(1000, 5), None, false);
        keeping.ask();
        keeping.taken(seconds(1120));
        keeping.see(at(100, 15));
        assert_eq!((keeping.exact(), keeping.ask()), (seconds(1010), None));
        assert_eq!(keeping.due(), Some(seconds(1060)));
    }

    /// The clock before this one may have shown anything up to what it kept, but did not by itself.
    #[test]
    fn started_again_in_the_same_boot() {
        let mut keeping = Keeping::new(at(1000, 5), Some(seconds(1090)), true);
        assert_eq!((keeping.ask(), keeping.exact()), (None, seconds(1090)));
        keeping.see(at(1031, 36));
        assert_eq!((keeping.ask(), keeping.exact()), (Some(seconds(1151)), seconds(1090)));
    }

    proptest! {
        /// However the clock is set and whenever the disk fails: what is asked of the disk is later
        /// than all that was shown, and while nothing is due and the disk works, so is what it has.
        #[test]
        fn always_ahead(steps in prop::collection::vec((0u8..4, 0u64..500, any::<bool>()), 1..60)) {
            let (mut now, mut shown) = (at(10_000, 0), seconds(10_000));
            let mut keeping = Keeping::new(now, None, false);
            let mut kept = None;
            for (kind, amount, works) in steps {
                match kind {
                    0 => now.wall += seconds(amount),
                    1 => now.wall = now.wall.saturating_sub(seconds(amount)),
                    _ => if let Some(due) = keeping.due() {
                        let passed = due.saturating_sub(now.wall).min(seconds(amount));
                        now = BothClocks { wall: now.wall + passed, uptime: now.uptime + passed };
                        // Nothing was set, and the disk had worked: so far was known before.
                        shown = shown.max(now.wall);
                        prop_assert!(kept.is_none_or(|kept| kept > shown));
                    },
                }
                shown = shown.max(now.wall);
                keeping.see(now);
                prop_assert!(keeping.exact() >= shown);
                if let Some(until) = keeping.ask() {
                    prop_assert!(until >= shown + AHEAD && keeping.due().is_none());
                    if works { keeping.taken(until) } else { keeping.failed() }
                    kept = works.then_some(until);
                }
                prop_assert!(keeping.due().is_some_and(|due| due >= now.wall));
            }
        }
    }
}
