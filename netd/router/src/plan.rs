//! The plan: where each node is, and which zone may reach which. Pure, and the same for every kind
//! of router.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::num::NonZeroU32;

use octet_appliance::{
    AllowRule, AllowTable, Board, Cluster, ClusterSettings, Endpoint, FileError, FlowKey,
    LINKS_PORT, Lan, LinkName, Mac, Network4, Network6, Policy, PortRange, Protocol, Published,
    Segments, TrafficKind, Unit, Zone,
};
use sha2::{Digest, Sha256};

use crate::built_in::BuiltIn;

/// The unit that has links to nodes of other boxes.
pub const FORWARD: &str = "forward";

/// The unit whose ports built-in rules concern.
const GATE: &str = "gate";

/// The unit that talks to a router with OpenWrt, on the coordinator.
const ROUTER: &str = "router";

/// The segment number of `lan`: above those of all boards.
const LAN: u8 = 250;

/// The port of DNS servers.
const DNS: PortRange = PortRange::one(53);

/// The UDP port on which a DHCP client receives (RFC 2131, 4.1).
const DHCP_CLIENT: u16 = 68;

/// The device for the owner's devices where there is a VPN; the unit `forward` makes it.
pub const VPN: &str = "fvpn";

/// The desired state of a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterPlan {
    /// The uplink's port.
    pub uplink: LinkName,
    pub boards: Vec<RouterSegment>,
    pub lan: Option<RouterSegment>,
    /// The IPv4 network of the whole box.
    pub network: Network4,
    /// The IPv6 network of the whole box.
    pub network6: Network6,
    /// The flows that may begin.
    pub allowed: AllowTable<RuleSource>,
    /// The policies of the configuration.
    pub policies: Vec<PlannedPolicy>,
    pub published: Vec<Published>,
    /// Nodes of other boxes to which the router itself has links.
    pub neighbours: Vec<RouterNeighbour>,
    /// Whether the owner's devices leave by [`VPN`], and never by the uplink's device.
    pub vpn: bool,
}

/// A node of another box that is a neighbour of the router's own unit `forward`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterNeighbour {
    /// Its name in the configuration.
    pub name: String,
    /// Its address; without one, packets from any address may be its.
    pub at: Option<SocketAddrV4>,
}

/// A port of the router with a network of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterSegment {
    pub zone: Zone,
    /// The router's port: 1 to the number of boards; 0 for the owner's devices.
    pub port: u8,
    pub device: LinkName,
    /// The number that its networks are derived from.
    pub number: u8,
    /// The Ethernet address of the board in it, if it is configured.
    pub mac: Option<Mac>,
    pub router: (Ipv4Addr, Ipv6Addr),
    pub board: Option<(Ipv4Addr, Ipv6Addr)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleSource {
    /// A policy, counted from 0.
    Policy(usize),
    /// A built-in rule.
    BuiltIn(BuiltIn),
}

/// What the plan needs of a policy besides its zones and ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPolicy {
    /// Derived from the policy's text: equal for the same text anywhere in the file and after each
    /// boot, different for other texts.
    pub id: u32,
    /// Maximum number of new flows per second.
    pub rate: Option<NonZeroU32>,
    /// The policy as text for people.
    pub text: String,
}

/// What happens to a new flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Allowed(RuleSource),
    /// A link to the router's neighbour with this index.
    Neighbour(usize),
    /// A port of the uplink is forwarded to a board.
    Published {
        board: u8,
        port: u16,
    },
    Denied,
}

impl RouterPlan {
    /// Evaluates `settings` for an image with `units`.
    ///
    /// # Errors
    /// The first mistake in the policies. Settings that `config` has accepted have none.
    pub fn new(settings: &ClusterSettings, units: &[Unit]) -> Result<Self, Box<FileError>> {
        Self::of_file(settings, units, ("appliance.toml", ""))
    }

    /// As [`new`](Self::new), for settings that were read from a file with this name and text.
    ///
    /// # Errors
    /// The first mistake in the policies, with its line.
    pub fn of_file(
        settings: &ClusterSettings,
        units: &[Unit],
        file: (&str, &str),
    ) -> Result<Self, Box<FileError>> {
        let (segments, _) = Segments::evaluate(settings, units, file)?;
        let ClusterSettings { cluster, boards, lan, policies, neighbours, vpn, .. } = settings;
        let forwards = units.iter().any(|unit| unit.name.as_str() == FORWARD);
        let own = neighbours.iter().filter(|it| forwards && it.board.is_none());
        let neighbours = own.map(|it| RouterNeighbour {
            name: it.name.to_string(),
            at: it.at.map(Endpoint::socket),
        });
        let gate = units.iter().find(|unit| unit.name.as_str() == GATE);
        let gate: Vec<_> = gate.into_iter().flat_map(|unit| unit.ports.values().copied()).collect();
        let manager = cluster.manager(boards);
        let contact = cluster.router.contact();
        let contact = contact.filter(|_| units.iter().any(|unit| unit.name.as_str() == ROUTER));
        let web = contact.map(|contact| contact.address.port());
        let boards: Vec<_> = (1..=cluster.boards)
            .map(|number| RouterSegment::board(cluster, boards, number))
            .collect();
        let lan = lan.as_ref().map(|lan| RouterSegment::lan(cluster, lan));
        let mut plan = Self {
            uplink: cluster.uplink.clone(),
            boards,
            lan,
            network: cluster.network,
            network6: cluster.network6,
            allowed: AllowTable::default(),
            policies: planned(policies),
            published: segments.published,
            neighbours: neighbours.collect(),
            vpn: vpn.is_some(),
        };
        for (flow, AllowRule { ports, rule }) in segments.allowed.entries() {
            // By the VPN nobody outside can begin a flow.
            if !(plan.vpn && (flow.0, flow.1) == (Zone::Uplink, Zone::Lan)) {
                plan.allowed.add(flow, ports, RuleSource::Policy(rule));
            }
        }
        plan.allow_dns();
        let zones: Vec<_> = plan.segments().map(|it| it.zone).chain([Zone::Uplink]).collect();
        // A built-in rule comes before policies, so that no rate limit affects DHCP.
        for (rule, flow, ports) in BuiltIn::all(&zones, &gate, manager, web) {
            plan.allowed.replace(flow, ports, RuleSource::BuiltIn(rule));
        }
        if plan.vpn {
            // The exit resolves names of the outside; it is asked by a path.
            for traffic in [TrafficKind::Udp, TrafficKind::Tcp] {
                let flow = (Zone::Router, Zone::Path, traffic);
                plan.allowed.replace(flow, DNS, RuleSource::BuiltIn(BuiltIn::Ask));
            }
        }
        Ok(plan)
    }

    /// A zone that may ask DNS servers outside by a path may also ask the router, which asks them.
    fn allow_dns(&mut self) {
        for traffic in [TrafficKind::Udp, TrafficKind::Tcp] {
            let outside = (Zone::Path, Zone::Uplink, traffic);
            if let Some(rule) = self.allowed.rule(outside, DNS.first) {
                self.allowed.add((Zone::Path, Zone::Router, traffic), DNS, rule);
            }
        }
    }

    /// Decides a new flow to `port`. `outside` is its address at the uplink, where it has one that
    /// is known.
    pub fn decide(&self, flow: FlowKey, port: u16, outside: Option<IpAddr>) -> Decision {
        let (from, to, traffic) = flow;
        let published = self.published.iter().find(|it| {
            let at_router = (from, to) == (Zone::Uplink, Zone::Router);
            at_router && TrafficKind::from(it.port.protocol) == traffic && it.port.number == port
        });
        if let Some(it) = published {
            return Decision::Published { board: it.board, port: it.target.number };
        }
        if let Some(rule) = self.allowed.rule(flow, port) {
            return Decision::Allowed(rule);
        }
        self.neighbour(flow, port, outside).map_or(Decision::Denied, Decision::Neighbour)
    }

    /// Whether policies allow other nodes to use this router as exit.
    pub fn is_exit(&self) -> bool {
        self.allowed.entries().any(|((from, to, _), _)| (from, to) == (Zone::Path, Zone::Uplink))
    }

    /// All segments: the boards', then that of the owner's devices.
    pub fn segments(&self) -> impl Iterator<Item = &RouterSegment> {
        self.boards.iter().chain(&self.lan)
    }

    /// The device that leads to `zone`, if there is one.
    pub fn device(&self, zone: Zone) -> Option<&LinkName> {
        match zone {
            Zone::Uplink => Some(&self.uplink),
            Zone::Board(_) | Zone::Lan => {
                self.segments().find(|it| it.zone == zone).map(|it| &it.device)
            }
            Zone::Router | Zone::Path => None,
        }
    }

    /// The device by which packets from `from` to `to` leave.
    pub fn outgoing_device(&self, from: Zone, to: Zone) -> Option<&str> {
        if self.vpn && (from, to) == (Zone::Lan, Zone::Uplink) {
            return Some(VPN);
        }
        self.device(to).map(LinkName::as_str)
    }

    /// The devices of all zones that have one.
    pub fn devices(&self) -> impl Iterator<Item = &LinkName> {
        self.segments().map(|it| &it.device).chain([&self.uplink])
    }

    /// Protocols without ports that some rule allows: in IPv6 they follow directly after the fixed
    /// header.
    pub fn numbers(&self) -> BTreeSet<u8> {
        let number = |((_, _, traffic), _)| match traffic {
            TrafficKind::Number(number) => Some(number),
            _ => None,
        };
        self.allowed.entries().filter_map(number).collect()
    }

    /// The router's neighbour that may begin a flow from `outside` to the router, or the router to
    /// it, matched by its address if that is known. `None` stands for any address outside.
    fn neighbour(&self, flow: FlowKey, port: u16, outside: Option<IpAddr>) -> Option<usize> {
        let is_at = |at: SocketAddrV4| outside.is_none_or(|outside| outside == *at.ip());
        let is_it = |it: &RouterNeighbour| match flow {
            (Zone::Uplink, Zone::Router, TrafficKind::Udp) => {
                port == LINKS_PORT && it.at.is_none_or(is_at)
            }
            (Zone::Router, Zone::Uplink, TrafficKind::Udp) => {
                it.at.is_some_and(|at| port == at.port() && is_at(at))
            }
            _ => false,
        };
        self.neighbours.iter().position(is_it)
    }

    /// Ports of the uplink's addresses that are in use, in disjoint ranges: published ports, ports
    /// on which a policy allows access to the router, that of the router's links, and that of the
    /// DHCP client.
    pub fn reserved(&self, protocol: Protocol) -> Vec<PortRange> {
        let opened = self.allowed.rules((Zone::Uplink, Zone::Router, protocol.into()));
        let mut ranges: Vec<_> = opened.iter().map(|it| it.ports).collect();
        let published = self.published.iter().filter(|it| it.port.protocol == protocol);
        let mut others: Vec<_> = published.map(|it| it.port.number).collect();
        if protocol == Protocol::Udp {
            others.push(DHCP_CLIENT);
            others.extend((!self.neighbours.is_empty()).then_some(LINKS_PORT));
        }
        for port in others {
            if !ranges.iter().any(|it| it.contains(port)) {
                ranges.push(PortRange::one(port));
            }
        }
        ranges.sort_unstable();
        ranges
    }
}

impl RouterSegment {
    fn board(cluster: &Cluster, boards: &[Board], number: u8) -> Self {
        let port = cluster.port(boards, number);
        let board = boards.iter().find(|board| board.number == number);
        Self {
            zone: Zone::Board(number),
            port,
            // There are as many ports as boards, and the port was checked.
            device: cluster.ports[usize::from(port) - 1].clone(),
            number,
            mac: board.and_then(|board| board.mac),
            router: cluster.gateways(number),
            board: Some(cluster.addresses(number)),
        }
    }

    fn lan(cluster: &Cluster, lan: &Lan) -> Self {
        Self {
            zone: Zone::Lan,
            port: 0,
            device: cluster.lan(lan),
            number: LAN,
            mac: None,
            router: cluster.gateways(LAN),
            board: None,
        }
    }

    /// The router's addresses in the segment, with their prefix lengths.
    pub fn addresses(&self) -> [(IpAddr, u8); 2] {
        [(self.router.0.into(), 24), (self.router.1.into(), 64)]
    }

    /// The addresses that devices in the segment may have, of both IP versions, in nft's syntax:
    /// without the network's own address, the router's, and the broadcast address.
    pub fn devices(&self) -> [String; 2] {
        let [a, b, c, _] = self.router.0.octets();
        let ip4 = |last| format!("{a}.{b}.{c}.{last}");
        let [a, b, c, d, ..] = self.router.1.segments();
        let ip6 = format!("{a:x}:{b:x}:{c:x}:{d:x}");
        [format!("{}-{}", ip4(2), ip4(254)), format!("{ip6}::2-{ip6}:ffff:ffff:ffff:ffff")]
    }
}

fn planned(policies: &[Policy]) -> Vec<PlannedPolicy> {
    let text = |policy: &Policy| Policy { comment: None, ..policy.clone() }.to_string();
    let texts: Vec<_> = policies.iter().map(text).collect();
    let ids = ids(texts.iter().map(|text| (digest(text), text.as_str())).collect());
    let planned = |(policy, text): (&Policy, &String)| PlannedPolicy {
        id: ids[text.as_str()],
        rate: policy.rate,
        text: text.clone(),
    };
    policies.iter().zip(&texts).map(planned).collect()
}

/// The first 32 bits of the digest: among a thousand rules two collide in one of ten thousand
/// files.
fn digest(text: &str) -> u32 {
    let digest = Sha256::digest(text);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// An id for each text: its digest. If several texts have the same digest, the first in the order
/// of texts has it, and the others have the next free numbers. So a rule without a collision always
/// keeps its own id.
fn ids(texts: BTreeSet<(u32, &str)>) -> BTreeMap<&str, u32> {
    let mut ids = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let (first, others): (Vec<_>, Vec<_>) =
        texts.into_iter().partition(|(digest, _)| taken.insert(*digest));
    ids.extend(first.into_iter().map(|(digest, text)| (text, digest)));
    for (digest, text) in others {
        let mut id = digest;
        while !taken.insert(id) {
            id = id.wrapping_add(1);
        }
        ids.insert(text, id);
    }
    ids
}

impl fmt::Display for RuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(index) => write!(f, "policy {}", index + 1),
            Self::BuiltIn(line) => write!(f, "built-in {line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_with_the_same_digest_have_ids_of_their_own() {
        let of = |texts: &[(u32, &'static str)]| ids(texts.iter().copied().collect());
        assert_eq!(of(&[(7, "a"), (9, "b")]), BTreeMap::from([("a", 7), ("b", 9)]));
        // Independent of the order in the file; 8 is taken.
        let expected = BTreeMap::from([("a", 7), ("b", 9), ("c", 8), ("d", 10)]);
        let texts = [(8, "c"), (7, "b"), (7, "d"), (7, "a")];
        assert_eq!(of(&texts), expected);
        assert_eq!(of(&[texts[3], texts[2], texts[1], texts[0], texts[1]]), expected);
        // The numbers wrap around at the end.
        let last = [(u32::MAX, "a"), (u32::MAX, "b")];
        assert_eq!(of(&last), BTreeMap::from([("a", u32::MAX), ("b", 0)]));
    }

    proptest! {
        #[test]
        fn no_two_texts_share_an_id(digests in prop::collection::vec(0..9u32, 0..12)) {
            let texts: Vec<_> = (0..digests.len()).map(|number| format!("line {number}")).collect();
            let all = digests.into_iter().zip(texts.iter().map(String::as_str));
            let ids = ids(all.collect());
            let apart: BTreeSet<_> = ids.values().collect();
            prop_assert_eq!((ids.len(), apart.len()), (texts.len(), texts.len()));
        }
    }
}
