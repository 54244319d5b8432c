//! The table `octet_fw` of a router: which flows may begin.

mod exit;
mod fixed;
mod nat_source;
mod rule_chain;
mod tunnels;

use std::collections::{BTreeMap, BTreeSet};

use octet_appliance::{TrafficKind, Zone};

use crate::on_board::{self, OnBoard};
use crate::paths::{self, PathDevices};

use super::plan::{RouterPlan, RuleSource};
use super::table::{NftTable, Set};
use super::text::quoted;
use fixed::FRAME;
pub use fixed::{ERRORS, LONGEST_ERROR, NOBODY};
pub use rule_chain::ChainName;

pub const TABLE: &str = "octet_fw";

/// Sets of counters by receiving port.
const COUNTED: [&str; 3] = ["denied", "too_many", "icmp_error"];

/// The chains that the kernel has in the table now. Each rule has a chain and a counter of the same
/// name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadedChains(pub BTreeSet<String>);

impl LoadedChains {
    /// Chains of rules that do not exist any more.
    pub fn removed<'a>(&'a self, table: &'a NftTable) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(|name| ChainName::is_one(name) && table.chain(name).is_none())
    }
}

/// A direction of travel: chains and their maps exist for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// From one port to another.
    Forward,
    Input,
    Output,
}

/// What a map compares besides devices: single ports are found in a hash, ranges in a tree.
#[derive(Debug, Clone, Copy)]
enum Compared {
    Port,
    Range,
    Number,
    Ping,
}

/// The table, with `on_board`, what units of the router may send to each other, and the rules of
/// the unit `forward`, if the image has it.
pub fn table(
    plan: &RouterPlan,
    on_board: &OnBoard,
    forward: Option<&PathDevices>,
    leased: bool,
) -> NftTable {
    let set = |name: &str, kind: &str, counts, elements| Set {
        name: name.to_owned(),
        keyword: "set",
        kind: kind.to_owned(),
        counts,
        elements,
    };
    let devices: Vec<_> = plan.devices().map(quoted).collect();
    let mut sets: Vec<_> =
        COUNTED.map(|name| set(name, "type ifname; counter", true, devices.clone())).into();
    sets.extend(members(plan).map(|(name, kind, who)| set(name, kind, false, who)));
    sets.push(on_board.set());
    sets.extend(maps(plan));

    let mut chains = fixed::chains(plan, forward, leased);
    chains.push(on_board::chain());
    chains.extend(forward.map(|it| tunnels::chains(plan, it)).into_iter().flatten());
    let mut chains: BTreeMap<_, _> =
        chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect();
    // Policies with the same text are one rule.
    let lines: BTreeSet<RuleSource> = plan.allowed.entries().map(|(_, it)| it.rule).collect();
    let lines = lines
        .into_iter()
        .map(|by| (ChainName::of(plan, by).to_string(), rule_chain::chain(plan, by)));
    let lines: BTreeMap<_, _> = lines.collect();
    let counters = lines.keys().cloned().collect();
    chains.extend(lines);
    let chains = chains.into_iter().collect();

    let of_paths = forward.map(|_| paths::FRAME).into_iter().flatten();
    let frame = FRAME.into_iter().chain(on_board::FRAME).chain(of_paths).collect();
    NftTable { name: ("inet", TABLE), frame, counters, sets, chains }
}

/// The addresses of boards, each with its device: no other node is behind that device.
fn members(plan: &RouterPlan) -> [(&'static str, &'static str, Vec<String>); 2] {
    let (mut boards4, mut boards6) = (vec![], vec![]);
    for segment in &plan.boards {
        let Some((ip4, ip6)) = segment.board else { continue };
        let device = quoted(&segment.device);
        boards4.push(format!("{device} . {ip4}"));
        boards6.push(format!("{device} . {ip6}"));
    }
    [
        ("boards4", "type ifname . ipv4_addr", boards4),
        ("boards6", "type ifname . ipv6_addr", boards6),
    ]
}

/// The maps, by direction and by what they compare.
fn maps(plan: &RouterPlan) -> Vec<Set> {
    let mut maps: Vec<_> = [
        (Direction::Forward, "ifname . ifname"),
        (Direction::Input, "ifname"),
        (Direction::Output, "ifname"),
    ]
    .into_iter()
    .flat_map(|(direction, devices)| maps_of(direction, devices))
    .collect();
    for ((from, to, traffic), it) in plan.allowed.entries() {
        let (direction, key) = match (from, to) {
            // Paths have their own rules, because their devices are created and removed at run
            // time.
            (Zone::Path, _) | (_, Zone::Path) => continue,
            (Zone::Router, to) => match plan.device(to) {
                Some(to) => (Direction::Output, quoted(to)),
                None => continue,
            },
            (from, Zone::Router) => match plan.device(from) {
                Some(from) => (Direction::Input, quoted(from)),
                None => continue,
            },
            (from, to) => match (plan.device(from), plan.outgoing_device(from, to)) {
                (Some(from), Some(to)) => (Direction::Forward, format!("\"{from}\" . \"{to}\"")),
                _ => continue,
            },
        };
        let (compared, port) = match traffic {
            TrafficKind::Ping => (Compared::Ping, String::new()),
            TrafficKind::Number(number) => (Compared::Number, format!(" . {number}")),
            TrafficKind::Tcp | TrafficKind::Udp if it.ports.first == it.ports.last => {
                (Compared::Port, format!(" . {traffic} . {}", it.ports.first))
            }
            TrafficKind::Tcp | TrafficKind::Udp => {
                (Compared::Range, format!(" . {traffic} . {}", it.ports))
            }
        };
        let map = &mut maps[direction as usize * COMPARED + compared as usize];
        map.elements.push(format!("{key}{port} : goto {}", ChainName::of(plan, it.rule)));
    }
    maps
}

/// Number of maps for each direction.
const COMPARED: usize = 4;

/// The maps of one direction, ordered by what they compare; their keys begin with `devices`.
fn maps_of(direction: Direction, devices: &str) -> [Set; COMPARED] {
    let direction = match direction {
        Direction::Forward => "forward",
        Direction::Input => "input",
        Direction::Output => "output",
    };
    [
        ("port", " . inet_proto . inet_service", ""),
        ("range", " . inet_proto . inet_service", "; flags interval"),
        ("number", " . inet_proto", ""),
        ("ping", "", ""),
    ]
    .map(|(compared, keys, flags)| Set {
        name: format!("{direction}_{compared}"),
        keyword: "map",
        kind: format!("type {devices}{keys} : verdict{flags}"),
        counts: false,
        elements: vec![],
    })
}
