//! Persisted counters, for when their sets are recreated.

use octet_node::bytes::Fields;

use super::{Count, Direction, Meter, MeterCounts};
use crate::label::Label;

/// The first byte.
const VERSION: u8 = 1;

/// Version, then for each counter: direction (1: 0 in, 1 out, 2 above the rate), label (4), packets (8), bytes
/// (8), the length of the device's name (1), and the name. Numbers are big-endian.
pub fn to_bytes(counts: &MeterCounts) -> Vec<u8> {
    let mut out = vec![VERSION];
    for (Meter { device, direction, label }, count) in counts {
        out.push(direction.number());
        out.extend(label.get().to_be_bytes());
        out.extend(count.packets.to_be_bytes());
        out.extend(count.bytes.to_be_bytes());
        // A device's name has at most 15 bytes.
        out.push(device.len() as u8);
        out.extend(device.as_bytes());
    }
    out
}

/// Decodes counters. `None` if the bytes are malformed.
pub fn from_bytes(bytes: &[u8]) -> Option<MeterCounts> {
    let mut fields = Fields(bytes);
    if fields.u8()? != VERSION {
        return None;
    }
    let mut counts = MeterCounts::new();
    while !fields.0.is_empty() {
        let direction = *Direction::ALL.get(usize::from(fields.u8()?))?;
        let label = Label::new(fields.u32()?)?;
        let count = Count { packets: fields.u64()?, bytes: fields.u64()? };
        let length = fields.u8()?.into();
        let device = std::str::from_utf8(fields.take(length)?).ok()?.to_owned();
        counts.insert(Meter { device, direction, label }, count);
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted() -> impl Strategy<Value = (Meter, Count)> {
        let of = |device, direction: u8, label, packets, bytes| {
            let direction = Direction::ALL[usize::from(direction)];
            let label = Label::of_chance(label);
            (Meter { device, direction, label }, Count { packets, bytes })
        };
        ("[a-z0-9]{0,15}", 0u8..3, any::<(u32, u64, u64)>()).prop_map(
            move |(device, direction, (label, packets, bytes))| {
                of(device, direction, label, packets, bytes)
            },
        )
    }

    proptest! {
        #[test]
        fn come_back(counts in prop::collection::btree_map(any::<u8>(), counted(), 0..9), cut: prop::sample::Index) {
            let counts: MeterCounts = counts.into_values().collect();
            let bytes = to_bytes(&counts);
            prop_assert_eq!(from_bytes(&bytes), Some(counts.clone()));
            // Truncated bytes decode to other counters, or to none.
            prop_assert_ne!(from_bytes(&bytes[..cut.index(bytes.len())]), Some(counts));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = from_bytes(&bytes);
            let _ = from_bytes(&[&[VERSION], &bytes[..]].concat());
        }
    }
}
