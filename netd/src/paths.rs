//! What a node accepts from the devices of the unit `forward`, and what may leave only by them.
//! Packets within paths do not pass these hooks: the kernel switches labels before them.
//!
//! | device | what it is |
//! |---|---|
//! | `fwg` | WireGuard with all neighbours |
//! | `fl*` | an MPLS-in-IP tunnel (RFC 4023) to one neighbour |
//! | `fin` | where labels end: packets for the WireGuard inside a path arrive here |
//! | `fp*` | the WireGuard inside one path: packets of the node at its other end |

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use octet_appliance::{
    AllowRule, ClusterSettings, FileError, MPLS_IN_IP, PortRange, Protocol, Published, Segments,
    TrafficKind, Unit, Zone,
};

use crate::router::chain::{Declared, Hook, NftChain, NftRule, rules};
use crate::router::text::{list, over};

pub use octet_router::plan::FORWARD as UNIT;

/// Addresses of path ends, from a reserved range that no network uses (RFC 1112, section 4). It
/// excludes the last address, which is the broadcast address: DHCP requests are sent to it.
pub const ENDS: &str = "240.0.0.0-255.255.255.254";

/// UDP ports of the WireGuard inside paths; forward assigns them from this range.
pub const END_PORTS: PortRange = PortRange { first: 52000, last: 59999 };

/// Addresses of link ends within WireGuard, which no network of the box uses (RFC 6598).
pub const LINKS: &str = "100.64.0.0/10";

/// Echo requests per second that are answered for the other end of one path: each may be a new
/// flow.
const PINGS: u32 = 100;

/// Addresses of nodes, derived from their keys.
pub const NODES: &str = "fc00::/8";

/// What forward's unit file and the policies of `appliance.toml` say about its devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathDevices {
    /// UDP port of the WireGuard with neighbours.
    pub links: Option<u16>,
    /// UDP port on which neighbours agree on labels, on `fwg`.
    pub control: Option<u16>,
    /// UDP port on which the two ends of a path talk, on `fp*`.
    pub path: Option<u16>,
    /// What policies allow to this node.
    pub allowed: BoardAllows,
}

/// What policies allow to one board.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoardAllows {
    /// Allowed from the zone `path`.
    pub paths: Vec<PathAllow>,
    /// The boards with which there are plain links.
    pub plain: Vec<Ipv4Addr>,
    /// Ports allowed from other zones, and from outside by ports of the router. The router has
    /// checked the source.
    pub ports: Vec<(Protocol, PortRange)>,
}

/// What one policy allows from the zone `path` to one board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAllow {
    pub traffic: TrafficKind,
    /// Ports, if the protocol has any.
    pub ports: Vec<PortRange>,
    /// Maximum number of new flows per second.
    pub rate: Option<NonZeroU32>,
}

/// What policies allow to each board, by board number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathAllows(BTreeMap<u8, BoardAllows>);

impl PathAllows {
    /// Collects the rules from the configuration, for an image with `units`.
    ///
    /// # Errors
    /// The first mistake in the policies.
    pub fn of(settings: &ClusterSettings, units: &[Unit]) -> Result<Self, Box<FileError>> {
        let (segments, _) = Segments::evaluate(settings, units, ("appliance.toml", ""))?;
        let cluster = &settings.cluster;
        let mut boards = BTreeMap::<u8, BoardAllows>::new();
        // A policy is about one protocol.
        let mut paths = BTreeMap::<(u8, usize), PathAllow>::new();
        for ((from, to, traffic), AllowRule { ports, rule }) in segments.allowed.entries() {
            match (from, to, traffic) {
                (Zone::Board(from), Zone::Board(to), TrafficKind::Number(MPLS_IN_IP)) => {
                    boards.entry(to).or_default().plain.push(cluster.addresses(from).0);
                }
                (Zone::Path, Zone::Board(to), traffic) => {
                    let allow = PathAllow { traffic, ports: vec![], rate: segments.rates[rule] };
                    paths.entry((to, rule)).or_insert(allow).ports.push(ports);
                }
                (_, Zone::Board(to), TrafficKind::Tcp | TrafficKind::Udp) => {
                    let protocol = match traffic {
                        TrafficKind::Udp => Protocol::Udp,
                        _ => Protocol::Tcp,
                    };
                    boards.entry(to).or_default().ports.push((protocol, ports));
                }
                _ => {}
            }
        }
        for Published { board, target, .. } in segments.published {
            let ports = PortRange::one(target.number);
            boards.entry(board).or_default().ports.push((target.protocol, ports));
        }
        for ((board, _), line) in paths {
            boards.entry(board).or_default().paths.push(line);
        }
        Ok(Self(boards))
    }

    /// The rules for the board of this number; none without a number.
    pub fn to(&self, number: Option<u8>) -> BoardAllows {
        number.and_then(|number| self.0.get(&number)).cloned().unwrap_or_default()
    }
}

impl PathDevices {
    /// The devices of an image with `units`; `None` if forward is not among them.
    pub fn of(units: &[Unit], lets: BoardAllows) -> Option<Self> {
        let forward = units.iter().find(|unit| unit.name.as_str() == UNIT)?;
        let udp = |wanted: &str| {
            let found = forward.ports.iter().find(|(name, _)| name.as_str() == wanted);
            found.map(|(_, port)| *port).filter(|port| port.protocol == Protocol::Udp)
        };
        let number = |name| udp(name).map(|port| port.number);
        let (links, control, path) = (number("links"), number("control"), number("path"));
        Some(Self { links, control, path, allowed: lets })
    }

    /// Rules for packets from the node's own ports.
    pub fn link_rules(&self) -> Vec<NftRule> {
        if self.allowed.plain.is_empty() {
            return vec![];
        }
        let plain = list(&self.allowed.plain);
        rules!["ip saddr {{ {plain} }} ip protocol {MPLS_IN_IP} counter name links accept"]
    }

    /// The rules for what policies allow from paths.
    pub fn allow_rules(&self) -> Vec<NftRule> {
        self.allowed.paths.iter().flat_map(PathAllow::rules).collect()
    }

    /// The chains for a table that has [`FRAME`], with the rules `lines` for policies from paths.
    ///
    /// - Packets that arrive where labels end come from an unauthenticated sender, with any source address: they
    ///   are no answers, and the kernel does not track them (`untracked`), because the sender could fill the
    ///   connection table with packets of any address and port. On the other devices WireGuard accepts only the
    ///   addresses of the key's owner.
    /// - forward uses its own port as source and destination, so there is one flow for each neighbour or path.
    /// - ICMP errors from a link are dropped: there is no router between its ends. An error from a path is about
    ///   traffic between nodes, and not about what this node sends to others.
    pub fn chains(&self, lines: Vec<NftRule>) -> [(&'static str, NftChain); 6] {
        let port = |port: Option<u16>, counter: &str| {
            let rule =
                |port| rules!["udp sport {port} udp dport {port} counter name {counter} accept"];
            port.map(rule).unwrap_or_default()
        };
        let pings = over(PINGS);
        let by_link = [
            rules![
                "ct state established accept",
                "ct state {{ invalid, related }} counter name denied_by_path drop",
                "ip protocol {MPLS_IN_IP} counter name links accept",
            ],
            port(self.control, "links"),
            rules!["counter name denied_by_path drop"],
        ];
        let by_path = [
            rules![
                "ct state established accept",
                "ct state related ct original ip6 saddr {NODES} ct reply ip6 saddr {NODES} goto known_error",
                "ct state {{ invalid, related }} counter name denied_by_path drop",
                "icmpv6 type echo-request update @path_pings {{ iifname {pings} }} counter name denied_by_path drop",
                "icmpv6 type echo-request counter name paths accept",
            ],
            port(self.path, "paths"),
            lines,
            rules!["counter name denied_by_path drop"],
        ];
        let at_end = rules![
            "ip daddr {ENDS} udp dport {END_PORTS} counter name paths accept",
            "counter name denied_by_path drop",
        ];
        [
            ("untracked", ["iifname fin notrack"].into()),
            ("by_forward", BY_FORWARD.into()),
            ("by_link", NftChain(by_link.concat())),
            ("at_end", NftChain(at_end)),
            ("by_path", NftChain(by_path.concat())),
            ("as_forward", AS_FORWARD.into()),
        ]
    }

    /// Checked before all other outgoing traffic: without a path no packet is sent to a node. On
    /// `fout` forward is notified of such packets, and they go no further. Nothing for a path end
    /// leaves by the device `lo`, where everything is accepted. Only forward may send to the
    /// control ports of neighbours and path ends.
    pub fn output(&self) -> Vec<NftRule> {
        let as_forward = |devices: &str, port: Option<u16>| {
            let rule = |port| rules!["oifname {devices} udp dport {port} goto as_forward"];
            port.map(rule).unwrap_or_default()
        };
        [
            rules![
                "ip daddr {ENDS} oifname != \"fl*\" oifname != fin counter name no_path drop",
                "ip6 daddr {NODES} oifname != lo oifname != fout oifname != \"fp*\" counter name no_path drop",
            ],
            as_forward("fwg", self.control),
            as_forward("\"fp*\"", self.path),
        ]
        .concat()
    }
}

impl PathAllow {
    fn rules(&self) -> Vec<NftRule> {
        let kind = match self.traffic {
            TrafficKind::Tcp | TrafficKind::Udp => {
                format!("{} dport {{ {} }}", self.traffic, list(&self.ports))
            }
            // Echo requests are always allowed.
            TrafficKind::Ping => return vec![],
            TrafficKind::Number(number) => format!("meta l4proto {number}"),
        };
        let mut rules = vec![];
        if let Some(rate) = self.rate {
            let over = over(rate.into());
            rules = rules!["{kind} {over} counter name denied_by_path drop"];
        }
        rules.extend(rules!["{kind} counter name paths accept"]);
        rules
    }
}

/// Before connection tracking (`NF_IP_PRI_RAW`).
const UNTRACKED: Hook =
    Hook { kind: "filter", hook: "prerouting", devices: vec![], priority: "raw", policy: "accept" };

/// Declarations that the table needs first.
pub const FRAME: [Declared; 11] = [
    Declared::Counter("links"),
    Declared::Counter("paths"),
    Declared::Counter("no_path"),
    Declared::Counter("denied_by_path"),
    Declared::Set("path_pings", "type ifname; size 4096; flags dynamic,timeout; timeout 30s"),
    Declared::Base("untracked", UNTRACKED),
    Declared::Chain("by_forward"),
    Declared::Chain("by_link"),
    Declared::Chain("at_end"),
    Declared::Chain("by_path"),
    Declared::Chain("as_forward"),
];

/// Checked before all other incoming traffic. Addresses of path ends are accepted only on `fin`,
/// and the node's own address on no port of the board: by probing it on the link, a neighbour could
/// find out which node this is.
pub fn input() -> Vec<NftRule> {
    rules![
        "iifname \"f*\" goto by_forward",
        "ip daddr {ENDS} counter name denied_by_path drop",
        "ip6 daddr {NODES} counter name denied_by_path drop",
    ]
}

/// PID 1 has opened forward's sockets as root, a user that no unit has. A packet without a socket
/// matches no user, and is dropped.
const AS_FORWARD: [&str; 2] = ["meta skuid 0 accept", "counter name denied_on_board drop"];

/// The devices are created and removed at run time, so they are named by their prefixes.
const BY_FORWARD: [&str; 4] = [
    "iifname fwg goto by_link",
    "iifname fin goto at_end",
    "iifname \"fp*\" goto by_path",
    "counter name denied_by_path drop",
];

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::{Appliance, UnitSource};

    const LINES: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[cluster]\nboards = 4\n\
        [[policy]]\nfrom = [\"board-1\", \"board-4\"]\nto = \"board-2\"\nprotocol = \"mpls-in-ip\"\n\
        [[policy]]\nfrom = \"path\"\nto = [\"board-2\", \"router\"]\nprotocol = \"tcp\"\nports = [80, \"8000-8010\"]\nrate = 9\n\
        [[policy]]\nfrom = \"path\"\nto = \"boards\"\nprotocol = \"tcp\"\nports = [81]\n\
        [[policy]]\nfrom = \"board-1\"\nto = \"board-2\"\nprotocol = \"udp\"\nports = [53]\n\
        [[policy]]\nfrom = \"board-1\"\nto = \"router\"\nprotocol = \"tcp\"\nports = [82]\n\
        [[publish]]\nport = \"tcp/443\"\nto = \"board-3\"\nat = \"tcp/8443\"\n";

    fn unit(name: &str, ports: &str) -> Unit {
        let text = format!(
            "name = \"{name}\"\nexec = \"/a\"\nuser = \"extra-1\"\n{ports}\nsandbox.network = \"host\"\n"
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    }

    #[test]
    fn lines_to_this_board_and_to_no_other() {
        let appliance = Appliance::parse("appliance.toml", LINES).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        let lines = PathAllows::of(&settings, &[]).unwrap();
        let to = |number| PathDevices { allowed: lines.to(number), ..PathDevices::default() };
        let rules = |number| NftChain(to(number).allow_rules());
        let second = "tcp dport { 81 } counter name paths accept";
        assert_eq!(rules(Some(1)), [second].into());
        let first = [
            "tcp dport { 80, 8000-8010 } limit rate over 9/second burst 9 packets counter name denied_by_path drop",
            "tcp dport { 80, 8000-8010 } counter name paths accept",
        ];
        assert_eq!(rules(Some(2)), [first[0], first[1], second].into());
        let open = |number| NftChain(to(number).link_rules());
        let plain = "ip saddr { 10.20.1.2, 10.20.4.2 } ip protocol 137 counter name links accept";
        assert_eq!((open(Some(2)), open(Some(1))), ([plain].into(), NftChain::default()));
        let ports = |number| lines.to(Some(number)).ports;
        let one = PortRange::one;
        assert_eq!([1, 4].map(ports), [vec![], vec![]]);
        assert_eq!(ports(2), [(Protocol::Udp, one(53))]);
        assert_eq!(ports(3), [(Protocol::Tcp, one(8443))]);
        for nobody in [None, Some(0), Some(5)] {
            assert_eq!(lines.to(nobody), BoardAllows::default());
        }
    }

    #[test]
    fn ports_of_the_unit_by_their_names() {
        let units =
            [unit("web", "ports.path = \"udp/1\""), unit(UNIT, "ports.path = \"udp/4043\"")];
        let paths = PathDevices::of(&units, BoardAllows::default()).unwrap();
        assert_eq!((paths.control, paths.path), (None, Some(4043)));
        assert_eq!(PathDevices::of(&units[..1], BoardAllows::default()), None);
    }
}
