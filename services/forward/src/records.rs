//! Accounting records of paths (`docs/forwarding.md`).

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use crate::engine::{CounterSide, PathCounters};
use crate::kernel::meter::{Direction, Meter, MeterCounts};
use crate::label::Label;

/// The maximum number of kept records of ended paths.
const MAX: usize = 1024;

/// The maximum number of records in one answer, so that it fits into a message (1 MiB).
const AT_ONCE: usize = 1200;

/// The records of ended paths, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Records(VecDeque<(u64, Value)>);

impl Records {
    /// Decodes the records; `None` if the bytes are malformed.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rows: Vec<Value> = serde_json::from_slice(bytes).ok()?;
        let numbered = |row: Value| Some((row["number"].as_u64()?, row));
        let rows: VecDeque<_> = rows.into_iter().map(numbered).collect::<Option<_>>()?;
        rows.iter().is_sorted_by(|(one, _), (other, _)| one < other).then_some(Self(rows))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(|(_, row)| row.clone()).collect::<Value>().to_string().into_bytes()
    }

    /// Adds the record of a path that ended at this time, in milliseconds since 1970. Numbers increase over
    /// boots, as long as the clock does.
    pub fn add(&mut self, counters: &PathCounters, counts: &MeterCounts, now: u64) {
        let number = self.0.back().map_or(now, |(last, _)| now.max(last + 1));
        self.0.push_back((number, record(counters, counts, Some((number, now / 1000)))));
        if self.0.len() > MAX {
            self.make_room();
        }
    }

    /// Drops the oldest record of the neighbour with the most: a neighbour that sets up and ends many paths
    /// displaces its own records only.
    fn make_room(&mut self) {
        let from =
            |row: &Value| row["previous_hop"]["node"].as_str().unwrap_or_default().to_owned();
        let mut counts: HashMap<String, usize> = HashMap::new();
        for (_, row) in &self.0 {
            *counts.entry(from(row)).or_default() += 1;
        }
        let most = counts.values().copied().max();
        let of_it = |(_, row): &(u64, Value)| counts.get(&from(row)).copied() == most;
        if let Some(place) = self.0.iter().position(of_it) {
            self.0.remove(place);
        }
    }

    /// An answer: ended paths with higher numbers than `after`, and then the current paths.
    pub fn to_json(&self, after: u64, standing: &[PathCounters], counts: &MeterCounts) -> Value {
        let ended = self.0.iter().filter(|(number, _)| *number > after).map(|(_, row)| row.clone());
        let standing = standing.iter().map(|carried| record(carried, counts, None));
        ended.chain(standing).take(AT_ONCE).collect()
    }
}

/// The record of a path. `ended` is its number and its end in seconds since 1970.
fn record(counters: &PathCounters, counts: &MeterCounts, ended: Option<(u64, u64)>) -> Value {
    let PathCounters { id: (link, id), since, previous_hop, next_hop } = counters;
    let role = match (previous_hop, next_hop) {
        (None, _) => "source",
        (Some(_), None) => "end",
        (Some(_), Some(_)) => "relay",
    };
    json!({
        "number": ended.map(|(number, _)| number),
        "role": role,
        "id": format!("{}-{:016x}", link.0, id.0),
        "since": since,
        "until": ended.map(|(_, until)| until),
        "previous_hop": previous_hop.map(|it| side(&it, counts)),
        "next_hop": next_hop.map(|it| side(&it, counts)),
    })
}

fn side(side: &CounterSide, counts: &MeterCounts) -> Value {
    let count = |direction, label: Label| {
        let meter = Meter { device: side.link.device(), direction, label };
        let count = counts.get(&meter).copied().unwrap_or_default();
        json!({ "label": label.get(), "packets": count.packets, "bytes": count.bytes })
    };
    json!({
        "link": side.link.device(),
        "node": side.node.to_string(),
        "in": count(Direction::In, side.rx_label),
        "out": count(Direction::Out, side.tx_label),
        "above": count(Direction::Above, side.rx_label),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Id;
    use crate::engine::LinkNumber;
    use crate::kernel::meter::Count;
    use octet_node::address::NodeAddress;
    use octet_node::control::PublicKey;
    use proptest::prelude::*;

    fn label(number: u32) -> Label {
        Label::new(number).unwrap()
    }

    /// A record of maximum length.
    fn relayed() -> PathCounters {
        let node = NodeAddress::of(&PublicKey::new([1; 32]));
        let side = |link, comes, goes| CounterSide {
            link: LinkNumber(link),
            node,
            rx_label: label(comes),
            tx_label: label(goes),
        };
        PathCounters {
            id: (LinkNumber(2), Id(0xabc)),
            since: 1_800_000_000,
            previous_hop: Some(side(2, 1_000_100, 1_000_200)),
            next_hop: Some(side(65_535, 1_000_300, 1_000_400)),
        }
    }

    fn counted() -> MeterCounts {
        let of = |device: &str, direction, number, count| {
            let meter = Meter { device: device.into(), direction, label: label(number) };
            (meter, Count { packets: count, bytes: u64::MAX - count })
        };
        // The same labels on another link do not count.
        [
            of("fl2", Direction::In, 1_000_100, 1),
            of("fl2", Direction::Out, 1_000_200, 2),
            of("fl65535", Direction::In, 1_000_300, 3),
            of("fl65535", Direction::Out, 1_000_400, 4),
            of("fl3", Direction::In, 1_000_100, 5),
            of("fl2", Direction::Out, 1_000_100, 6),
            of("fl2", Direction::Above, 1_000_100, 7),
            of("fl65535", Direction::Above, 1_000_300, 8),
        ]
        .into()
    }

    #[test]
    fn each_count_in_its_place() {
        let row = record(&relayed(), &counted(), None);
        let count = |side: &str, way: &str| row[side][way]["packets"].as_u64().unwrap();
        let found =
            ["previous_hop", "next_hop"].map(|it| ["in", "out", "above"].map(|way| count(it, way)));
        assert_eq!(found, [[1, 2, 7], [3, 4, 8]]);
        assert_eq!((&row["role"], &row["id"]), (&json!("relay"), &json!("2-0000000000000abc")));
        assert_eq!((&row["number"], &row["until"]), (&Value::Null, &Value::Null));
        let role = |carried: PathCounters| record(&carried, &counted(), None)["role"].clone();
        assert_eq!(role(PathCounters { previous_hop: None, ..relayed() }), "source");
        assert_eq!(role(PathCounters { next_hop: None, ..relayed() }), "end");
    }

    /// Numbers increase even if the clock is set back or stands still.
    #[test]
    fn numbers_grow_and_the_oldest_go() {
        let mut records = Records::default();
        for now in [5_000, 5_000, 4_000, 9_999] {
            records.add(&relayed(), &counted(), now);
        }
        let numbers = |records: &Records, after| -> Vec<u64> {
            let shown = records.to_json(after, &[], &MeterCounts::new());
            shown.as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()).collect()
        };
        assert_eq!(numbers(&records, 0), [5_000, 5_001, 5_002, 9_999]);
        assert_eq!(numbers(&records, 5_001), [5_002, 9_999]);
        let shown = records.to_json(9_999, &[relayed()], &counted());
        assert_eq!(shown, json!([record(&relayed(), &counted(), None)]));
        assert_eq!(records.to_json(5_002, &[], &MeterCounts::new())[0]["until"], 9);
        for _ in 0..2 * MAX {
            records.add(&relayed(), &counted(), 10_000);
        }
        assert_eq!(numbers(&records, 0).len(), MAX);
        assert_eq!(numbers(&records, 0).last(), Some(&(10_000 + 2 * MAX as u64 - 1)));
        assert_eq!(Records::from_bytes(&records.to_bytes()), Some(records.clone()));
        // An answer fits into one message.
        let standing = vec![relayed(); 4096];
        assert!(records.to_json(0, &standing, &counted()).to_string().len() < 1_000_000);
    }

    /// A neighbour with more paths than all others together displaces its own records only.
    #[test]
    fn no_neighbour_has_those_of_others_forgotten() {
        let from = |key: u8| {
            let node = NodeAddress::of(&PublicKey::new([key; 32]));
            let previous_hop = relayed().previous_hop.map(|side| CounterSide { node, ..side });
            PathCounters { previous_hop, ..relayed() }
        };
        let mut records = Records::default();
        let few = [from(1), PathCounters { previous_hop: None, ..relayed() }, from(2), from(1)];
        few.iter().for_each(|carried| records.add(carried, &counted(), 1_000));
        (0..2 * MAX).for_each(|_| records.add(&from(3), &counted(), 2_000));
        assert_eq!(records.0.len(), MAX);
        let first: Vec<u64> = records.0.iter().map(|(number, _)| *number).take(5).collect();
        assert_eq!(first, [1_000, 1_001, 1_002, 1_003, 2_000 + (MAX + 4) as u64]);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, numbers: Vec<u64>) {
            let _ = Records::from_bytes(&bytes);
            let rows: Value = numbers.iter().map(|number| json!({ "number": number })).collect();
            let read = Records::from_bytes(rows.to_string().as_bytes());
            prop_assert_eq!(read.is_some(), numbers.is_sorted_by(|one, other| one < other));
        }
    }
}
