//! The table `octet_fw` of a router: which flows may begin.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use octet_appliance::{Traffic, Zone};

use crate::nft;
use crate::on_board::{self, OnBoard};

use super::built_in::BuiltIn;
use super::plan::{Plan, Source};
use super::table::{self, Set, Table, chains};
use super::text::{list, quoted};

/// The table's name.
pub const TABLE: &str = "octet_fw";

/// Devices of the unit `forward` (docs/ARCHITECTURE.md lists who has which).
const PATH: &str = "f*";

/// The mark of flows that no policy has let, but something else.
pub const NO_LINE: u32 = 0;

/// What is counted by the port that it came in by.
const COUNTED: [&str; 2] = ["denied", "too_many"];

/// How many echo requests the router answers on each port in a second.
const PINGS: u32 = 20;

/// New flows that a board may begin in a second, whatever lets them: enough for a busy service. With a
/// board's memory the kernel keeps note of 65536 flows (nf_conntrack_core.c, `nf_conntrack_init_start`);
/// when they are there, it forgets those that are half begun, and no others.
const NEW_FLOWS: u32 = 1000;

/// What the kernel has in the table now: its chains, of which each line has one beside its counter of the
/// same name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct There(pub BTreeSet<String>);

impl There {
    /// Asks nft, which lists chains of all tables at once, and looks for nothing else: a list of this
    /// table alone, or of its counters, takes it many times as long. A table that is not there has none.
    pub async fn observe() -> Self {
        Self::read(&nft::run("list chains inet").await.unwrap_or_default())
    }

    fn read(listed: &str) -> Self {
        let (mut table, mut chains) = ("", BTreeSet::new());
        for line in listed.lines() {
            let name = |kind| line.trim().strip_prefix(kind)?.split(' ').next();
            if let Some(name) = name("table inet ") {
                table = name;
            } else if let Some(name) = name("chain ")
                && table == TABLE
            {
                chains.insert(name.to_owned());
            }
        }
        Self(chains)
    }

    /// What was made for lines that are gone.
    pub fn gone<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(|name| is_of_line(name) && !table.chains.contains_key(*name))
    }
}

/// The table, with what units of the router itself may say to each other `on_board`.
pub fn table(plan: &Plan, on_board: &OnBoard, leased: bool) -> Table {
    let lines = lines(plan);
    let set = |name: &str, kind: &str, counts, elements| Set {
        name: name.to_owned(),
        keyword: "set",
        kind: kind.to_owned(),
        counts,
        elements,
    };
    let mut sets: Vec<_> = COUNTED
        .map(|name| set(name, "type ifname; counter", true, list(plan.devices().map(quoted))))
        .into();
    sets.push(set(on_board::SET, on_board::KIND, false, list(on_board.elements())));
    sets.extend(maps(plan));
    let mut chains = chains(&rules(plan, leased));
    chains.extend(table::chains(on_board::CHAIN));
    let counters = lines.iter().map(|line| line.name.clone()).collect();
    for line in lines {
        let rules = line.rules();
        chains.insert(line.name, rules);
    }
    Table {
        name: ("inet", TABLE),
        frame: format!("{FRAME}{}", on_board::FRAME),
        counters,
        sets,
        chains,
    }
}

/// What a line does with a flow that it lets.
struct Line {
    name: String,
    mark: u32,
    rate: Option<u32>,
    comment: String,
}

impl Line {
    fn rules(&self) -> String {
        let Self { name, mark, rate, comment } = self;
        let rate = match rate {
            _ if is_ping(name) => {
                let limit = format!("limit rate over {PINGS}/second burst {PINGS} packets");
                format!("    update @pings {{ iifname {limit} }} goto too_many\n")
            }
            Some(rate) => {
                format!("    limit rate over {rate}/second burst {rate} packets goto too_many\n")
            }
            None => String::new(),
        };
        format!(
            "    jump new\n{rate}    counter name {name} ct mark set {mark:#x} accept comment {}\n",
            // nft's texts have no way to say a quotation mark, and 128 bytes at most.
            quoted(comment.replace('"', "'").chars().take(100).collect::<String>())
        )
    }
}

/// Whether this is the chain of the built-in line that has a rate.
fn is_ping(name: &str) -> bool {
    name.strip_prefix("built_in_").is_some_and(|line| line == BuiltIn::Ping.to_string())
}

/// Whether a chain or counter was made for a line.
fn is_of_line(name: &str) -> bool {
    name.starts_with("policy_") || name.starts_with("built_in_")
}

/// The chain of a line.
pub fn chain(plan: &Plan, by: Source) -> String {
    let mut name = String::new();
    push_chain(&mut name, plan, by);
    name
}

fn push_chain(text: &mut String, plan: &Plan, by: Source) {
    let _ = match by {
        Source::Policy(index) => write!(text, "policy_{:08x}", plan.lines[index].id),
        Source::BuiltIn(line) => write!(text, "built_in_{line}"),
    };
}

fn lines(plan: &Plan) -> Vec<Line> {
    let used: BTreeSet<Source> = plan.lets.values().flatten().map(|it| it.by).collect();
    let line = |by: Source| {
        let (mark, rate) = match by {
            Source::Policy(index) => {
                let line = &plan.lines[index];
                (line.id, line.rate.map(u32::from))
            }
            Source::BuiltIn(_) => (NO_LINE, None),
        };
        let comment = match by {
            Source::Policy(index) => plan.lines[index].text.clone(),
            Source::BuiltIn(_) => by.to_string(),
        };
        Line { name: chain(plan, by), mark, rate, comment }
    };
    let mut lines: Vec<_> = used.into_iter().map(line).collect();
    // The same words twice are the same line.
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines.dedup_by(|a, b| a.name == b.name);
    lines
}

/// By direction of travel, and by what has to be compared: single ports are found at once in a hash,
/// ranges in a tree.
fn maps(plan: &Plan) -> Vec<Set> {
    let of = |chain: &str, keys: [&str; 3]| {
        let [port, number, ping] = keys;
        let map = |what: &str, keys: &str, flags: &str| Set {
            name: format!("{chain}_{what}"),
            keyword: "map",
            kind: format!("type {keys} : verdict{flags}"),
            counts: false,
            elements: String::new(),
        };
        [
            map("port", port, ""),
            map("range", port, "; flags interval"),
            map("number", number, ""),
            map("ping", ping, ""),
        ]
    };
    let one = ["ifname . inet_proto . inet_service", "ifname . inet_proto", "ifname"];
    let two = [
        "ifname . ifname . inet_proto . inet_service",
        "ifname . ifname . inet_proto",
        "ifname . ifname",
    ];
    let maps = [of("forward", two), of("input", one), of("output", one)];
    let mut maps: Vec<_> = maps.into_iter().flatten().collect();
    for ((from, to, traffic), lets) in &plan.lets {
        let (chain_name, key) = match (from, to) {
            // Paths have rules of their own: their devices come and go.
            (Zone::Path, _) | (_, Zone::Path) => continue,
            (Zone::Router, to) => match plan.device(*to) {
                Some(to) => ("output", quoted(to)),
                None => continue,
            },
            (from, Zone::Router) => match plan.device(*from) {
                Some(from) => ("input", quoted(from)),
                None => continue,
            },
            (from, to) => match (plan.device(*from), plan.device(*to)) {
                (Some(from), Some(to)) => ("forward", format!("\"{from}\" . \"{to}\"")),
                _ => continue,
            },
        };
        for it in lets {
            let (what, port) = match traffic {
                Traffic::Ping => ("ping", String::new()),
                Traffic::Number(number) => ("number", format!(" . {number}")),
                Traffic::Tcp | Traffic::Udp if it.ports.first == it.ports.last => {
                    ("port", format!(" . {traffic} . {}", it.ports.first))
                }
                Traffic::Tcp | Traffic::Udp => ("range", format!(" . {traffic} . {}", it.ports)),
            };
            let is_it = |map: &&mut Set| {
                map.name.strip_prefix(chain_name).is_some_and(|rest| rest[1..] == *what)
            };
            if let Some(map) = maps.iter_mut().find(is_it) {
                let comma = if map.elements.is_empty() { "" } else { ", " };
                let _ = write!(map.elements, "{comma}{key}{port} : goto ");
                push_chain(&mut map.elements, plan, it.by);
            }
        }
    }
    maps
}

/// The chains that are always there. They are named first, so that the flush finds them, and filled
/// again.
const FRAME: &str = "\
  counter neighbours { }
  counter dhcp { }
  counter invalid { }
  counter published { }
  counter denied_own { }
  set new_flows { type ifname; size 64; flags dynamic; }
  set pings { type ifname; size 64; flags dynamic; }
  chain too_many { }
  chain invalid { }
  chain error { }
  chain new { }
  chain refuse { }
  chain refuse_own { }
  chain input { type filter hook input priority filter; policy drop; }
  chain forward { type filter hook forward priority filter; policy drop; }
  chain output { type filter hook output priority filter; policy drop; }
  chain published { type nat hook prerouting priority dstnat; policy accept; }
  chain source { type nat hook postrouting priority srcnat; policy accept; }
";

fn rules(plan: &Plan, leased: bool) -> String {
    let mut published = String::new();
    for it in &plan.published {
        let (protocol, from, to) = (it.port.protocol.as_str(), it.port.number, it.target.number);
        let board = plan.boards.iter().find(|board| board.zone == Zone::Board(it.board));
        let Some((ip4, ip6)) = board.and_then(|board| board.board) else { continue };
        let uplink = quoted(&plan.uplink);
        for (version, target) in
            [("ipv4", format!("ip to {ip4}:{to}")), ("ipv6", format!("ip6 to [{ip6}]:{to}"))]
        {
            published += &format!(
                "    iifname {uplink} meta nfproto {version} fib daddr . iif type local {protocol} dport {from} dnat {target}\n"
            );
        }
    }
    let boards = plan.boards.iter().map(|board| quoted(&board.device));
    RULES
        .replace("    $published\n", &published)
        .replace("    $path_forward\n", &paths(plan, "forward"))
        .replace("    $path_input\n", &paths(plan, "input"))
        .replace("    $path_output\n", &paths(plan, "output"))
        .replace("    $leased\n", if leased { LEASED } else { "" })
        .replace("$uplink", &quoted(&plan.uplink))
        .replace("$boards", &list(boards))
        .replace("$inside", &plan.network.to_string())
        .replace("$6inside", &plan.network6.to_string())
        .replace("$new", &NEW_FLOWS.to_string())
}

/// What comes from paths in `chain`, or goes there: their devices come and go, so these are rules.
fn paths(plan: &Plan, chain_name: &str) -> String {
    let mut rules = String::new();
    for ((from, to, traffic), lets) in &plan.lets {
        let device = |zone: &Zone| match zone {
            Zone::Path => Some(quoted(PATH)),
            zone => plan.device(*zone).map(quoted),
        };
        let devices = match (chain_name, from, to) {
            ("input", Zone::Path, Zone::Router) => Some(format!("iifname \"{PATH}\"")),
            ("output", Zone::Router, Zone::Path) => Some(format!("oifname \"{PATH}\"")),
            ("forward", Zone::Path, to) | ("forward", to, Zone::Path) if *to != Zone::Router => {
                let both =
                    device(from).zip(device(if *from == Zone::Path { to } else { &Zone::Path }));
                both.map(|(from, to)| format!("iifname {from} oifname {to}"))
            }
            _ => None,
        };
        let Some(devices) = devices else { continue };
        for it in lets {
            let kinds = match traffic {
                Traffic::Tcp | Traffic::Udp => vec![format!("{traffic} dport {}", it.ports)],
                Traffic::Ping => {
                    vec!["icmp type echo-request".into(), "icmpv6 type echo-request".into()]
                }
                Traffic::Number(number) => vec![format!("meta l4proto {number}")],
            };
            for kind in kinds {
                rules += &format!("    {devices} {kind} goto {}\n", chain(plan, it.by));
            }
        }
    }
    rules
}

/// The answers of a DHCP server to the router's own question, for which the kernel knows no flow:
/// it went to everybody.
const LEASED: &str =
    "    iifname $uplink meta nfproto ipv4 udp sport 67 udp dport 68 counter name dhcp accept\n";

/// What is in the table whatever the file says.
///
/// - Neighbour discovery comes from the link itself (RFC 4861, 7.1: hop limit 255), questions of
///   switches about groups too (RFC 2710, 3: hop limit 1). The kernel tracks neither.
/// - Of errors only those that mean a flow that was let (RFC 4890, 4.3).
/// - A board that is not there has an address that leads nowhere, and by the default route outside.
/// - What a DHCP server says is no answer to the kernel: the question came from nobody's address.
const RULES: &str = "\
  chain refuse {
    limit rate 10/minute burst 5 packets log prefix \"octet: no line lets this: \"
    iifname @denied drop
    drop
  }
  chain too_many {
    iifname @too_many drop
    drop
  }
  chain invalid {
    counter name invalid drop
  }
  chain error {
    icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
    goto refuse
  }
  chain new {
    iifname { $boards } update @new_flows { iifname limit rate over $new/second burst $new packets } goto too_many
  }
  chain published {
    type nat hook prerouting priority dstnat; policy accept;
    $published
  }
  chain source {
    type nat hook postrouting priority srcnat; policy accept;
    oifname $uplink ip saddr $inside masquerade
  }
  chain forward {
    ct state vmap { established : accept, related : goto error, invalid : goto invalid, untracked : drop }
    oifname $uplink ip daddr $inside goto refuse
    oifname $uplink ip6 daddr $6inside goto refuse
    iifname . oifname . meta l4proto . th dport vmap @forward_port
    iifname . oifname . meta l4proto . th dport vmap @forward_range
    iifname . oifname . meta l4proto vmap @forward_number
    icmp type echo-request iifname . oifname vmap @forward_ping
    icmpv6 type echo-request iifname . oifname vmap @forward_ping
    $path_forward
    iifname $uplink ct status dnat counter name published accept
    goto refuse
  }
  chain input {
    iifname lo accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 counter name neighbours accept
    icmpv6 type mld-listener-query ip6 hoplimit 1 ip6 saddr fe80::/10 counter name neighbours accept
    ct state vmap { established : accept, related : goto error, invalid : goto invalid, untracked : drop }
    iifname . meta l4proto . th dport vmap @input_port
    iifname . meta l4proto . th dport vmap @input_range
    iifname . meta l4proto vmap @input_number
    icmp type echo-request iifname vmap @input_ping
    icmpv6 type echo-request iifname vmap @input_ping
    $path_input
    $leased
    goto refuse
  }
  chain output {
    oifname lo goto on_board
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, mld-listener-report, mld-listener-done, mld2-listener-report } accept
    ct state vmap { established : accept, related : goto error, invalid : goto invalid, untracked : drop }
    udp sport 67 udp dport 68 accept
    udp sport 547 udp dport 546 accept
    oifname . meta l4proto . th dport vmap @output_port
    oifname . meta l4proto . th dport vmap @output_range
    oifname . meta l4proto vmap @output_number
    icmp type echo-request oifname vmap @output_ping
    icmpv6 type echo-request oifname vmap @output_ping
    $path_output
    goto refuse_own
  }
  chain refuse_own {
    counter name denied_own drop
  }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_other_tables_are_somebody_elses() {
        let listed = "table inet octet_forward {\n\tchain policy_00000001 {\n\t}\n}\n\
                      table inet octet_fw {\n\tchain policy_00000002 {\n\t}\n\
                      \tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n";
        let ours = ["input", "policy_00000002"].map(str::to_owned);
        assert_eq!(There::read(listed), There(ours.into()));
        assert_eq!(There::read(""), There::default());
    }
}
