//! The table `octet_fw` of a node that is not a router: what it accepts from the network, and what
//! its units may send to each other.

use std::collections::BTreeSet;

use octet_appliance::{Port, Protocol, Unit};

use crate::manager::Addresses;
use crate::on_board::{self, OnBoard};
use crate::paths::{self, BoardAllows, PathDevices};
use crate::router::built_in::ENROLMENT;
use crate::router::chain::{Declared, Hook, NftChain, NftRule, rules};
use crate::router::firewall::{ERRORS, LONGEST_ERROR, NOBODY, TABLE};
use crate::router::table::NftTable;
use crate::router::text::{list, over};

/// Units whose ports are open by default: the unit, one of its ports (all if `None`), and the
/// counter of accepted flows.
const OPEN_UNITS: [(&str, Option<&str>, &str); 2] =
    [("gate", None, "gate"), (paths::UNIT, Some("links"), "links")];

/// Ports that are open to every source address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPorts {
    pub tcp: BTreeSet<u16>,
    pub udp: BTreeSet<u16>,
    /// The counter of accepted flows.
    pub counter: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inbound {
    pub open_ports: Vec<OpenPorts>,
    /// Whether answers of DHCP servers and router advertisements are accepted.
    pub dhcp: bool,
    /// Whether echo requests are answered: the router of a box uses them to check that a board is
    /// up.
    pub pings: bool,
    /// Addresses from which boards may enrol, if this node is the coordinator.
    pub enrolment: Vec<Addresses>,
    /// What units of this node may send to each other.
    pub on_board: OnBoard,
    /// What is accepted on the devices of the unit `forward`, if the image has it.
    pub paths: Option<PathDevices>,
}

impl OpenPorts {
    /// The open ports of those of `units` that [`DOORS`] names.
    fn of(units: &[Unit], name: &str, wanted: Option<&str>, counter: &'static str) -> Self {
        let unit = units.iter().find(|unit| unit.name.as_str() == name);
        let named = unit.into_iter().flat_map(|unit| &unit.ports);
        let is_wanted = |port: &str| wanted.is_none_or(|wanted| wanted == port);
        let open: Vec<_> = named.filter(|(name, _)| is_wanted(name.as_str())).collect();
        let ports = |protocol| {
            let of_it = open.iter().filter(move |(_, port)| port.protocol == protocol);
            of_it.map(|(_, port)| port.number).collect()
        };
        Self { tcp: ports(Protocol::Tcp), udp: ports(Protocol::Udp), counter }
    }

    /// The ports of `units` that policies allow, without those that `others` cover. Policies may
    /// allow more ports than units listen on; the others behave like any closed port. Traffic of
    /// neighbours and path ends for `forward` uses its own devices, whatever the policies allow.
    fn of_policies(units: &[Unit], lets: &BoardAllows, others: &[Self]) -> Self {
        let is_let = |port: &&Port| {
            let lets = lets.ports.iter().filter(|(protocol, _)| *protocol == port.protocol);
            let mut ports = lets.map(|(_, it)| it.first..=it.last);
            ports.any(|ports| ports.contains(&port.number))
        };
        let ports = |protocol| {
            let is_it =
                |unit: &&Unit| protocol == Protocol::Tcp || unit.name.as_str() != paths::UNIT;
            let of_it = units.iter().filter(is_it).flat_map(|unit| unit.ports.values());
            let of_it = of_it.filter(|port| port.protocol == protocol).filter(is_let);
            of_it.map(|port| port.number).collect::<BTreeSet<_>>()
        };
        let (mut tcp, mut udp) = (ports(Protocol::Tcp), ports(Protocol::Udp));
        tcp.retain(|port| others.iter().all(|door| !door.tcp.contains(port)));
        udp.retain(|port| others.iter().all(|door| !door.udp.contains(port)));
        Self { tcp, udp, counter: "lines" }
    }

    fn rules(&self) -> Vec<NftRule> {
        let mut rules = vec![];
        for (protocol, ports) in [("tcp", &self.tcp), ("udp", &self.udp)] {
            if !ports.is_empty() {
                let (ports, counter) = (list(ports), self.counter);
                rules
                    .extend(rules!["{protocol} dport {{ {ports} }} counter name {counter} accept"]);
            }
        }
        rules
    }
}

impl Inbound {
    /// The ports that are open: those of `units`, the enrolment port for the addresses in
    /// `enrolment`, and what the policies `lines` allow.
    pub fn of(
        units: &[Unit],
        (dhcp, pings): (bool, bool),
        enrolment: &[Addresses],
        lines: BoardAllows,
    ) -> Self {
        let mut open_ports =
            OPEN_UNITS.map(|(unit, port, of)| OpenPorts::of(units, unit, port, of)).to_vec();
        open_ports.push(OpenPorts::of_policies(units, &lines, &open_ports));
        let enrolment = enrolment.to_vec();
        let (on_board, paths) = (OnBoard::of(units), PathDevices::of(units, lines));
        Self { open_ports, dhcp, pings, enrolment, on_board, paths }
    }

    /// The table of these rules.
    pub fn table(&self) -> NftTable {
        let of_paths = self.paths.as_ref().map(|_| paths::FRAME).into_iter().flatten();
        let own_ports = Declared::Set(on_board::SET, on_board::KIND);
        let frame = COUNTERS.into_iter().chain([own_ports]).chain(on_board::FRAME);
        let chains = self.chains().into_iter().map(|(name, chain)| (name.to_owned(), chain));
        NftTable {
            name: ("inet", TABLE),
            frame: frame.chain(of_paths).chain(CHAINS).collect(),
            counters: BTreeSet::new(),
            sets: vec![self.on_board.set()],
            chains: chains.collect(),
        }
    }

    /// - Neighbour discovery comes from the link itself (RFC 4861, 7.1: hop limit 255), group queries of
    ///   switches too (RFC 2710, 3: hop limit 1): without reports a snooping switch stops forwarding the
    ///   groups of neighbour discovery.
    /// - A DHCP client has no address yet (RFC 2131, 4.1), also where its previous address is still set. The
    ///   guard of a router lets nobody else send broadcasts.
    /// - Router advertisements are received by the DHCP client of the unit `lan`, and not by the kernel.
    /// - A host has one port: ICMP errors about flows through it may come from any router on the route.
    fn chains(&self) -> Vec<(&'static str, NftChain)> {
        let paths = self.paths.as_ref();
        let with = |rules: fn() -> Vec<NftRule>| paths.map(|_| rules()).unwrap_or_default();
        let mut chains = vec![on_board::chain()];
        chains.extend(paths.map(|paths| paths.chains(paths.allow_rules())).into_iter().flatten());
        let [longest, longest6] = LONGEST_ERROR;
        let errors = over(ERRORS);
        let known_error = [
            with(link_errors),
            rules![
                "ip length > {longest} counter name icmp_error drop",
                "ip6 length > {longest6} counter name icmp_error drop",
                "{errors} counter name icmp_error drop",
                "icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept",
                "icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept",
                "counter name icmp_error drop",
            ],
        ];
        let input = [
            rules!["iif lo accept"],
            with(paths::input),
            rules![
                "ct state vmap {{ established : accept, related : goto known_error }}",
                "icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 counter name neighbours accept",
                "icmpv6 type mld-listener-query ip6 hoplimit 1 ip6 saddr fe80::/10 counter name neighbours accept",
                "ct state invalid counter name denied drop",
            ],
            self.open_rules(),
            if self.dhcp { DHCP.map(NftRule::from).into() } else { vec![] },
            if self.pings { PINGS.map(NftRule::from).into() } else { vec![] },
            rules!["counter name denied drop"],
        ];
        let of_paths = paths.map(PathDevices::output).unwrap_or_default();
        let output = [of_paths, rules!["oifname lo goto on_board"]];
        let nobody = ["ip daddr 255.255.255.255 udp sport 68 udp dport 67 ip saddr set 0.0.0.0"];
        chains.extend([
            ("known_error", NftChain(known_error.concat())),
            ("input", NftChain(input.concat())),
            ("forward", ["counter name not_forwarded drop"].into()),
            ("output", NftChain(output.concat())),
            ("nobody", nobody.into()),
        ]);
        chains
    }

    /// Rules for ports that are open to everybody, and for those open to some sources.
    fn open_rules(&self) -> Vec<NftRule> {
        let mut open: Vec<_> = self.open_ports.iter().flat_map(OpenPorts::rules).collect();
        open.extend(self.paths.iter().flat_map(PathDevices::link_rules));
        if !self.enrolment.is_empty() {
            let v4 = list(self.enrolment.iter().map(|(v4, _)| v4));
            let v6 = list(self.enrolment.iter().map(|(_, v6)| v6));
            open.extend(rules![
                "ip saddr {{ {v4} }} tcp dport {ENROLMENT} counter name enrolment accept",
                "ip6 saddr {{ {v6} }} tcp dport {ENROLMENT} counter name enrolment accept",
            ]);
        }
        open
    }
}

const COUNTERS: [Declared; 8] = [
    Declared::Counter("gate"),
    Declared::Counter("enrolment"),
    Declared::Counter("lines"),
    Declared::Counter("dhcp"),
    Declared::Counter("neighbours"),
    Declared::Counter("denied"),
    Declared::Counter("icmp_error"),
    Declared::Counter("not_forwarded"),
];

/// The chains that always exist.
const CHAINS: [Declared; 5] = [
    Declared::Base("input", Hook::filter("input", "drop")),
    Declared::Base("forward", Hook::filter("forward", "drop")),
    Declared::Base("output", Hook::filter("output", "accept")),
    Declared::Base("nobody", NOBODY),
    Declared::Chain("known_error"),
];

/// Answers of DHCP servers, and router advertisements.
const DHCP: [&str; 2] = [
    "meta nfproto ipv4 udp sport 67 udp dport 68 counter name dhcp accept",
    "icmpv6 type nd-router-advert ip6 hoplimit 255 ip6 saddr fe80::/10 counter name neighbours accept",
];

/// Echo requests: the router forwards only those that a policy allows.
const PINGS: [&str; 2] = [
    "icmp type echo-request counter name neighbours accept",
    "icmpv6 type echo-request counter name neighbours accept",
];

/// ICMP errors about link-local traffic, which has no router on its route.
fn link_errors() -> Vec<NftRule> {
    let links = paths::LINKS;
    rules!["ct original ip saddr {links} ct reply ip saddr {links} counter name icmp_error drop"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::firewall::LoadedChains;
    use crate::rules::NodeTables;
    use octet_appliance::{PortRange, TrafficKind, UnitSource};
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::num::NonZeroU32;
    use std::path::Path;

    fn unit(name: &str, ports: &str) -> Unit {
        let text = format!(
            "name = \"{name}\"\nexec = \"/a\"\nuser = \"extra-1\"\n{ports}sandbox.network = \"host\"\n"
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    }

    #[test]
    fn as_it_was_looked_at() {
        let units =
            [unit("web", "ports.http = \"tcp/80\"\n"), unit("gate", "ports.gate = \"tcp/4040\"\n")];
        let of = |units: &[Unit], dhcp, lines: &BoardAllows| {
            Inbound::of(units, (dhcp, dhcp), &[], lines.clone())
        };
        let host = |n: u16| {
            (
                Ipv4Addr::new(10, 20, n as u8, 2),
                Ipv6Addr::new(0xfd6f, 0x6374, 0x6574, n, 0, 0, 0, 2),
            )
        };
        let manager =
            Inbound::of(&units, (true, true), &[host(1), host(3)], BoardAllows::default());
        let forward = "ports.links = \"udp/51820\"\nports.control = \"udp/4042\"\nports.path = \"udp/4043\"\nports.metrics = \"tcp/4044\"\n";
        let forwards = [&units[..], &[unit("forward", forward)]].concat();
        let lines = [
            (TrafficKind::Tcp, vec![(80, 80), (8000, 8010)], NonZeroU32::new(50)),
            (TrafficKind::Udp, vec![(53, 53)], None),
            (TrafficKind::Ping, vec![(0, u16::MAX)], None),
            (TrafficKind::Number(47), vec![(0, u16::MAX)], None),
        ];
        let lines = lines.map(|(traffic, ports, rate)| {
            let ports = ports.into_iter().map(|(first, last)| PortRange { first, last });
            paths::PathAllow { traffic, ports: ports.collect(), rate }
        });
        let plain = [host(1).0, host(3).0].into();
        let ports = |first, last| PortRange { first, last };
        // A port that is open already, one that is not, one that no unit serves, one of the other
        // protocol, and one that only the devices of `forward` accept.
        let ports = vec![
            (Protocol::Tcp, ports(4040, 4041)),
            (Protocol::Tcp, ports(4044, 4044)),
            (Protocol::Tcp, ports(4042, 4042)),
            (Protocol::Udp, ports(80, 80)),
            (Protocol::Udp, ports(4042, 4043)),
        ];
        let lines = BoardAllows { paths: lines.into(), plain, ports };
        for (name, inbound) in [
            ("gate-and-dhcp.nft", of(&units, true, &lines)),
            ("closed.nft", of(&units[..1], false, &BoardAllows::default())),
            ("manager.nft", manager),
            ("forward.nft", of(&forwards, true, &lines)),
        ] {
            let text = NodeTables::host(&inbound).whole(&LoadedChains::default());
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testdata").join(name);
            if std::env::var_os("OCTET_WRITE_GOLDEN").is_some() {
                std::fs::write(&file, &text).unwrap();
            }
            assert_eq!(text, std::fs::read_to_string(file).unwrap(), "{name}");
        }
    }

    proptest! {
        /// Whatever is open: the chain ends with a drop, and nothing else opens a port.
        #[test]
        fn what_is_not_named_is_dropped(
            tcp: BTreeSet<u16>, udp: BTreeSet<u16>, dhcp: bool, enrolment: Vec<Addresses>, has_paths: bool,
        ) {
            let manages = !enrolment.is_empty();
            let open_ports = vec![OpenPorts { tcp: tcp.clone(), udp: udp.clone(), counter: "gate" }];
            let paths = has_paths.then(PathDevices::default);
            let text = Inbound { open_ports, dhcp, pings: dhcp, enrolment, on_board: OnBoard::default(), paths };
            let text = text.table().whole([].into_iter());
            prop_assert!(!text.contains('$'));
            prop_assert!(!text.replace("@own_ports", "").replace("@path_pings", "").contains('@'));
            let lines: Vec<_> = text.lines().map(str::trim).collect();
            let end = lines.iter().rposition(|line| *line == "chain forward {").unwrap();
            prop_assert_eq!(lines[end - 2], "counter name denied drop");
            let opened = lines.iter().filter(|line| line.contains("name gate accept")).count();
            prop_assert_eq!(opened, usize::from(!tcp.is_empty()) + usize::from(!udp.is_empty()));
            prop_assert_eq!(text.contains("dport 68"), dhcp);
            prop_assert_eq!(text.matches("iifname \"f*\" goto by_forward").count(), usize::from(has_paths));
            prop_assert_eq!(text.matches(" saddr { ").count(), if manages { 2 } else { 0 });
        }
    }
}
