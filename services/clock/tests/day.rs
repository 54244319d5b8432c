//! A day of a box whose time servers jump: the clock never goes back, and its error stays within
//! the bounds. The kernel's clock is modelled: it can be stepped, and slews by 500 microseconds per
//! second (adjtime(3)).

#![cfg(test)]

use std::time::Duration;

use octet_clock::discipline::{Adjustment, ClockOffset, Discipline};
use proptest::prelude::*;

/// A day, in seconds.
const DAY: u64 = 86_400;

/// The slew rate of the kernel, in nanoseconds per second.
const SLEW: i64 = 500_000;

const SECOND: i64 = 1_000_000_000;

/// The maximum error by steps in a day, in nanoseconds.
const ASTRAY: i64 = 600 * SECOND;

/// The clock, in nanoseconds after the start of the day.
struct Clock {
    shows: i64,
    to_slew: i64,
    discipline: Discipline,
}

impl Clock {
    /// Handles the report of a server that it is `time`.
    fn told(&mut self, time: i64, uptime: u64) {
        let off = time - self.shows;
        let by = Duration::from_nanos(off.unsigned_abs());
        let off = if off < 0 { ClockOffset::Ahead(by) } else { ClockOffset::Behind(by) };
        let nanos = |by: Duration| i64::try_from(by.as_nanos()).unwrap();
        match self.discipline.adjust(off, Duration::from_secs(uptime)) {
            Adjustment::Step(by) => (self.shows, self.to_slew) = (self.shows + nanos(by), 0),
            Adjustment::Slew(ClockOffset::Behind(by)) => self.to_slew = nanos(by),
            Adjustment::Slew(ClockOffset::Ahead(by)) => self.to_slew = -nanos(by),
            Adjustment::Refuse(_) => {}
        }
    }

    fn pass_a_second(&mut self) {
        let slew = self.to_slew.clamp(-SLEW, SLEW);
        self.to_slew -= slew;
        self.shows += SECOND + slew;
    }
}

/// The errors of the servers in nanoseconds, each with its start.
type Jumps = Vec<(u64, i64)>;

fn day(jumps: &Jumps, pauses: &[u64]) -> Result<i64, TestCaseError> {
    let mut clock = Clock { shows: 0, to_slew: 0, discipline: Discipline::new(true) };
    let (mut next, mut round) = (0, 0);
    for second in 0..DAY {
        if second == next {
            let truth = second as i64 * SECOND;
            let off = jumps.iter().filter(|(at, _)| *at <= second).max_by_key(|(at, _)| *at);
            clock.told(truth + off.map_or(0, |(_, off)| *off), second);
            next += pauses[round % pauses.len()];
            round += 1;
        }
        let before = clock.shows;
        clock.pass_a_second();
        prop_assert!(clock.shows > before, "it goes back at second {second}");
        let astray = clock.shows - (second + 1) as i64 * SECOND;
        prop_assert!(astray.abs() <= ASTRAY + SECOND, "{astray} at second {second}");
    }
    Ok(clock.shows - DAY as i64 * SECOND)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn never_back_in_a_day_of_jumps(
        jumps in prop::collection::vec((0..DAY, -2 * DAY as i64 * SECOND..2 * DAY as i64 * SECOND), 0..30),
        small in prop::collection::vec((0..DAY, -90 * SECOND..90 * SECOND), 0..30),
        pauses in prop::collection::vec(64u64..1024, 1..9),
    ) {
        day(&[jumps, small].concat(), &pauses)?;
    }
}

/// With correct servers, a small error of the clock is corrected by the end of the day.
#[test]
fn who_is_told_the_truth_shows_it() {
    let off = day(&vec![(0, 100_000_000)], &[64]).unwrap();
    assert!((off - 100_000_000).abs() < 1_000_000, "{off}");
    assert_eq!(day(&vec![], &[64]).unwrap(), 0);
}
