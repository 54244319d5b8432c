//! What a number in a unit file may be. Checked from this table, and printed from it into
//! docs/units.md.

use std::ops::RangeInclusive;

use super::Unit;
use crate::bytes::Bytes;
use crate::duration::TimeSpan;

/// One key with a bounded value.
pub(crate) struct Bound {
    /// The key, with the tables it is in.
    pub key: &'static str,
    /// Its value, if it has one.
    value: fn(&Unit) -> Option<u64>,
    range: RangeInclusive<u64>,
    quantity: Quantity,
}

/// What is counted.
#[derive(Clone, Copy)]
enum Quantity {
    Number,
    Bytes,
    Milliseconds,
}

impl Quantity {
    fn show(self, value: u64) -> String {
        match self {
            Self::Number => value.to_string(),
            Self::Bytes => Bytes::new(value).to_string(),
            Self::Milliseconds => TimeSpan::from_millis(value).to_string(),
        }
    }
}

impl Bound {
    /// The range in words.
    pub fn range(&self) -> String {
        let show = |value: &u64| self.quantity.show(*value);
        format!("{} to {}", show(self.range.start()), show(self.range.end()))
    }

    /// What the unit has instead, if that is outside.
    pub fn violation(&self, unit: &Unit) -> Option<String> {
        let value = (self.value)(unit)?;
        (!self.range.contains(&value)).then(|| self.quantity.show(value))
    }
}

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

fn ms(span: TimeSpan) -> Option<u64> {
    u64::try_from(span.duration().as_millis()).ok()
}

fn number(key: &'static str, range: RangeInclusive<u64>, value: fn(&Unit) -> Option<u64>) -> Bound {
    Bound { key, value, range, quantity: Quantity::Number }
}

fn bytes(key: &'static str, range: RangeInclusive<u64>, value: fn(&Unit) -> Option<u64>) -> Bound {
    Bound { key, value, range, quantity: Quantity::Bytes }
}

fn time(key: &'static str, range: RangeInclusive<u64>, value: fn(&Unit) -> Option<u64>) -> Bound {
    Bound { key, value, range, quantity: Quantity::Milliseconds }
}

/// Every bounded key.
pub(crate) fn bounds() -> [Bound; 18] {
    [
        time("start.timeout", 1..=24 * HOUR, |unit| ms(unit.start.timeout)),
        time("restart.delay", 0..=HOUR, |unit| ms(unit.restart.delay)),
        time("restart.max_delay", 0..=HOUR, |unit| ms(unit.restart.max_delay)),
        number("restart.budget", 0..=10_000, |unit| Some(unit.restart.budget.into())),
        time("restart.window", SECOND..=24 * HOUR, |unit| ms(unit.restart.window)),
        time("stop.timeout", 0..=HOUR, |unit| ms(unit.stop.timeout)),
        time("watchdog", SECOND..=HOUR, |unit| ms(unit.watchdog?)),
        bytes("log.rate", KIB..=GIB, |unit| Some(unit.log.rate.get())),
        bytes("log.burst", KIB..=GIB, |unit| Some(unit.log.burst.get())),
        bytes("limits.memory_max", 256 * KIB..=1 << 40, |unit| Some(unit.limits.memory_max?.get())),
        bytes("limits.memory_high", 256 * KIB..=1 << 40, |unit| {
            Some(unit.limits.memory_high?.get())
        }),
        number("limits.cpu_weight", 1..=10_000, |unit| Some(unit.limits.cpu_weight.into())),
        number("limits.cpu_max", 1..=10_000, |unit| Some(unit.limits.cpu_max?.into())),
        number("limits.pids_max", 1..=65_536, |unit| Some(unit.limits.pids_max.into())),
        bytes("limits.io_max.read", 4 * KIB..=1 << 40, |unit| {
            Some(unit.limits.io_max?.read?.get())
        }),
        bytes("limits.io_max.write", 4 * KIB..=1 << 40, |unit| {
            Some(unit.limits.io_max?.write?.get())
        }),
        number("limits.nofile", 16..=1_048_576, |unit| Some(unit.limits.nofile.into())),
        number("args", 0..=256, |unit| u64::try_from(unit.args.len()).ok()),
    ]
}
