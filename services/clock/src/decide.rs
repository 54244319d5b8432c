//! Chooses the initial time from what the box itself knows.

use std::time::Duration;

/// A time since 1970 (UTC).
pub type Time = Duration;

/// A system clock further ahead than this of all other sources is implausible: no box is off for
/// that long.
const FAR: Duration = Duration::from_secs(10 * 31_557_600);

/// A clock that an owner has set back once is not trusted if it is further ahead than this.
const DOUBTED: Duration = Duration::from_secs(86_400);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The system clock; nothing is set.
    System,
    /// The build time of the image.
    Build,
    /// The time that was stored in an earlier boot.
    Stored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeDecision {
    /// The chosen time.
    pub time: Time,
    pub source: TimeSource,
    /// Whether the system clock is more than ten years ahead of all other sources. This is only
    /// logged: an operator must judge it, and setting the clock back could revive what has expired.
    pub far_ahead: bool,
}

/// The latest of the three times; among equal ones, the one that needs the least change. If the
/// system clock is `doubted` (an owner has set it back once, and the hardware clock may still be
/// wrong), it does not count if it is far ahead of the others.
pub fn decide(system: Time, build: Time, stored: Option<Time>, untrusted: bool) -> TimeDecision {
    let kept = stored.unwrap_or_default();
    let known = build.max(kept);
    let source = match () {
        () if system >= known && !(untrusted && system > known + DOUBTED) => TimeSource::System,
        () if kept > build => TimeSource::Stored,
        () => TimeSource::Build,
    };
    let time = if source == TimeSource::System { system } else { known };
    TimeDecision { time, source, far_ahead: time > known + FAR }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const YEAR: u64 = 31_557_600;

    fn years(years: u64) -> Time {
        Duration::from_secs(years * YEAR)
    }

    #[test]
    fn the_latest_counts() {
        for (system, build, kept, source, time) in [
            (0, 50, None, TimeSource::Build, 50),
            (0, 50, Some(51), TimeSource::Stored, 51),
            (0, 50, Some(49), TimeSource::Build, 50),
            (52, 50, Some(51), TimeSource::System, 52),
            (51, 50, Some(51), TimeSource::System, 51),
        ] {
            let decision = decide(years(system), years(build), kept.map(years), false);
            assert_eq!((decision.source, decision.time), (source, years(time)));
            assert!(!decision.far_ahead);
        }
        let decision = decide(years(70), years(50), Some(years(55)), false);
        assert_eq!((decision.time, decision.far_ahead), (years(70), true));
    }

    #[test]
    fn a_clock_that_was_ahead_once() {
        for (system, kept, source, time) in [
            (70, Some(55), TimeSource::Stored, 55),
            (70, None, TimeSource::Build, 50),
            (55, Some(55), TimeSource::System, 55),
            (54, Some(55), TimeSource::Stored, 55),
        ] {
            let decision = decide(years(system), years(50), kept.map(years), true);
            assert_eq!((decision.source, decision.time), (source, years(time)));
            assert!(!decision.far_ahead);
        }
        let day = years(55) + DOUBTED;
        assert_eq!(decide(day, years(50), Some(years(55)), true).time, day);
    }

    proptest! {
        /// The result is never before any of the three or after all, the clock is not set without
        /// need, and the decision is idempotent.
        #[test]
        fn never_back(system: u32, build: u32, kept: Option<u32>) {
            let time = |seconds: u32| Duration::from_secs(seconds.into());
            let (system, build, kept) = (time(system), time(build), kept.map(time));
            let decision = decide(system, build, kept, false);
            let all = [Some(system), Some(build), kept];
            prop_assert_eq!(Some(decision.time), all.into_iter().flatten().max());
            prop_assert_eq!(decision.source == TimeSource::System, decision.time == system);
            prop_assert!(!decision.far_ahead || decision.source == TimeSource::System);
            let again = decide(decision.time, build, kept, false);
            prop_assert_eq!((again.time, again.source), (decision.time, TimeSource::System));
        }
    }
}
