//! Tests reachability with packets: compares what boards have received from each other with the
//! plan.
//!
//! Boards that run Octet send each other what the plan allows, and what it does not, and record
//! what they receive. This shows what the router and its switch really do with their configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use octet_appliance::{AllowRule, Mac, PortRange, TrafficKind, Zone};
use serde::{Deserialize, Serialize};

use crate::kind::FlowKind;
use crate::plan::{Decision, RouterPlan};

/// The verb of a board's netd that starts the recording.
pub const WATCH: &str = "watch";

/// The verb that returns what was received.
pub const CAME: &str = "came";

/// The verb that sends probes.
pub const PROBE: &str = "probe";

/// Probes that are sent whatever the plan says: common ports, and the ports of every board.
const ALWAYS: [FlowKind; 8] = [
    FlowKind::PING,
    FlowKind::tcp(22),
    FlowKind::tcp(80),
    FlowKind::tcp(443),
    FlowKind::tcp(4040),
    FlowKind::tcp(4041),
    FlowKind::udp(53),
    FlowKind::udp(123),
];

/// A board, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardEnd {
    pub number: u8,
    /// The Ethernet address of its port.
    pub mac: Mac,
    /// The addresses of its port.
    pub addresses: Vec<IpAddr>,
}

/// Received flows, by source address.
pub type ReceivedProbes = BTreeMap<IpAddr, BTreeSet<FlowKind>>;

/// A board's answer after it has sent probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentProbe {
    /// What was answered, by destination address.
    pub answers: ReceivedProbes,
    /// Whether the router has answered the last echo request: by then all earlier probes were
    /// forwarded or dropped.
    pub echoed: bool,
}

/// The boards of a box, and the results of their probes.
#[derive(Debug)]
pub struct Matrix<'a> {
    plan: &'a RouterPlan,
    boards: BTreeMap<u8, BoardEnd>,
    /// Received flows, by the board that received them.
    received: BTreeMap<u8, ReceivedProbes>,
    /// The router's answers, by the board that received them.
    answers: BTreeMap<u8, ReceivedProbes>,
}

/// One packet, and its result.
#[derive(Debug, Clone)]
struct Probe {
    kind: FlowKind,
    is_ipv4: bool,
    decision: Decision,
    is_received: bool,
}

impl Probe {
    fn is_allowed(&self) -> bool {
        self.decision != Decision::Denied
    }

    fn is_right(&self) -> bool {
        self.is_allowed() == self.is_received
    }
}

impl<'a> Matrix<'a> {
    /// A matrix of these boards, without results yet.
    pub fn new(plan: &'a RouterPlan, seats: impl IntoIterator<Item = BoardEnd>) -> Self {
        let boards = seats.into_iter().map(|seat| (seat.number, seat)).collect();
        Self { plan, boards, received: BTreeMap::new(), answers: BTreeMap::new() }
    }

    pub fn boards(&self) -> impl Iterator<Item = &BoardEnd> {
        self.boards.values()
    }

    /// The destinations of a board's probes: the other boards, and the router.
    pub fn targets(&self, from: u8) -> impl Iterator<Item = Zone> {
        let others = self.boards.keys().filter(move |number| **number != from);
        others.map(|number| Zone::Board(*number)).chain([Zone::Router])
    }

    /// The probes of board `from` to `to`: the edges of the ranges that anybody may send there, and
    /// some that nobody may. The router reports only what it answers: a missing answer to an
    /// allowed probe proves nothing.
    pub fn kinds(&self, from: u8, to: Zone) -> Vec<FlowKind> {
        let mut kinds = BTreeSet::from(ALWAYS);
        let there = self.plan.allowed.entries().filter(|((_, zone, _), _)| *zone == to);
        for ((_, _, traffic), AllowRule { ports: PortRange { first, last }, .. }) in there {
            let edges = [first.saturating_sub(1), first, last, last.saturating_add(1)];
            let edges = edges.into_iter().filter(|port| *port != 0);
            match traffic {
                TrafficKind::Tcp => kinds.extend(edges.map(FlowKind::tcp)),
                TrafficKind::Udp => kinds.extend(edges.map(FlowKind::udp)),
                TrafficKind::Ping | TrafficKind::Number(_) => {}
            }
        }
        let is_told = |kind: &FlowKind| match (to, kind.traffic) {
            (Zone::Router, TrafficKind::Tcp) => self.decide(from, to, *kind) == Decision::Denied,
            (Zone::Router, traffic) => traffic == TrafficKind::Ping,
            _ => true,
        };
        kinds.into_iter().filter(is_told).collect()
    }

    /// What the plan allows `from` to send to `to`, and was not received.
    pub fn missing(&self, from: u8, to: Zone) -> Vec<FlowKind> {
        let missing =
            self.probes(from, to).into_iter().filter(|it| it.is_allowed() && !it.is_received);
        missing.map(|it| it.kind).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Adds what board `at` has received.
    pub fn add_received(&mut self, at: u8, came: ReceivedProbes) {
        add(self.received.entry(at).or_default(), came);
    }

    /// Adds what the router has answered board `from`, by destination address.
    pub fn add_answers(&mut self, from: u8, answers: ReceivedProbes) {
        add(self.answers.entry(from).or_default(), answers);
    }

    /// How many of each board's probes were received, one line per board.
    pub fn table(&self) -> Vec<String> {
        let names = self.boards.keys().map(|number| Zone::Board(*number).to_string());
        let names: Vec<_> = names.chain([Zone::Router.to_string()]).collect();
        let mut lines = vec![row("", names.iter().map(String::as_str))];
        for number in self.boards.keys() {
            let cells = self.boards.keys().map(|to| Zone::Board(*to)).chain([Zone::Router]);
            let cells: Vec<_> = cells.map(|to| self.cell(*number, to)).collect();
            let name = Zone::Board(*number).to_string();
            lines.push(row(&name, cells.iter().map(String::as_str)));
        }
        lines
    }

    fn cell(&self, from: u8, to: Zone) -> String {
        if to == Zone::Board(from) {
            return "-".to_owned();
        }
        let probes = self.probes(from, to);
        let came = probes.iter().filter(|it| it.is_received).count();
        let is_right = probes.iter().all(Probe::is_right) && !self.bypasses_router(from, to);
        format!("{came}/{}{}", probes.len(), if is_right { " " } else { "!" })
    }

    /// The differences from the plan, one a line; traffic that bypasses all rules comes first.
    pub fn differences(&self) -> Vec<String> {
        let pairs = || self.boards.keys().flat_map(|it| self.targets(*it).map(|to| (*it, to)));
        let by: Vec<_> = pairs()
            .filter(|(from, to)| self.bypasses_router(*from, *to))
            .map(|(from, to)| format!("{} to {to}", Zone::Board(from)))
            .collect();
        let mut found = vec![];
        if !by.is_empty() {
            found.push(format!(
                "THE SWITCH DOES NOT KEEP BOARDS APART, whatever is configured: frames go past the router, where no rule \
                 is asked, from {}",
                by.join(", ")
            ));
        }
        found.extend(pairs().flat_map(|(from, to)| self.differences_between(from, to)));
        found
    }

    /// What these boards cannot send, one a line.
    pub fn unsent(&self) -> Vec<String> {
        let boards = self.plan.boards.iter().filter_map(|it| Some((it.zone, it.board?)));
        let lines = boards.filter_map(|(zone, (ip4, ip6))| {
            let Zone::Board(number) = zone else { return None };
            let seat = self.boards.get(&number)?;
            let has = |address: IpAddr| seat.addresses.contains(&address);
            match (has(ip4.into()), has(ip6.into())) {
                (true, true) => None,
                (true, false) => {
                    Some(format!("{zone} does not have {ip6}: it has sent IPv4 alone"))
                }
                (false, true) => {
                    Some(format!("{zone} does not have {ip4}: it has sent IPv6 alone"))
                }
                (false, false) => {
                    Some(format!("{zone} has no address of the box: it has sent nothing"))
                }
            }
        });
        lines.collect()
    }

    /// The differences between these two: a line for received packets, and one for missing ones, by
    /// the rule of the plan that allows them.
    fn differences_between(&self, from: u8, to: Zone) -> Vec<String> {
        let mut holes = BTreeSet::new();
        let mut lost = BTreeMap::<String, BTreeSet<String>>::new();
        for probe in self.probes(from, to).iter().filter(|it| !it.is_right()) {
            let what = format!("{} ({})", probe.kind, if probe.is_ipv4 { "IPv4" } else { "IPv6" });
            let by = match probe.decision {
                Decision::Denied => {
                    holes.insert(what);
                    continue;
                }
                Decision::Allowed(rule) => rule.to_string(),
                Decision::Neighbour(index) => self.plan.neighbours[index].to_string(),
                Decision::Published { .. } => "what is published".to_owned(),
            };
            lost.entry(by).or_default().insert(what);
        }
        let from = Zone::Board(from);
        let list = |kinds: BTreeSet<String>| kinds.into_iter().collect::<Vec<_>>().join(", ");
        let mut wrong = vec![];
        if !holes.is_empty() {
            wrong.push(format!("{from} reaches {to} by {}, which no policy allows", list(holes)));
        }
        let lost = lost.into_iter();
        wrong.extend(lost.map(|(by, what)| {
            format!("{from} does not reach {to} by {}, which {by} lets", list(what))
        }));
        wrong
    }

    /// Whether frames of `from` reach `to` without being forwarded by a router: link-local
    /// addresses are valid on one link only (RFC 4291, 2.5.6).
    fn bypasses_router(&self, from: u8, to: Zone) -> bool {
        let (Some(seat), Zone::Board(to)) = (self.boards.get(&from), to) else { return false };
        let is_of_link = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let own = seat.mac.link_local();
        let came = self.received.get(&to).into_iter().flat_map(BTreeMap::keys);
        { came }.any(|it| is_of_link(it) && (*it == own || seat.addresses.contains(it)))
    }

    fn decide(&self, from: u8, to: Zone, kind: FlowKind) -> Decision {
        self.plan.decide((Zone::Board(from), to, kind.traffic), kind.port, None)
    }

    /// All probes from `from` to `to`, for each IP version in which both have an address.
    fn probes(&self, from: u8, to: Zone) -> Vec<Probe> {
        let mut probes = vec![];
        for (source, target) in self.addresses(from, to) {
            for kind in self.kinds(from, to) {
                let (came, by) = match to {
                    Zone::Board(number) => (self.received.get(&number), source),
                    _ => (self.answers.get(&from), target),
                };
                probes.push(Probe {
                    kind,
                    is_ipv4: source.is_ipv4(),
                    decision: self.decide(from, to, kind),
                    is_received: came
                        .and_then(|it| it.get(&by))
                        .is_some_and(|it| it.contains(&kind)),
                });
            }
        }
        probes
    }

    /// The address pairs of both, for each IP version in which both have one.
    fn addresses(&self, from: u8, to: Zone) -> Vec<(IpAddr, IpAddr)> {
        let of = |number: u8| {
            let segment = self.plan.boards.iter().find(|it| it.zone == Zone::Board(number))?;
            let (ip4, ip6) = segment.board?;
            let seat = self.boards.get(&number)?;
            let has = |it: IpAddr| seat.addresses.contains(&it).then_some(it);
            Some(([has(ip4.into()), has(ip6.into())], segment.router))
        };
        let Some((own, (ip4, ip6))) = of(from) else { return vec![] };
        let there = match to {
            Zone::Board(number) => of(number).map_or([None, None], |(there, _)| there),
            _ => [Some(ip4.into()), Some(ip6.into())],
        };
        own.into_iter().zip(there).filter_map(|(own, there)| own.zip(there)).collect()
    }
}

fn add(to: &mut ReceivedProbes, came: ReceivedProbes) {
    for (from, kinds) in came {
        to.entry(from).or_default().extend(kinds);
    }
}

fn row<'a>(name: &str, cells: impl Iterator<Item = &'a str>) -> String {
    let cells: String = cells.map(|cell| format!(" {cell:>9}")).collect();
    format!("{name:9}{cells}").trim_end().to_owned()
}
