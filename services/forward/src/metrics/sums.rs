//! The traffic of links over all labels. Sums never decrease, although labels end with their paths, and survive
//! a restart of the daemon.

use std::collections::BTreeMap;

use octet_node::bytes::Fields;

use crate::kernel::meter::{Count, Direction, Meter, MeterCounts};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    /// The traffic of labels that have ended.
    ended: BTreeMap<(String, Direction), Count>,
    /// The last counters of existing labels.
    last: MeterCounts,
}

impl Sums {
    /// Updates the sums from all current counters.
    pub fn count(&mut self, counts: &MeterCounts) {
        let last = std::mem::replace(&mut self.last, counts.clone());
        for (meter, before) in last {
            let goes_on = counts
                .get(&meter)
                .is_some_and(|now| now.packets >= before.packets && now.bytes >= before.bytes);
            if !goes_on {
                self.add(meter, before);
            }
        }
    }

    /// Adds the final value of a counter that ends.
    pub fn end(&mut self, meter: &Meter) {
        if let Some((meter, count)) = self.last.remove_entry(meter) {
            self.add(meter, count);
        }
    }

    fn add(&mut self, meter: Meter, count: Count) {
        add(self.ended.entry((meter.device, meter.direction)).or_default(), count);
    }

    /// The sums of all links, former ones too.
    pub fn all(&self) -> Vec<(String, Direction, Count)> {
        let mut all = self.ended.clone();
        for (meter, count) in &self.last {
            let device = meter.device.clone();
            // All three directions are reported from the start, so that the first increase is visible.
            for direction in Direction::ALL {
                all.entry((device.clone(), direction)).or_default();
            }
            add(all.entry((device, meter.direction)).or_default(), *count);
        }
        all.into_iter().map(|((link, direction), count)| (link, direction, count)).collect()
    }

    /// The persisted encoding of ended labels: version, then for each link direction (1: 0 in, 1 out, 2 above
    /// the rate), packets (8), bytes (8), the length of the device's name (1), and the name. Numbers are
    /// big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for ((device, direction), count) in &self.ended {
            out.push(direction.number());
            out.extend(count.packets.to_be_bytes());
            out.extend(count.bytes.to_be_bytes());
            // A device's name has at most 15 bytes.
            out.push(device.len() as u8);
            out.extend(device.as_bytes());
        }
        out
    }

    /// Decodes sums. `None` if the bytes are malformed.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.u8()? != VERSION {
            return None;
        }
        let mut sums = Self::default();
        while !fields.0.is_empty() {
            let direction = *Direction::ALL.get(usize::from(fields.u8()?))?;
            let count = Count { packets: fields.u64()?, bytes: fields.u64()? };
            let length = fields.u8()?.into();
            let device = std::str::from_utf8(fields.take(length)?).ok()?.to_owned();
            sums.ended.insert((device, direction), count);
        }
        Some(sums)
    }
}

fn add(sum: &mut Count, count: Count) {
    sum.packets = sum.packets.saturating_add(count.packets);
    sum.bytes = sum.bytes.saturating_add(count.bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Label;
    use proptest::prelude::*;

    fn meter(label: u32) -> Meter {
        let label = Label::new(label).unwrap();
        Meter { device: "fl2".into(), direction: Direction::In, label }
    }

    fn counts(of: &[(u32, u64)]) -> MeterCounts {
        let count = |packets| Count { packets, bytes: 10 * packets };
        of.iter().map(|(label, packets)| (meter(*label), count(*packets))).collect()
    }

    fn sum(sums: &Sums) -> u64 {
        sums.all().iter().map(|(.., count)| count.packets).sum()
    }

    #[test]
    fn labels_go_and_what_they_carried_stays() {
        let mut sums = Sums::default();
        assert_eq!(sums.all(), []);
        sums.count(&counts(&[(100, 5), (200, 7)]));
        assert_eq!(sum(&sums), 12);
        assert_eq!(sums.all().len(), 3, "in, out and above");
        // One label ends with a report, one disappears without, and a third begins.
        sums.count(&counts(&[(100, 6), (200, 8)]));
        sums.end(&meter(100));
        assert_eq!(sum(&sums), 14);
        sums.count(&counts(&[(300, 1)]));
        assert_eq!(sum(&sums), 15);
        // The same label is reused for another path.
        sums.count(&counts(&[(100, 2), (300, 1)]));
        assert_eq!(sum(&sums), 17);
        sums.count(&counts(&[(100, 1), (300, 1)]));
        assert_eq!(sum(&sums), 18);
        // The next daemon continues to count labels that still exist.
        let mut next = Sums::from_bytes(&sums.to_bytes()).unwrap();
        next.count(&counts(&[(100, 1), (300, 1)]));
        assert_eq!(next, sums);
    }

    proptest! {
        #[test]
        fn never_goes_back(turns in prop::collection::vec(prop::collection::btree_map(16u32..20, 0u64..9, 0..4), 1..30)) {
            let (mut sums, mut before) = (Sums::default(), 0);
            for turn in turns {
                let turn: Vec<_> = turn.into_iter().collect();
                sums.count(&counts(&turn));
                prop_assert!(sum(&sums) >= before);
                before = sum(&sums);
            }
        }

        #[test]
        fn what_is_kept_is_read(of in prop::collection::btree_map(("[a-z0-9]{0,15}", 0usize..3), any::<(u64, u64)>(), 0..9), cut: prop::sample::Index) {
            let of = of.into_iter().map(|((device, at), (packets, bytes))| {
                ((device, Direction::ALL[at]), Count { packets, bytes })
            });
            let sums = Sums { ended: of.collect(), last: MeterCounts::new() };
            let bytes = sums.to_bytes();
            prop_assert_eq!(Sums::from_bytes(&bytes), Some(sums.clone()));
            prop_assert_ne!(Sums::from_bytes(&bytes[..cut.index(bytes.len())]), Some(sums));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Sums::from_bytes(&[&[VERSION], &bytes[..]].concat());
        }
    }
}
