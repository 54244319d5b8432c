//! The plan in the words of OpenWrt (UCI): what its network and firewall would be told. Nothing here
//! speaks to a router; it keeps the plan free of what only one kind of router knows.
//!
//! The switch is a bridge with a VLAN for each port, untagged, and no port is in two (DSA). Each VLAN
//! has an interface of its own and a firewall zone of its own, between which nothing passes but by
//! a rule.

use std::fmt::{self, Write as _};

use octet_appliance::{Traffic, Zone};

use super::plan::{Let, Plan, Segment};

/// All sections that are ours begin with this: what an owner wrote under other names stays.
const PREFIX: &str = "octet";

/// The bridge that the switch's ports are in.
const BRIDGE: &str = "br-lan";

/// VLANs from this number on are ours; the number of the segment is added.
const VLANS: u16 = 1000;

/// A section of a file of UCI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The file: `network`, `firewall`.
    pub config: &'static str,
    /// What kind of section it is.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its options, in the order in which they are written.
    pub options: Vec<(&'static str, Value)>,
}

/// What an option says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One thing.
    One(String),
    /// A list of them.
    List(Vec<String>),
}

/// The sections that make `plan` so, those of `network` first.
pub fn sections(plan: &Plan) -> Vec<Section> {
    let mut sections = vec![];
    for segment in plan.segments() {
        let (vlan, port) = (VLANS + u16::from(segment.number), &segment.device);
        sections.push(section(
            "network",
            "bridge-vlan",
            format!("vlan_{}", segment.number),
            [
                ("device", one(BRIDGE)),
                ("vlan", one(vlan)),
                ("ports", Value::List(vec![format!("{port}:u*")])),
            ],
        ));
        let [(ip4, prefix4), (ip6, prefix6)] = segment.addresses();
        sections.push(section(
            "network",
            "interface",
            network(segment),
            [
                ("device", one(format!("{BRIDGE}.{vlan}"))),
                ("proto", one("static")),
                ("ipaddr", Value::List(vec![format!("{ip4}/{prefix4}")])),
                ("ip6addr", Value::List(vec![format!("{ip6}/{prefix6}")])),
            ],
        ));
    }
    for segment in plan.segments() {
        sections.push(section(
            "firewall",
            "zone",
            format!("zone_{}", segment.number),
            [
                ("name", one(zone(segment.zone))),
                ("network", Value::List(vec![format!("{PREFIX}_{}", network(segment))])),
                ("input", one("DROP")),
                ("output", one("DROP")),
                ("forward", one("DROP")),
            ],
        ));
    }
    for ((from, to, traffic), lets) in &plan.lets {
        for it in lets {
            sections.extend(rule(sections.len(), (*from, *to), *traffic, it));
        }
    }
    for (index, it) in plan.published.iter().enumerate() {
        let board = plan.boards.iter().find(|board| board.zone == Zone::Board(it.board));
        let Some((ip4, _)) = board.and_then(|board| board.board) else { continue };
        sections.push(section(
            "firewall",
            "redirect",
            format!("publish_{}", index + 1),
            [
                ("src", one("wan")),
                ("dest", one(zone(Zone::Board(it.board)))),
                ("proto", one(it.port.protocol.as_str())),
                ("src_dport", one(it.port.number)),
                ("dest_ip", one(ip4)),
                ("dest_port", one(it.target.number)),
                ("target", one("DNAT")),
            ],
        ));
    }
    sections
}

/// What lets `traffic` from one zone to another. What concerns paths has no zone there.
fn rule(index: usize, (from, to): (Zone, Zone), traffic: Traffic, it: &Let) -> Option<Section> {
    if from == Zone::Path || to == Zone::Path {
        return None;
    }
    // A rule without `src` is about what the router sends, one without `dest` about what it takes.
    let mut options = vec![("name", one(it.by))];
    if from != Zone::Router {
        options.push(("src", one(zone(from))));
    }
    if to != Zone::Router {
        options.push(("dest", one(zone(to))));
    }
    match traffic {
        Traffic::Tcp | Traffic::Udp => {
            options.push(("proto", one(traffic)));
            options.push(("dest_port", one(it.ports)));
        }
        Traffic::Ping => {
            options.push(("proto", Value::List(vec!["icmp".into(), "ipv6-icmp".into()])));
            options.push(("icmp_type", Value::List(vec!["echo-request".into()])));
        }
        Traffic::Number(number) => options.push(("proto", one(number))),
    }
    options.push(("target", one("ACCEPT")));
    let name = format!("{PREFIX}_rule_{index}");
    Some(Section { config: "firewall", kind: "rule", name, options })
}

fn section<const N: usize>(
    config: &'static str,
    kind: &'static str,
    name: impl fmt::Display,
    options: [(&'static str, Value); N],
) -> Section {
    Section { config, kind, name: format!("{PREFIX}_{name}"), options: options.into() }
}

fn network(segment: &Segment) -> String {
    match segment.zone {
        Zone::Lan => "lan".into(),
        _ => format!("board_{}", segment.number),
    }
}

/// A zone's name there has 11 characters at most.
fn zone(zone: Zone) -> String {
    match zone {
        Zone::Uplink => "wan".into(),
        Zone::Board(number) => format!("o_board{number}"),
        other => format!("o_{other}"),
    }
}

fn one(value: impl fmt::Display) -> Value {
    Value::One(value.to_string())
}

/// As `uci export` writes it.
impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "config {} '{}'", self.kind, self.name)?;
        for (key, value) in &self.options {
            match value {
                Value::One(value) => writeln!(f, "\toption {key} '{value}'")?,
                Value::List(list) => {
                    list.iter().try_for_each(|value| writeln!(f, "\tlist {key} '{value}'"))?;
                }
            }
        }
        f.write_char('\n')
    }
}

/// All sections as the files they are in.
pub fn text(plan: &Plan) -> String {
    let mut text = String::new();
    let mut config = "";
    for section in sections(plan) {
        if section.config != config {
            config = section.config;
            let _ = writeln!(text, "package {config}\n");
        }
        let _ = write!(text, "{section}");
    }
    text
}
