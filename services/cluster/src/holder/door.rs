//! How often a board may try. No clock and no socket in here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::Limits;

/// Until when each number has used up what it may (the generic cell rate algorithm, ITU-T I.371), and
/// whether that was said. There are no more entries than boards.
#[derive(Debug, Default)]
pub struct Door(BTreeMap<u8, (Duration, bool)>);

/// Whether a board may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It may.
    Come,
    /// It has tried too often; from now on.
    LimitedFromNow,
    /// The same as before.
    Limited,
}

impl Door {
    /// Board `number` tries at `now`.
    pub fn knock(&mut self, number: u8, now: Duration, limits: &Limits) -> Answer {
        let (used, said) = self.0.entry(number).or_default();
        let next = (*used).max(now) + limits.interval;
        if next > now + limits.interval * limits.burst {
            let before = std::mem::replace(said, true);
            return if before { Answer::Limited } else { Answer::LimitedFromNow };
        }
        (*used, *said) = (next, false);
        Answer::Come
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_often_and_no_more() {
        let (mut door, limits) = (Door::default(), Limits::default());
        let now = Duration::from_secs(100);
        for _ in 0..limits.burst {
            assert_eq!(door.knock(1, now, &limits), Answer::Come);
        }
        assert_eq!(door.knock(1, now, &limits), Answer::LimitedFromNow);
        assert_eq!(door.knock(1, now, &limits), Answer::Limited);
        assert_eq!(door.knock(2, now, &limits), Answer::Come);
        assert_eq!(door.knock(1, now + limits.interval, &limits), Answer::Come);
        assert_eq!(door.knock(1, now + limits.interval, &limits), Answer::LimitedFromNow);
    }
}
