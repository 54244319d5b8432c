//! The log rates of units, from their unit files.

use std::collections::BTreeMap;

use crate::limit::LogRate;

/// The rates of all units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRates {
    others: LogRate,
    units: BTreeMap<String, LogRate>,
}

impl UnitRates {
    /// Parses `list`, which PID 1 composes from unit files (`OCTET_LOG_RATES`): `UNIT=BYTES,BURST`,
    /// separated by spaces, in bytes per second and bytes. All other values are those of `others`;
    /// invalid items are ignored.
    pub fn new(list: &str, others: LogRate) -> Self {
        let parse = |word: &str| {
            let (unit, bytes) = word.split_once('=')?;
            let (bytes, burst) = bytes.split_once(',')?;
            let (bytes, byte_burst) = (bytes.parse().ok()?, burst.parse().ok()?);
            Some((unit.to_owned(), LogRate { bytes, byte_burst, ..others }))
        };
        Self { others, units: list.split_whitespace().filter_map(parse).collect() }
    }

    /// The rates of `unit`.
    pub fn of(&self, unit: &str) -> LogRate {
        self.units.get(unit).copied().unwrap_or(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_unit_has_its_own() {
        let others = LogRate::default();
        let rates = UnitRates::new("cache=10,20 lan=5 x=,1 y=a,b", others);
        assert_eq!(rates.of("cache"), LogRate { bytes: 10, byte_burst: 20, ..others });
        for unit in ["lan", "x", "y", "init"] {
            assert_eq!(rates.of(unit), others, "{unit}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(list in "\\PC*") {
            UnitRates::new(&list, LogRate::default());
        }
    }
}
