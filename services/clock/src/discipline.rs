//! Decides how to correct the clock by offsets from time servers. Pure: it reads no clock.
//!
//! The clock never goes back: if it is ahead, it is slowed down. Steps forward are bounded, because
//! a time server may lie, and a clock that was set too far ahead stays there.

use std::time::Duration;

use crate::decide::Time;

/// Up to this offset the clock is slewed, not stepped.
const SMALL: Duration = Duration::from_millis(128);

/// The single long step of a boot: the maximum time that a box may have been off.
const LONG: Duration = Duration::from_secs(366 * 86_400);

/// The maximum of a short step, and of all short steps in a day.
const STEP: Duration = Duration::from_secs(60);
const IN_A_DAY: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(86_400);

/// A clock that is further ahead than this is not slewed: it would take weeks.
const AHEAD: Duration = Duration::from_secs(600);

/// The offset of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockOffset {
    /// The clock is behind by this much.
    Behind(Duration),
    /// The clock is ahead by this much.
    Ahead(Duration),
}

/// The correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    Step(Duration),
    /// Slew by this offset.
    Slew(ClockOffset),
    /// Do nothing: the offset is implausible, or an owner must decide.
    Refuse(&'static str),
}

#[derive(Debug, Default)]
pub struct Discipline {
    /// Whether the long step was used in this boot, or may have been.
    stepped: bool,
    /// The short steps, with their uptimes.
    steps: Vec<(Duration, Duration)>,
}

impl Discipline {
    /// The state at the start of a boot; `again` if this program was restarted within it.
    pub fn new(again: bool) -> Self {
        Self { stepped: again, steps: vec![] }
    }

    /// Handles an offset from a time server, at `uptime`.
    pub fn adjust(&mut self, off: ClockOffset, uptime: Duration) -> Adjustment {
        match off {
            ClockOffset::Behind(by) | ClockOffset::Ahead(by) if by <= SMALL => {
                Adjustment::Slew(off)
            }
            ClockOffset::Ahead(by) if by <= AHEAD => Adjustment::Slew(off),
            ClockOffset::Ahead(_) => {
                Adjustment::Refuse("the clock is far ahead of what others say, and never goes back")
            }
            ClockOffset::Behind(by) => {
                self.steps.retain(|(at, _)| *at + DAY > uptime);
                let all: Duration = self.steps.iter().map(|(_, by)| *by).sum();
                // The long step is kept for later: the first server may itself follow a node that
                // had no correct time yet.
                if by <= STEP && all + by <= IN_A_DAY {
                    self.steps.push((uptime, by));
                    return Adjustment::Step(by);
                }
                if self.stepped {
                    return Adjustment::Refuse(
                        "the time of others jumps: that is for an owner to say",
                    );
                }
                if by > LONG {
                    return Adjustment::Refuse("more than a year at once is for an owner to say");
                }
                self.stepped = true;
                Adjustment::Step(by)
            }
        }
    }

    /// Handles an owner's statement that it is `time`, while the clock shows `now`.
    pub fn set_by_owner(&mut self, time: Time, now: Time) -> Adjustment {
        match time.checked_sub(now) {
            Some(by) => {
                self.stepped = true;
                Adjustment::Step(by)
            }
            None => Adjustment::Refuse("the clock shows a later time, and never goes back"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_long_step_and_then_short_ones() {
        let mut discipline = Discipline::new(false);
        let month = seconds(30 * 86_400);
        assert_eq!(
            discipline.adjust(ClockOffset::Behind(month), seconds(9)),
            Adjustment::Step(month)
        );
        let refused = |decision| matches!(decision, Adjustment::Refuse(_));
        assert!(refused(discipline.adjust(ClockOffset::Behind(month), seconds(99))));
        for _ in 0..10 {
            assert_eq!(
                discipline.adjust(ClockOffset::Behind(STEP), seconds(99)),
                Adjustment::Step(STEP)
            );
        }
        assert!(refused(discipline.adjust(ClockOffset::Behind(STEP), seconds(99))));
        let tomorrow = seconds(100) + DAY;
        assert_eq!(discipline.adjust(ClockOffset::Behind(STEP), tomorrow), Adjustment::Step(STEP));
        assert!(refused(Discipline::new(true).adjust(ClockOffset::Behind(month), seconds(9))));
        assert!(refused(Discipline::new(false).adjust(ClockOffset::Behind(2 * LONG), seconds(9))));
        // Short steps may precede the long one.
        let mut discipline = Discipline::new(false);
        assert_eq!(
            discipline.adjust(ClockOffset::Behind(STEP), seconds(1)),
            Adjustment::Step(STEP)
        );
        assert_eq!(
            discipline.adjust(ClockOffset::Behind(month), seconds(9)),
            Adjustment::Step(month)
        );
        assert!(refused(discipline.adjust(ClockOffset::Behind(month), seconds(99))));
        let told = Discipline::new(true).set_by_owner(3 * LONG, seconds(9));
        assert_eq!(told, Adjustment::Step(3 * LONG - seconds(9)));
        assert!(refused(Discipline::new(true).set_by_owner(seconds(8), seconds(9))));
    }

    proptest! {
        /// With any offsets for a month, the clock never goes back, and gains at most a year, and
        /// ten minutes per started day, on an uncorrected clock.
        #[test]
        fn bounded(words in prop::collection::vec((any::<bool>(), 0u64..100_000_000, 0u64..40_000), 1..200)) {
            let mut discipline = Discipline::new(false);
            let (mut uptime, mut ahead) = (Duration::ZERO, Duration::ZERO);
            for (behind, millis, pause) in words {
                uptime += seconds(pause);
                let by = Duration::from_millis(millis);
                let off = if behind { ClockOffset::Behind(by) } else { ClockOffset::Ahead(by) };
                match discipline.adjust(off, uptime) {
                    Adjustment::Step(by) => ahead += by,
                    Adjustment::Slew(ClockOffset::Behind(by)) => prop_assert!(by <= SMALL),
                    Adjustment::Slew(ClockOffset::Ahead(by)) => prop_assert!(by <= AHEAD),
                    Adjustment::Refuse(_) => {}
                }
                let days = u32::try_from(uptime.as_secs() / DAY.as_secs()).unwrap() + 1;
                prop_assert!(ahead <= LONG + IN_A_DAY * days);
            }
        }
    }
}
