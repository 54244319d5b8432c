//! What comes to a node by the devices of the unit `forward`, and what may leave by them alone. Paths
//! themselves do not pass here: the kernel switches labels without asking these hooks.
//!
//! | device | what it is |
//! |---|---|
//! | `fwg` | WireGuard with all neighbours |
//! | `fl*` | a tunnel of MPLS in IP (RFC 4023) to one of them |
//! | `fin` | where labels end: what is for the WireGuard inside of a path comes out here |
//! | `fp*` | the WireGuard inside of one path: what the node at its other end says |

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use octet_appliance::{
    Cluster, MPLS_IN_IP, PortRange, Protocol, Published, Segments, TrafficKind, Unit, Zone,
};

use crate::router::chain::{Declared, Hook, NftChain, NftRule, rules};
use crate::router::text::{list, over};

pub use octet_router::plan::FORWARD as UNIT;

/// Addresses of ends of paths, which no network has (RFC 1112, section 4: reserved). The last one of them
/// is everybody's: DHCP asks there.
pub const ENDS: &str = "240.0.0.0-255.255.255.254";

/// Ports of the WireGuard inside of paths, which forward takes from these (UDP).
pub const END_PORTS: PortRange = PortRange { first: 52000, last: 59999 };

/// Addresses of ends of links, within WireGuard, which no network of the box has (RFC 6598).
pub const LINKS: &str = "100.64.0.0/10";

/// Echo requests in a second from the other end of one path that are answered: each may be a new flow.
const PINGS: u32 = 100;

/// Addresses of nodes, made of their keys.
pub const NODES: &str = "fc00::/8";

/// What forward's unit file and the lines of `appliance.toml` say of its devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathDevices {
    /// The port at which neighbours' WireGuard is (UDP).
    pub links: Option<u16>,
    /// The port at which neighbours agree on labels (UDP), by `fwg`.
    pub control: Option<u16>,
    /// The port at which both ends of a path speak (UDP), by `fp*`.
    pub path: Option<u16>,
    /// What lines let to this node.
    pub lets: Lets,
}

/// What lines let to one board.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lets {
    /// From the zone `path`.
    pub paths: Vec<PathAllow>,
    /// The boards with which there are plain links.
    pub plain: Vec<Ipv4Addr>,
    /// Ports, from other zones, and from outside by ports of the router. Who it is that asks the router has
    /// looked at.
    pub ports: Vec<(Protocol, PortRange)>,
}

/// What one line lets from the zone `path` to one board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAllow {
    pub traffic: TrafficKind,
    /// Ports, if it has some.
    pub ports: Vec<PortRange>,
    /// How many flows may begin in a second.
    pub rate: Option<NonZeroU32>,
}

/// The same for all boards, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathAllows(BTreeMap<u8, Lets>);

impl PathAllows {
    /// What the file comes to.
    pub fn of(cluster: &Cluster, segments: &Segments) -> Self {
        let mut boards = BTreeMap::<u8, Lets>::new();
        // A line speaks of one protocol.
        let mut paths = BTreeMap::<(u8, usize), PathAllow>::new();
        for ((from, to, traffic), lets) in &segments.lets {
            match (from, to, traffic) {
                (Zone::Board(from), Zone::Board(to), TrafficKind::Number(MPLS_IN_IP)) => {
                    boards.entry(*to).or_default().plain.push(cluster.addresses(*from).0);
                }
                (Zone::Path, Zone::Board(to), traffic) => {
                    for it in lets {
                        let (traffic, rate) = (*traffic, segments.rates[it.line]);
                        let line = PathAllow { traffic, ports: vec![], rate };
                        paths.entry((*to, it.line)).or_insert(line).ports.push(it.ports);
                    }
                }
                (_, Zone::Board(to), TrafficKind::Tcp | TrafficKind::Udp) => {
                    let protocol = match traffic {
                        TrafficKind::Udp => Protocol::Udp,
                        _ => Protocol::Tcp,
                    };
                    let ports = lets.iter().map(|it| (protocol, it.ports));
                    boards.entry(*to).or_default().ports.extend(ports);
                }
                _ => {}
            }
        }
        for Published { board, target, .. } in &segments.published {
            let ports = PortRange { first: target.number, last: target.number };
            boards.entry(*board).or_default().ports.push((target.protocol, ports));
        }
        for ((board, _), line) in paths {
            boards.entry(board).or_default().paths.push(line);
        }
        Self(boards)
    }

    /// What they let to the board of this number, if a node has one.
    pub fn to(&self, number: Option<u8>) -> Lets {
        number.and_then(|number| self.0.get(&number)).cloned().unwrap_or_default()
    }
}

impl PathDevices {
    /// What is so in an image with `units`; `None` if forward is not among them.
    pub fn of(units: &[Unit], lets: Lets) -> Option<Self> {
        let forward = units.iter().find(|unit| unit.name.as_str() == UNIT)?;
        let udp = |wanted: &str| {
            let found = forward.ports.iter().find(|(name, _)| name.as_str() == wanted);
            found.map(|(_, port)| *port).filter(|port| port.protocol == Protocol::Udp)
        };
        let number = |name| udp(name).map(|port| port.number);
        let (links, control, path) = (number("links"), number("control"), number("path"));
        Some(Self { links, control, path, lets })
    }

    /// What comes by ports of the board.
    pub fn open(&self) -> Vec<NftRule> {
        if self.lets.plain.is_empty() {
            return vec![];
        }
        let plain = list(&self.lets.plain);
        rules!["ip saddr {{ {plain} }} ip protocol {MPLS_IN_IP} counter name links accept"]
    }

    /// What lines let from paths, as rules.
    pub fn lines(&self) -> Vec<NftRule> {
        self.lets.paths.iter().flat_map(PathAllow::rules).collect()
    }

    /// The chains, where the table has [`FRAME`], with these rules of lines from paths.
    ///
    /// - What comes out where labels end was sent by somebody unknown, with any source: it is no answer to
    ///   anything, and the kernel keeps no note of it as a flow (`untracked`): whoever sends there chooses address and
    ///   port of each packet. By the other devices WireGuard lets only the addresses of whose key it is.
    /// - What forward says to another one has its port on both sides, so it is one flow for each neighbour or path.
    /// - By a link no error is taken: between its ends nobody is on the way. One by a path is about something between
    ///   nodes, and not about what this node says to others.
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

    /// What is asked first of all that leaves: without a path there is no packet to a node. By `fout` forward hears
    /// of it, and nothing gets any further. Nothing for an end goes by the device `lo`, where all may come in. And what
    /// forward says to neighbours and ends of paths nobody else of this node says.
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
            // Always let.
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

/// Before the kernel looks which flow a packet belongs to (`NF_IP_PRI_RAW`).
const UNTRACKED: Hook =
    Hook { kind: "filter", hook: "prerouting", devices: vec![], priority: "raw", policy: "accept" };

/// What the table has before it is filled.
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

/// What is asked first of all that comes in. An end is nowhere but at `fin`, and a node's own address at no
/// port of the board: who speaks to that by its link could find out who is there.
pub fn input() -> Vec<NftRule> {
    rules![
        "iifname \"f*\" goto by_forward",
        "ip daddr {ENDS} counter name denied_by_path drop",
        "ip6 daddr {NODES} counter name denied_by_path drop",
    ]
}

/// PID 1 has opened the sockets by which forward speaks, as root, which no unit is; a packet of no socket matches no
/// user, and is dropped.
const AS_FORWARD: [&str; 2] = ["meta skuid 0 accept", "counter name denied_on_board drop"];

/// Devices come and go, so they are named by what they begin with.
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
        let (segments, _) = Segments::of(&settings, &[], ("appliance.toml", LINES)).unwrap();
        let lines = PathAllows::of(&settings.cluster, &segments);
        let to = |number| PathDevices { lets: lines.to(number), ..PathDevices::default() };
        let rules = |number| NftChain(to(number).lines());
        let second = "tcp dport { 81 } counter name paths accept";
        assert_eq!(rules(Some(1)), [second].into());
        let first = [
            "tcp dport { 80, 8000-8010 } limit rate over 9/second burst 9 packets counter name denied_by_path drop",
            "tcp dport { 80, 8000-8010 } counter name paths accept",
        ];
        assert_eq!(rules(Some(2)), [first[0], first[1], second].into());
        let open = |number| NftChain(to(number).open());
        let plain = "ip saddr { 10.20.1.2, 10.20.4.2 } ip protocol 137 counter name links accept";
        assert_eq!((open(Some(2)), open(Some(1))), ([plain].into(), NftChain::default()));
        let ports = |number| lines.to(Some(number)).ports;
        let one = |port| PortRange { first: port, last: port };
        assert_eq!([1, 4].map(ports), [vec![], vec![]]);
        assert_eq!(ports(2), [(Protocol::Udp, one(53))]);
        assert_eq!(ports(3), [(Protocol::Tcp, one(8443))]);
        for nobody in [None, Some(0), Some(5)] {
            assert_eq!(lines.to(nobody), Lets::default());
        }
    }

    #[test]
    fn ports_of_the_unit_by_their_names() {
        let units =
            [unit("web", "ports.path = \"udp/1\""), unit(UNIT, "ports.path = \"udp/4043\"")];
        let paths = PathDevices::of(&units, Lets::default()).unwrap();
        assert_eq!((paths.control, paths.path), (None, Some(4043)));
        assert_eq!(PathDevices::of(&units[..1], Lets::default()), None);
    }
}
