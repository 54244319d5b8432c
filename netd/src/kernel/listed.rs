//! nft's JSON listing of netd's tables (libnftables-json(5)), with the fields that netd reads.

use std::collections::BTreeMap;
use std::net::IpAddr;

use octet_appliance::{LinkName, Mac};
use octet_router::kind::FlowKind;
use octet_router::matrix::ReceivedProbes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::backend::Drops;
use crate::port_bindings::{BoundNode, PortBindings};
use crate::router::firewall::{LoadedChains, TABLE};
use crate::watch::{FLOWS, PINGS};

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
}

/// A named counter.
#[derive(Deserialize)]
struct Counter {
    name: String,
    packets: u64,
}

#[derive(Deserialize)]
struct Set {
    table: String,
    name: String,
    #[serde(default)]
    elem: Vec<Value>,
}

/// An element that has more attributes than its value.
#[derive(Deserialize)]
struct Element<T> {
    elem: T,
}

/// A device and its packet count.
#[derive(Deserialize)]
struct Counted {
    val: String,
    counter: Count,
}

#[derive(Deserialize)]
struct Count {
    packets: u64,
}

#[derive(Deserialize)]
struct Bound {
    val: Pair,
    comment: String,
}

#[derive(Deserialize)]
struct Pair {
    concat: (LinkName, Mac),
}

/// A received flow: source, protocol and destination port.
#[derive(Deserialize)]
struct Begun {
    val: Flow,
}

#[derive(Deserialize)]
struct Flow {
    concat: (IpAddr, Protocol, u16),
}

/// An IP protocol, by name or number: nft prints the name only where /etc/protocols exists, which
/// the image lacks.
#[derive(Deserialize)]
#[serde(untagged)]
enum Protocol {
    Number(u8),
    Name(String),
}

/// The source of an echo request.
#[derive(Deserialize)]
struct Asked {
    val: IpAddr,
}

/// How many new flows each rule has allowed, by the name of its chain.
pub fn rule_counters(listed: &Value) -> BTreeMap<String, u64> {
    objects::<Counter>(listed, "counter").map(|it| (it.name, it.packets)).collect()
}

/// The chains of a router's table.
pub fn loaded_chains(listed: &Value) -> LoadedChains {
    let is_ours = |chain: &Chain| chain.family == "inet" && chain.table == TABLE;
    LoadedChains(
        objects::<Chain>(listed, "chain").filter(is_ours).map(|chain| chain.name).collect(),
    )
}

/// The bindings that the guard of the previous netd process has in its set of bound addresses.
/// Bindings from the configuration have no carrier count.
pub fn plugged(listed: &Value) -> PortBindings {
    let held = objects::<Set>(listed, "set").flat_map(|set| elements::<Bound>(set.elem));
    let held = held.filter_map(|Bound { val, comment }| {
        let (device, mac) = val.concat;
        Some((device, BoundNode { mac, downs: comment.parse().ok()? }))
    });
    held.collect()
}

/// Adds the counts of `table`'s sets that have a counter for each device.
pub fn drops(listed: &Value, table: &str, drops: &mut Drops) {
    for set in objects::<Set>(listed, "set").filter(|set| set.table == table) {
        let reason = set.name.strip_prefix("of_").unwrap_or(&set.name).replace('_', "-");
        for Counted { val, counter } in elements(set.elem) {
            if counter.packets > 0 {
                drops.entry(val).or_default().insert(reason.clone(), counter.packets);
            }
        }
    }
}

/// What was received, from the sets of [`crate::watch`].
pub fn received(listed: &Value) -> ReceivedProbes {
    let mut came = ReceivedProbes::new();
    for set in objects::<Set>(listed, "set") {
        if PINGS.contains(&set.name.as_str()) {
            for Asked { val } in elements(set.elem) {
                came.entry(val).or_default().insert(FlowKind::PING);
            }
        } else if FLOWS.contains(&set.name.as_str()) {
            for Begun { val: Flow { concat: (from, protocol, port) } } in elements(set.elem) {
                let kind = match protocol {
                    Protocol::Number(6) => FlowKind::tcp(port),
                    Protocol::Number(17) => FlowKind::udp(port),
                    Protocol::Name(name) if name == "tcp" => FlowKind::tcp(port),
                    Protocol::Name(name) if name == "udp" => FlowKind::udp(port),
                    _ => continue,
                };
                came.entry(from).or_default().insert(kind);
            }
        }
    }
    came
}

/// All listed objects of one kind. An object of an unexpected shape belongs to another program and
/// is skipped.
fn objects<T: DeserializeOwned>(listed: &Value, kind: &str) -> impl Iterator<Item = T> {
    let objects = listed["nftables"].as_array().into_iter().flatten();
    objects.filter_map(move |object| T::deserialize(object.get(kind)?).ok())
}

/// The elements that have more attributes than their value.
fn elements<T: DeserializeOwned>(elements: Vec<Value>) -> impl Iterator<Item = T> {
    let read = |element| serde_json::from_value::<Element<T>>(element).ok();
    elements.into_iter().filter_map(read).map(|element| element.elem)
}

/// The files are what Debian's nft 1.0.6 lists, one object a line, in a network namespace with the
/// devices `eth0` to `eth5` after `netd/tests/testdata/4.guard.nft` and `4.fw.nft` were loaded, and
///
/// ```text
/// add chain inet octet_forward policy_00000001
/// add element netdev octet_guard mac { "eth3" . 02:00:00:00:00:03 comment "7" }
/// add element netdev octet_guard of_src_mac { "eth2" counter packets 5 bytes 300 }
/// add element inet octet_fw denied { "eth1" counter packets 3 bytes 180 }
/// ```
#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::guard;
    use serde_json::json;

    const CHAINS: &str = include_str!("testdata/chains.json");
    const COUNTERS: &str = include_str!("testdata/counters.json");
    const MAC: &str = include_str!("testdata/mac.json");
    const GUARD_SETS: &str = include_str!("testdata/guard_sets.json");
    const FIREWALL_SETS: &str = include_str!("testdata/firewall_sets.json");

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// No object of the kernel's is skipped because its shape is unknown.
    #[test]
    fn all_chains_and_counters_are_read() {
        let LoadedChains(chains) = loaded_chains(&read(CHAINS));
        assert_eq!(chains.len(), CHAINS.matches("\"table\": \"octet_fw\"").count());
        assert!(chains.contains("policy_98624ffa") && chains.contains("input"));
        assert!(!chains.contains("policy_00000001"), "it is of another table");
        assert_eq!(loaded_chains(&json!({})), LoadedChains::default());
        let lines = rule_counters(&read(COUNTERS));
        assert_eq!(lines.len(), COUNTERS.matches("\"counter\":").count());
        assert_eq!(lines["policy_98624ffa"], 0);
    }

    #[test]
    fn what_is_counted_by_device() {
        let mut drops = Drops::new();
        super::drops(&read(GUARD_SETS), guard::TABLE, &mut drops);
        super::drops(&read(FIREWALL_SETS), TABLE, &mut drops);
        // It belongs to another table.
        super::drops(&read(FIREWALL_SETS), guard::TABLE, &mut drops);
        let one = |reason: &str, count| BTreeMap::from([(reason.to_owned(), count)]);
        let expected =
            [("eth1".to_owned(), one("denied", 3)), ("eth2".to_owned(), one("src-mac", 5))];
        assert_eq!(drops, Drops::from(expected));
    }

    #[test]
    fn who_is_bound_with_a_count_was_reported() {
        let device = LinkName::try_from("eth3".to_owned()).unwrap();
        let mac = Mac::try_from("02:00:00:00:00:03".to_owned()).unwrap();
        let held = [(device, BoundNode { mac, downs: 7 })];
        assert!(MAC.contains("02:00:00:00:00:01"), "those that the file says are there");
        assert_eq!(plugged(&read(MAC)), held.into_iter().collect());
        assert_eq!(plugged(&json!({ "nftables": 3 })), PortBindings::default());
    }

    /// As the kernel has them after [`crate::watch::begin`], and
    ///
    /// ```text
    /// add element inet octet_watch flows4 { 10.20.1.2 . tcp . 80, 10.20.1.2 . udp . 53 }
    /// add element inet octet_watch flows6 { fe80::1 . udp . 9 }
    /// add element inet octet_watch pings4 { 10.20.3.2 }
    /// ```
    #[test]
    fn what_has_come() {
        let come = |from: &str, kinds: &[FlowKind]| {
            (from.parse::<IpAddr>().unwrap(), kinds.iter().copied().collect())
        };
        let expected = [
            come("10.20.1.2", &[FlowKind::tcp(80), FlowKind::udp(53)]),
            come("fe80::1", &[FlowKind::udp(9)]),
            come("10.20.3.2", &[FlowKind::PING]),
        ];
        // With names of protocols, and with numbers as in the image.
        let text = include_str!("testdata/watch.json");
        assert_eq!(received(&read(text)), ReceivedProbes::from(expected.clone()));
        let text = text.replace("\"tcp\", ", "6, ").replace("\"udp\", ", "17, ");
        assert_eq!(received(&read(&text)), ReceivedProbes::from(expected));
        assert_eq!(received(&read(FIREWALL_SETS)), ReceivedProbes::new());
    }
}
