//! Random boxes: valid texts of `appliance.toml`, with every kind of rule.

use std::fmt::Write as _;

use fastrand::Rng;
use octet_evaluator::{By, Traffic, Verdict, World};
use octet_machine::panel::Mac;

use crate::segments::sweep::pairs;

/// The roles of boards. No board has the last one.
const ROLES: [&str; 3] = ["front", "back", "spare"];

/// The ports of rules are close together, so that rules overlap. Probes use higher source ports.
const PORTS: [std::ops::Range<u16>; 3] = [50..70, 4035..4045, 8000..8020];

/// Protocols without ports. Those with more connection tracking (SCTP, DCCP) would need complete
/// packets to pass.
const NUMBERS: [u8; 4] = [2, 47, 50, 89];

/// The router's configuration in all boxes.
const ROUTER: &str = "[appliance]\nname = \"octet\"\n[network]\naddress = [\"192.0.2.7/24\", \"2001:db8::7/64\"]\n\
     gateway = [\"192.0.2.1\", \"2001:db8::1\"]\n";

/// A box with this many boards, and with its `[lan]` at `lan`, if given.
pub fn text(boards: u8, lan: Option<&str>, chance: &mut Rng) -> String {
    let roles = (0..boards).map(|_| ROLES[..2].get(chance.usize(..3)).copied()).collect();
    let has_lan = lan.is_some();
    let chosen = Chosen { roles, has_lan };
    let mut text = format!("{ROUTER}[cluster]\nboards = {boards}\n");
    if let Some(port) = lan {
        let _ = write!(text, "[lan]\nport = \"{port}\"\n");
    }
    for (number, role) in (1..).zip(&chosen.roles) {
        let _ = write!(text, "[[board]]\nnumber = {number}\nmac = \"{}\"\n", Mac::number(number));
        if let Some(role) = role {
            let _ = writeln!(text, "role = \"{role}\"");
        }
    }
    let mut opens_router = false;
    for _ in 0..chance.usize(..9) {
        let (from, to) = chosen.pair(chance);
        let has = |words: &[String], word| words.iter().any(|it| it == word);
        opens_router |= has(&from, "uplink") && has(&to, "router");
        let (from, to) = (said(&from, chance), said(&to, chance));
        let _ = write!(text, "[[policy]]\nfrom = {from}\nto = {to}\n{}\n", what(chance));
        if chance.bool() {
            text += "comment = \"by chance\"\n";
        }
    }
    // A port that a policy opens on the router for external hosts cannot be published.
    let publishes = if opens_router { 0 } else { chance.usize(..3) };
    let mut outside: Vec<u16> = PORTS.into_iter().flatten().collect();
    chance.shuffle(&mut outside);
    for outside in outside.into_iter().take(publishes) {
        let (protocol, board) = (protocol(chance), chance.u8(1..=boards));
        let target = match (protocol, chance.bool()) {
            ("tcp", true) => "service = \"gate\"".to_owned(),
            _ => format!("at = \"{protocol}/{}\"", port(chance)),
        };
        let _ = write!(
            text,
            "[[publish]]\nport = \"{protocol}/{outside}\"\nto = \"board-{board}\"\n{target}\n"
        );
    }
    text
}

/// The traffic to probe: some that rules of the file allow, some with adjacent ports, and some
/// other.
pub fn traffic(world: &World, chance: &mut Rng) -> Vec<Traffic> {
    let worth = world.worth_a_probe();
    let zones = world.zones();
    let is_let = |what: &Traffic| {
        let asked = pairs(&zones, &[*what]);
        let mut verdicts = asked.iter().map(|it| world.verdict(it.0, it.1, it.2, it.3));
        verdicts.any(|it| matches!(it, Verdict::Arrives { by: By::Policy(_) | By::Publish(_), .. }))
    };
    let (mut some, mut next): (Vec<_>, Vec<_>) = worth.into_iter().partition(is_let);
    for list in [&mut some, &mut next] {
        chance.shuffle(list);
        list.truncate(6);
    }
    some.extend(next);
    some.extend([Traffic::Ping, Traffic::Protocol(NUMBERS[chance.usize(..NUMBERS.len())])]);
    // The source ports of probes are left out: packets to them look like answers.
    some.extend([Traffic::Tcp(chance.u16(1..20_000)), Traffic::Udp(chance.u16(1..20_000))]);
    some.sort_unstable();
    some.dedup();
    some
}

/// The values that rules can use.
struct Chosen {
    roles: Vec<Option<&'static str>>,
    has_lan: bool,
}

impl Chosen {
    /// Sources and destinations that include at least two different zones, or a role of no board.
    fn pair(&self, chance: &mut Rng) -> (Vec<String>, Vec<String>) {
        loop {
            let (from, to) = (self.words(chance), self.words(chance));
            let (senders, receivers) = (self.zones(&from), self.zones(&to));
            let mut pairs =
                senders.iter().flat_map(|from| receivers.iter().map(move |to| from != to));
            if senders.is_empty() || receivers.is_empty() || pairs.any(|others| others) {
                return (from, to);
            }
        }
    }

    fn words(&self, chance: &mut Rng) -> Vec<String> {
        let boards = (1..=self.roles.len()).map(|number| format!("board-{number}"));
        let others = ["boards", "uplink", "router", "path"].map(str::to_owned);
        let roles = ROLES.map(|role| format!("role:{role}"));
        let lan = self.has_lan.then(|| "lan".to_owned());
        let mut words: Vec<_> = boards.chain(others).chain(roles).chain(lan).collect();
        chance.shuffle(&mut words);
        words.truncate(chance.usize(1..4));
        words
    }

    /// The zones that `words` stand for.
    fn zones(&self, words: &[String]) -> Vec<String> {
        let board = |index: usize| format!("board-{}", index + 1);
        let zones =
            words.iter().flat_map(|word| match (word.as_str(), word.strip_prefix("role:")) {
                ("boards", _) => (0..self.roles.len()).map(board).collect(),
                (_, Some(role)) => {
                    let all = self.roles.iter().enumerate();
                    all.filter(|(_, its)| **its == Some(role))
                        .map(|(index, _)| board(index))
                        .collect()
                }
                _ => vec![word.clone()],
            });
        zones.collect()
    }
}

/// A list, or a single word without brackets.
fn said(words: &[String], chance: &mut Rng) -> String {
    match words {
        [one] if chance.bool() => format!("\"{one}\""),
        words => format!("{words:?}"),
    }
}

fn protocol(chance: &mut Rng) -> &'static str {
    if chance.bool() { "tcp" } else { "udp" }
}

fn port(chance: &mut Rng) -> u16 {
    let ports = PORTS[chance.usize(..PORTS.len())].clone();
    chance.u16(ports)
}

/// The protocol and ports of a rule.
fn what(chance: &mut Rng) -> String {
    match chance.u8(..8) {
        0 => "protocol = \"icmp\"".to_owned(),
        1 => format!("protocol = {}", NUMBERS[chance.usize(..NUMBERS.len())]),
        2 => ["service = \"gate\"", "service = \"gate.gate\""][chance.usize(..2)].to_owned(),
        _ => {
            let ports: Vec<_> = (0..chance.usize(1..4))
                .map(|_| match (port(chance), chance.u16(..6)) {
                    (port, 0..3) => port.to_string(),
                    (port, more) => format!("\"{port}-{}\"", port + more),
                })
                .collect();
            format!("protocol = \"{}\"\nports = [{}]", protocol(chance), ports.join(", "))
        }
    }
}
