//! Prometheus metrics of this node (`docs/forwarding.md`).
//!
//! No metric is labelled with an MPLS label, a key or a path number: those are short-lived, would leave a
//! series each in the collector, and would reveal who communicates with whom.

pub mod sums;

use std::fmt;

use octet_node::metrics::exposition::MetricKind::{Counter, Gauge};
use octet_node::metrics::exposition::collector::Collector;
use octet_node::metrics::exposition::encoding::DescriptorEncoder;
use octet_node::metrics::exposition::{family, text};

use crate::kernel::meter::{Count, Direction};
use crate::probe::Quality;

#[derive(Debug, Clone, PartialEq)]
pub struct LinkMetrics {
    pub name: String,
    /// `wireguard` or `plain`.
    pub by: &'static str,
    /// The measured link quality.
    pub quality: Quality,
    /// The capacity towards the neighbour, in kbit/s.
    pub kilobits: Option<u32>,
}

/// All metrics at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The current links.
    pub links: Vec<LinkMetrics>,
    /// The traffic of all links, former ones too, by device.
    pub carried: Vec<(String, Direction, Count)>,
    /// The number of known nodes, this one included.
    pub nodes: usize,
    /// The number of paths that begin here: established, and pending.
    pub paths: (usize, usize),
    /// The number of paths through this node or to it.
    pub relayed: usize,
    /// The number of refused set-ups, by reason.
    pub refused: Vec<(&'static str, u64)>,
}

impl Snapshot {
    pub fn text(self) -> Option<String> {
        text("octet_forward", self)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        self.links(out)?;
        let help =
            "Packets by link: `in` and `out` as they were let, `above` a path's rate and dropped.";
        family(out, "link_packets", Counter, help, self.each(|it| it.packets))?;
        let help = "Their bytes, of IP and four for the label.";
        family(out, "link_bytes", Counter, help, self.each(|it| it.bytes))?;
        let help = "Nodes that are known, this one too.";
        family(out, "nodes", Gauge, help, alone(self.nodes))?;
        let help = "Paths that begin here.";
        let (stand, others) = self.paths;
        let paths = [("stands", stand), ("does not stand", others)];
        let paths = paths.map(|(state, count)| (vec![("state", state)], count));
        family(out, "paths", Gauge, help, paths)?;
        let help = "Paths that go through this node, or end here.";
        family(out, "paths_relayed", Gauge, help, alone(self.relayed))?;
        let help = "Set-ups of paths that came to nothing at this node, by why.";
        let refused = self.refused.iter().map(|(why, count)| (vec![("reason", *why)], *count));
        family(out, "set_ups_refused", Counter, help, refused)
    }
}

impl Snapshot {
    fn links(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let of = |link: &LinkMetrics| vec![("link", link.name.clone())];
        let up = self.links.iter().map(|link| {
            let labels = vec![("link", link.name.as_str()), ("by", link.by)];
            (labels, u32::from(link.quality.is_up))
        });
        let help = "Whether the neighbour has answered one of the last four probes.";
        family(out, "link_up", Gauge, help, up)?;
        let trips = self
            .links
            .iter()
            .filter_map(|link| Some((of(link), link.quality.round_trip?.as_secs_f64())));
        let help = "Time there and back: the median of the last 32 probes, one a second.";
        family(out, "link_round_trip_seconds", Gauge, help, trips)?;
        let sent = self.links.iter().map(|link| (of(link), link.quality.lost.1));
        let help = "How many of the last probes are looked back at.";
        family(out, "link_probes", Gauge, help, sent)?;
        let lost = self.links.iter().map(|link| (of(link), link.quality.lost.0));
        let help = "How many of them had no answer.";
        family(out, "link_probes_lost", Gauge, help, lost)?;
        let carry = { self.links.iter() }
            .filter_map(|link| Some((of(link), 1000 * u64::from(link.kilobits?))));
        let help = "How much goes to the neighbour at most: the median of the last 5 trains, one a minute.";
        family(out, "link_capacity_bits_per_second", Gauge, help, carry)
    }

    /// The traffic samples of links.
    fn each(
        &self,
        what: impl Fn(&Count) -> u64,
    ) -> impl Iterator<Item = (Vec<(&'static str, &str)>, u64)> {
        self.carried.iter().map(move |(link, direction, count)| {
            (vec![("link", link.as_str()), ("way", direction.name())], what(count))
        })
    }
}

/// The single sample of a family.
fn alone(value: usize) -> [(Vec<(&'static str, &'static str)>, usize); 1] {
    [(vec![], value)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    /// An independent parser of the format: the value of each series (name and labels). It checks that families
    /// are contiguous and follow their type, and that no series appears twice.
    fn read(text: &str) -> BTreeMap<(String, Vec<(String, String)>), f64> {
        let (mut series, mut types) = (BTreeMap::new(), BTreeMap::new());
        let mut family = String::new();
        let text = text.strip_suffix("# EOF\n").unwrap();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let (what, rest) = rest.split_once(' ').unwrap();
                let (name, about) = rest.split_once(' ').unwrap();
                match what {
                    "HELP" => {
                        assert!(!types.contains_key(name), "{name} comes twice");
                        family = name.to_owned();
                    }
                    "TYPE" => {
                        assert_eq!(name, family);
                        assert!(["counter", "gauge"].contains(&about), "{line}");
                        types.insert(name.to_owned(), about.to_owned());
                    }
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (about, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match about.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
                None => (about, ""),
            };
            let of = name.strip_suffix("_total").unwrap_or(name);
            assert_eq!(of, family, "between others");
            assert_eq!(types[of] == "counter", of != name);
            let is_name = |it: &str| {
                it.starts_with(|first: char| first.is_ascii_alphabetic())
                    && it.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
            };
            assert!(is_name(name));
            let mut found = vec![];
            for label in labels.split("\",").filter(|it| !it.is_empty()) {
                let (name, value) = label.split_once("=\"").unwrap();
                assert!(is_name(name));
                found.push((name.to_owned(), value.trim_end_matches('"').to_owned()));
            }
            let value: f64 = value.parse().unwrap();
            assert_eq!(series.insert((name.to_owned(), found), value), None, "{line}");
        }
        series
    }

    fn snapshot() -> Snapshot {
        let quality =
            Quality { is_up: true, round_trip: Some(Duration::from_micros(412)), lost: (2, 31) };
        let down = Quality { is_up: false, round_trip: None, lost: (31, 31) };
        let count = |packets| Count { packets, bytes: 100 * packets };
        Snapshot {
            links: vec![
                LinkMetrics {
                    name: "fl2".into(),
                    by: "wireguard",
                    quality,
                    kilobits: Some(940_000),
                },
                LinkMetrics { name: "fl3".into(), by: "plain", quality: down, kilobits: None },
            ],
            carried: vec![
                ("fl2".into(), Direction::In, count(3)),
                ("fl2".into(), Direction::Out, count(u64::from(u32::MAX))),
                ("fl2".into(), Direction::Above, count(5)),
            ],
            nodes: 9,
            paths: (2, 1),
            relayed: 7,
            refused: vec![("full", 0), ("no link", 4)],
        }
    }

    #[test]
    fn all_that_there_is_and_nothing_else() {
        let found = read(&snapshot().text().unwrap());
        let value = |name: &str, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            found[&(format!("octet_forward_{name}"), labels.collect())]
        };
        assert_eq!(value("link_up", &[("link", "fl2"), ("by", "wireguard")]), 1.0);
        assert_eq!(value("link_up", &[("link", "fl3"), ("by", "plain")]), 0.0);
        assert_eq!(value("link_round_trip_seconds", &[("link", "fl2")]), 0.000_412);
        assert_eq!(value("link_capacity_bits_per_second", &[("link", "fl2")]), 940e6);
        assert_eq!(value("link_probes", &[("link", "fl2")]), 31.0);
        assert_eq!(value("link_probes_lost", &[("link", "fl3")]), 31.0);
        let out = [("link", "fl2"), ("way", "out")];
        assert_eq!(value("link_packets_total", &out), 4_294_967_295.0);
        assert_eq!(value("link_bytes_total", &out), 429_496_729_500.0);
        assert_eq!(value("link_packets_total", &[("link", "fl2"), ("way", "above")]), 5.0);
        assert_eq!(value("nodes", &[]), 9.0);
        assert_eq!(value("paths", &[("state", "stands")]), 2.0);
        assert_eq!(value("paths", &[("state", "does not stand")]), 1.0);
        assert_eq!(value("paths_relayed", &[]), 7.0);
        assert_eq!(value("set_ups_refused_total", &[("reason", "no link")]), 4.0);
        // A link that was never answered has neither a latency nor a capacity.
        assert_eq!(found.len(), 2 + 1 + 1 + 2 + 2 + 3 + 3 + 1 + 2 + 1 + 2);
    }

    /// The output of an idle board is valid.
    #[test]
    fn nothing_is_right_too() {
        let found = read(&Snapshot::default().text().unwrap());
        assert_eq!(found.values().sum::<f64>(), 0.0);
        assert!(!found.is_empty());
    }
}
