//! Boxes by chance: texts of `appliance.toml` that are valid, with every kind of line.

use std::fmt::Write as _;

use fastrand::Rng;
use octet_evaluator::{By, Traffic, Verdict, World};
use octet_machine::panel::Mac;

use crate::segments::sweep::pairs;

/// Roles of boards. The last one is no board's.
const ROLES: [&str; 3] = ["front", "back", "spare"];

/// Ports of lines are close together, so that lines meet. Probes come from higher ones.
const PORTS: [std::ops::Range<u16>; 3] = [50..70, 4035..4045, 8000..8020];

/// Protocols without ports. What the kernel tracks by more than addresses (SCTP, DCCP) has to be whole to pass.
const NUMBERS: [u8; 4] = [2, 47, 50, 89];

/// What all boxes say of the router.
const ROUTER: &str = "[appliance]\nname = \"octet\"\n[network]\naddress = [\"192.0.2.7/24\", \"2001:db8::7/64\"]\n\
     gateway = [\"192.0.2.1\", \"2001:db8::1\"]\n";

/// A box of so many boards, with its `[lan]` at `lan`, if it has one.
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
    // A port that a line opens on the router for those outside cannot lead somewhere else.
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

/// What is sent: some of what lines of the file let, some of what is next to that, and some others.
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
    // Not to ports that probes come from: what is for these looks like an answer.
    some.extend([Traffic::Tcp(chance.u16(1..20_000)), Traffic::Udp(chance.u16(1..20_000))]);
    some.sort_unstable();
    some.dedup();
    some
}

/// What lines can speak of.
struct Chosen {
    roles: Vec<Option<&'static str>>,
    has_lan: bool,
}

impl Chosen {
    /// Who sends and who receives, such that somebody sends to somebody else, or nobody has the role.
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

    /// The zones that `words` mean.
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

/// A list, or one word without brackets.
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

/// What a line is about.
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
