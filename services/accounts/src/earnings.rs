//! What a ledger has paid in the last hour and day.

use std::collections::VecDeque;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Payments of one minute are one.
const STEP: Duration = Duration::from_secs(60);

/// The payments of the last day, the oldest first: at most one for each minute.
#[derive(Debug, Default)]
pub struct Earnings {
    /// When the first total came, and the newest total.
    begun: Option<(Duration, u64)>,
    payments: VecDeque<(Duration, u64)>,
}

/// Sums of payments, in millionths of a coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarnedCoins {
    pub last_hour: u64,
    pub last_day: u64,
    /// For how long payments were noted.
    pub noted: Duration,
}

impl Earnings {
    /// Takes the sum of all payments ever, at `now`.
    pub fn note(&mut self, total: u64, now: Duration) {
        let (begun, last) = self.begun.unwrap_or((now, total));
        self.begun = Some((begun, total));
        let more = total.saturating_sub(last);
        let is_same = |at: &Duration| now.saturating_sub(*at) < STEP;
        match self.payments.back_mut() {
            _ if more == 0 => {}
            Some((at, sum)) if is_same(at) => *sum = sum.saturating_add(more),
            _ => self.payments.push_back((now, more)),
        }
        while self.payments.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= DAY) {
            self.payments.pop_front();
        }
    }

    pub fn sums(&self, now: Duration) -> EarnedCoins {
        let since = |age: Duration| {
            let recent = self.payments.iter().filter(|(at, _)| now.saturating_sub(*at) < age);
            recent.fold(0u64, |sum, (_, coins)| sum.saturating_add(*coins))
        };
        let begun = self.begun.map_or(now, |(begun, _)| begun);
        EarnedCoins {
            last_hour: since(HOUR),
            last_day: since(DAY),
            noted: now.saturating_sub(begun),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    #[test]
    fn sums_are_of_the_last_hour_and_day() {
        let mut earnings = Earnings::default();
        let sums = |it: &Earnings, at| (it.sums(at).last_hour, it.sums(at).last_day);
        // What was paid before the unit started is none of this hour.
        earnings.note(1000, minutes(5));
        assert_eq!(sums(&earnings, minutes(5)), (0, 0));
        earnings.note(1007, minutes(6));
        earnings.note(1010, minutes(6) + Duration::from_secs(59));
        assert_eq!((sums(&earnings, minutes(7)), earnings.payments.len()), ((10, 10), 1));
        earnings.note(1110, minutes(60));
        assert_eq!(sums(&earnings, minutes(65)), (110, 110));
        assert_eq!(sums(&earnings, minutes(66)), (100, 110));
        assert_eq!(earnings.sums(minutes(66)).noted, minutes(61));
        // An account that is gone takes nothing back.
        earnings.note(10, minutes(70));
        earnings.note(15, minutes(71));
        assert_eq!(sums(&earnings, minutes(71)), (105, 115));
        for minute in 72..4000 {
            earnings.note(minute, minutes(minute));
        }
        assert!(earnings.payments.len() <= 1441);
        assert_eq!(sums(&earnings, minutes(3999)), (60, 1440));
    }
}
