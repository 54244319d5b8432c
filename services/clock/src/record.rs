//! The stored record: one line, `1800000120.000000 BOOT CRC`.
//!
//! It has the time in seconds and microseconds, the boot that wrote it
//! (`/proc/sys/kernel/random/boot_id` without dashes), and the CRC-32 (hexadecimal) of the
//! preceding part of the line.

use std::time::Duration;

use octet_node::boot::BootId;

use crate::decide::Time;

/// The kernel accepts no later time (`TIME_SETTOD_SEC_MAX`: in the year 2232), in seconds.
const LATEST: u64 = 8_277_292_036;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockRecord {
    /// The reservation: the clock has shown no later time.
    pub until: Time,
    /// The boot that wrote the record.
    pub boot: BootId,
}

impl ClockRecord {
    /// Encodes the record. Fractions of a microsecond are rounded up.
    pub fn to_line(self) -> String {
        let micros = self.until.as_nanos().div_ceil(1000);
        let line = format!("{}.{:06} {:032x} ", micros / 1_000_000, micros % 1_000_000, self.boot);
        format!("{line}{:08x}\n", crc32fast::hash(line.as_bytes()))
    }

    /// Parses `line`; `None` if it is damaged.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (time, rest) = line.split_once(' ')?;
        let (boot, _) = rest.split_once(' ')?;
        let (seconds, micros) = time.split_once('.')?;
        let seconds: u64 = seconds.parse().ok().filter(|seconds| *seconds < LATEST)?;
        let micros = Duration::from_micros(micros.parse().ok()?);
        let boot = BootId::from_str_radix(boot, 16).ok()?;
        let record = Self { until: Duration::from_secs(seconds).checked_add(micros)?, boot };
        // The encoding is canonical; comparing it checks the checksum as well.
        (record.to_line() == line).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn looks_as_documented() {
        let record = ClockRecord { until: Duration::new(1_800_000_120, 5_000), boot: 0xabc };
        let line = record.to_line();
        assert!(line.starts_with("1800000120.000005 00000000000000000000000000000abc "), "{line}");
        assert_eq!(ClockRecord::parse(line.as_bytes()), Some(record));
        let late = ClockRecord { until: Duration::from_secs(LATEST), boot: 1 };
        assert_eq!(ClockRecord::parse(late.to_line().as_bytes()), None);
    }

    proptest! {
        #[test]
        fn comes_back(seconds in 0..LATEST, nanos in 0u32..1_000_000_000, boot: u128) {
            let record = ClockRecord { until: Duration::new(seconds, nanos), boot };
            if let Some(back) = ClockRecord::parse(record.to_line().as_bytes()) {
                prop_assert!(back.until >= record.until && back.boot == boot);
                prop_assert!(back.until - record.until < Duration::from_micros(1));
            } else {
                prop_assert!(seconds == LATEST - 1); // rounded up to the bound
            }
        }

        /// A changed byte or a missing end is detected.
        #[test]
        fn damage_is_seen(seconds in 0..LATEST, boot: u128, at in any::<prop::sample::Index>(), byte: u8) {
            let line = ClockRecord { until: Duration::from_secs(seconds), boot }.to_line().into_bytes();
            prop_assert!(ClockRecord::parse(&line).is_some());
            let at = at.index(line.len());
            prop_assert_eq!(ClockRecord::parse(&line[..at]), None);
            let mut other = line.clone();
            other[at] = byte;
            prop_assert!(other == line || ClockRecord::parse(&other).is_none());
        }

        #[test]
        fn never_panics(line in prop::collection::vec(any::<u8>(), 0..80), near in "[0-9.a-f ]{0,60}") {
            ClockRecord::parse(&line);
            ClockRecord::parse(near.as_bytes());
        }
    }
}
