//! The figures of a node over 24 hours, in memory of fixed size.

use std::time::Duration;

use octet_node::control::{Failure, FailureCode};
use serde::Serialize;

/// The time of one value.
pub const STEP: Duration = Duration::from_secs(60);

/// The number of values: 24 hours.
pub const STEPS: usize = 1440;

/// What is recorded of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    CpuPercent,
    MemoryPercent,
    TemperatureCelsius,
    ReceivedPerSecond,
    SentPerSecond,
}

/// All quantities, with their names, in the order of a sample.
const QUANTITIES: [(&str, Quantity); 5] = [
    ("cpu_percent", Quantity::CpuPercent),
    ("memory_percent", Quantity::MemoryPercent),
    ("temperature_celsius", Quantity::TemperatureCelsius),
    ("received_per_second", Quantity::ReceivedPerSecond),
    ("sent_per_second", Quantity::SentPerSecond),
];

impl Quantity {
    /// Parses the name of a quantity.
    ///
    /// # Errors
    /// There is none of that name; the failure lists all.
    pub fn parse(name: &str) -> Result<Self, Failure> {
        let found = QUANTITIES.iter().find(|(known, _)| *known == name);
        found.map(|(_, quantity)| *quantity).ok_or_else(|| {
            let names = QUANTITIES.map(|(name, _)| name).join(", ");
            let message = format!("there is no quantity `{name}`");
            Failure::new(FailureCode::BadArgument, message, format!("name one of: {names}"))
        })
    }
}

/// The values of a node at one moment; `None` for what is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    pub cpu_percent: Option<i32>,
    pub memory_percent: Option<i32>,
    pub temperature_celsius: Option<i32>,
    pub received_per_second: Option<i32>,
    pub sent_per_second: Option<i32>,
}

/// The ring of a node: for each minute the mean of its samples.
#[derive(Debug)]
pub struct History {
    minutes: Box<[Minute]>,
    /// The samples of the present minute.
    sums: [Sum; QUANTITIES.len()],
}

/// The means of one minute. A slot of the ring is overwritten after 24 hours.
#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    /// The minute since the start of this unit, from 1; 0 for none.
    number: u32,
    means: [Option<i32>; QUANTITIES.len()],
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    total: i64,
    count: i64,
}

impl Default for History {
    fn default() -> Self {
        let minutes = vec![Minute::default(); STEPS].into_boxed_slice();
        Self { minutes, sums: <[Sum; QUANTITIES.len()]>::default() }
    }
}

impl History {
    /// Adds a sample at `now`.
    pub fn record(&mut self, sample: &Sample, now: Duration) {
        let number = minute(now);
        let Some(slot) = self.minutes.get_mut(number as usize % STEPS) else { return };
        if slot.number != number {
            *slot = Minute { number, ..Minute::default() };
            self.sums = <[Sum; QUANTITIES.len()]>::default();
        }
        let values = [
            sample.cpu_percent,
            sample.memory_percent,
            sample.temperature_celsius,
            sample.received_per_second,
            sample.sent_per_second,
        ];
        for ((sum, mean), value) in self.sums.iter_mut().zip(&mut slot.means).zip(values) {
            if let Some(value) = value {
                *mean = sum.add(value);
            }
        }
    }

    /// The values of `quantity`, the oldest first and the present minute last; `None` for minutes
    /// without a sample. It begins with the first minute that has one.
    pub fn values(&self, quantity: Quantity, now: Duration) -> Vec<Option<i32>> {
        let last = minute(now);
        let at = QUANTITIES.iter().position(|(_, it)| *it == quantity).unwrap_or_default();
        let value = |number: u32| {
            let slot = self.minutes.get(number as usize % STEPS)?;
            slot.means.get(at).copied().flatten().filter(|_| slot.number == number)
        };
        let first = last.saturating_sub(STEPS as u32 - 1).max(1);
        (first..=last).map(value).skip_while(Option::is_none).collect()
    }
}

impl Sum {
    /// Adds a value, and returns the mean of all.
    fn add(&mut self, value: i32) -> Option<i32> {
        self.total = self.total.saturating_add(value.into());
        self.count = self.count.saturating_add(1);
        self.total.checked_div(self.count).and_then(|mean| i32::try_from(mean).ok())
    }
}

/// The number of the minute of `now`, from 1.
fn minute(now: Duration) -> u32 {
    u32::try_from(now.as_secs() / STEP.as_secs()).unwrap_or(u32::MAX - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cpu(percent: i32) -> Sample {
        Sample { cpu_percent: Some(percent), ..Sample::default() }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_minute_is_the_mean_of_its_samples() {
        let mut history = History::default();
        assert!(history.values(Quantity::CpuPercent, at(0)).is_empty());
        for (percent, second) in [(10, 61), (20, 66), (30, 119), (7, 120), (9, 301)] {
            history.record(&cpu(percent), at(second));
        }
        let values = history.values(Quantity::CpuPercent, at(310));
        assert_eq!(values, [Some(20), Some(7), None, None, Some(9)]);
        assert!(history.values(Quantity::SentPerSecond, at(310)).is_empty());
    }

    #[test]
    fn a_day_is_kept_and_no_more() {
        let mut history = History::default();
        for minute in 0..3 * STEPS as u64 {
            history.record(&cpu((minute % 100) as i32), at(minute * 60));
        }
        let end = at((3 * STEPS as u64 - 1) * 60);
        let values = history.values(Quantity::CpuPercent, end);
        assert_eq!((values.len(), values[0], values[STEPS - 1]), (STEPS, Some(80), Some(19)));
        // Two days without a sample.
        assert!(history.values(Quantity::CpuPercent, end + at(2 * 86_400)).is_empty());
    }

    #[test]
    fn names_are_those_that_are_said() {
        for (name, quantity) in QUANTITIES {
            assert_eq!(serde_json::json!(quantity), name);
            assert_eq!(Quantity::parse(name).unwrap(), quantity);
        }
        let failure = Quantity::parse("cpu").unwrap_err();
        assert!(failure.help.contains("cpu_percent, memory_percent"), "{failure:?}");
    }

    proptest! {
        #[test]
        fn a_mean_is_between_its_values(values in prop::collection::vec(any::<i32>(), 1..50)) {
            let mut sum = Sum::default();
            let mean = values.iter().filter_map(|value| sum.add(*value)).last().unwrap();
            let (least, most) = (values.iter().min().unwrap(), values.iter().max().unwrap());
            prop_assert!((least..=most).contains(&&mean), "{mean} {values:?}");
        }
    }
}
