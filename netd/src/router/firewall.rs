//! The table `octet_fw` of a router: which flows may begin.

mod forwarded;
mod leaving;
mod standing;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use octet_appliance::{Traffic, Zone};

use crate::nft;
use crate::on_board::{self, OnBoard};
use crate::paths::{self, Paths};

use super::built_in::BuiltIn;
use super::plan::{Plan, Source};
use super::table::{self, Set, Table, chains};
use super::text::{list, quoted};
pub use standing::{ERRORS, LONGEST_ERROR};
use standing::{FRAME, rules};

/// The table's name.
pub const TABLE: &str = "octet_fw";

/// The mark of flows that no policy has let, but something else.
pub const NO_LINE: u32 = 0;

/// What is counted by the port that it came in by.
const COUNTED: [&str; 3] = ["denied", "too_many", "icmp_error"];

/// How many echo requests the router answers on each port in a second.
const PINGS: u32 = 20;

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

/// The table, with what units of the router itself may say to each other `on_board`, and what the unit `forward`
/// may, if the image has it.
pub fn table(plan: &Plan, on_board: &OnBoard, forward: Option<&Paths>, leased: bool) -> Table {
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
    sets.extend(members(plan).map(|(name, kind, who)| set(name, kind, false, list(who))));
    sets.push(set(on_board::SET, on_board::KIND, false, list(on_board.elements())));
    sets.extend(maps(plan));
    let mut chains = chains(&rules(plan, forward, leased));
    chains.extend(table::chains(on_board::CHAIN));
    chains.extend(
        forward.map(|it| table::chains(&forwarded::chains(plan, it))).into_iter().flatten(),
    );
    let counters = lines.iter().map(|line| line.name.clone()).collect();
    for line in lines {
        let rules = line.rules();
        chains.insert(line.name, rules);
    }
    Table {
        name: ("inet", TABLE),
        frame: format!("{FRAME}{}{}", on_board::FRAME, forward.map_or("", |_| paths::FRAME)),
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
        Source::BuiltIn(line) => write!(text, "built_in_{}", line.name().replace('-', "_")),
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

/// The addresses of boards, each with the device that it is behind: nobody else is there.
fn members(plan: &Plan) -> [(&'static str, &'static str, Vec<String>); 2] {
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
            (from, to) => match (plan.device(*from), plan.way_out(*from, *to)) {
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
