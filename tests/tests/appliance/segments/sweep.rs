//! Probes between zones: the results must be those of the evaluator.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_evaluator::{By, Probe as Asked, Traffic, Verdict, Version, World, Zone};
use octet_machine::panel::switchboard::{ProbeOutcome, Switchboard};
use serde_json::{Value, json};

use crate::segments::site::{Site, probe};

/// The router allows 1000 new flows per second and board. Sweeps stay below, so that the policies
/// alone decide.
const MAX_FLOWS: usize = 900;
const IN: Duration = Duration::from_secs(1);

/// The counters of the router's own packets, and of sentinels.
const NOT_OF_SWEEPS: [&str; 8] = [
    "built_in_dns",
    "built_in_relay",
    "built_in_reach",
    "built_in_ask",
    "neighbours",
    "dhcp",
    "invalid",
    "denied_own",
];

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// The number of sent probes.
    pub sent: usize,
    /// The number of probes that have arrived.
    pub arrived: usize,
    /// The unexpected results.
    pub wrong: Vec<String>,
    /// netd's answer of `show` at the end.
    pub shown: Value,
}

/// All ordered pairs of `zones` whose first zone is at a port, for all of `traffic`, with both
/// versions.
pub fn pairs(zones: &[Zone], traffic: &[Traffic]) -> Vec<Asked> {
    let mut asked = vec![];
    for &from in zones.iter().filter(|zone| **zone != Zone::Router) {
        for &to in zones.iter().filter(|to| **to != from) {
            for &what in traffic {
                asked.extend(Version::BOTH.map(|version| (from, to, what, version)));
            }
        }
    }
    asked
}

/// The reason if the router cannot tell a probe from another flow: for a protocol without ports
/// there is one flow between two addresses, in whichever direction it started, and with the
/// uplink's IPv4 address one flow to each external address.
pub fn blurred(world: &World, (from, to, traffic, version): Asked) -> Option<&'static str> {
    let Traffic::Protocol(_) = traffic else { return None };
    let lets = |from, to| from != to && world.reaches(from, to, traffic, version).is_some();
    let masked =
        |zone: &Zone| world.masquerades(*zone, Zone::Uplink, version) && lets(*zone, Zone::Uplink);
    let masked: Vec<Zone> = world.zones().into_iter().filter(masked).collect();
    match (from, to) {
        (Zone::Uplink, Zone::Router) if !masked.is_empty() => Some("it answers who is masqueraded"),
        (Zone::Uplink, inside) if masked.contains(&inside) => Some("the other way is masqueraded"),
        (inside, Zone::Uplink) if masked.contains(&inside) && lets(to, from) => {
            Some("the other way is not masqueraded")
        }
        (inside, Zone::Uplink) if masked.contains(&inside) && masked.len() > 1 => {
            Some("others are masqueraded, too")
        }
        _ if !lets(from, to) && lets(to, from) => Some("it answers the other way"),
        _ => None,
    }
}

impl Site {
    /// Sends `asked`: denied probes first, and those to the router last. In addition to the
    /// arrivals it checks the router's counters, which show datagrams without an answer: the drops
    /// of each port are the denied probes, and the counters of the rules are the others.
    pub fn sweep(&mut self, asked: &[Asked]) -> Swept {
        let mut swept = Swept { shown: self.shown(), ..Swept::default() };
        for at_router in [false, true] {
            let some = asked.iter().filter(|(_, to, ..)| (*to == Zone::Router) == at_router);
            let mut some: Vec<_> = some.copied().collect();
            self.take_turns(&mut some);
            // Listing all rules is slow in a guest, so the last answer is reused.
            let before = Counted::read(&swept.shown);
            for piece in self.pieces(&some) {
                let began = Instant::now();
                self.send(piece, &mut swept);
                if piece.len() < some.len() {
                    sleep(IN.saturating_sub(began.elapsed()));
                }
            }
            swept.shown = self.shown();
            let after = Counted::read(&swept.shown);
            self.check_counts(&some, at_router, &after.since(&before), &mut swept);
        }
        swept
    }

    /// Sorts denied probes first; within each kind, the zones alternate.
    fn take_turns(&self, asked: &mut Vec<Asked>) {
        let mut turns: BTreeMap<(Zone, bool), usize> = BTreeMap::new();
        let mut order = |asked: &Asked| {
            let is_let = expected(&self.world, *asked).is_some();
            let turn = turns.entry((asked.0, is_let)).or_default();
            *turn += 1;
            (is_let, *turn)
        };
        let mut ordered: Vec<_> = asked.iter().map(|asked| (order(asked), *asked)).collect();
        ordered.sort();
        *asked = ordered.into_iter().map(|(_, asked)| asked).collect();
    }

    /// Splits `asked` into pieces in which no zone exceeds the limit of new flows.
    fn pieces<'a>(&self, mut asked: &'a [Asked]) -> Vec<&'a [Asked]> {
        let mut pieces = vec![];
        while !asked.is_empty() {
            let mut flows: BTreeMap<Zone, usize> = BTreeMap::new();
            let end = asked.iter().position(|it| {
                let flows = flows.entry(it.0).or_default();
                *flows += usize::from(expected(&self.world, *it).is_some());
                *flows > MAX_FLOWS
            });
            let (piece, rest) = asked.split_at(end.unwrap_or(asked.len()));
            pieces.push(piece);
            asked = rest;
        }
        pieces
    }

    fn send(&mut self, asked: &[Asked], swept: &mut Swept) {
        let probes: Vec<_> = asked.iter().map(|asked| probe(&self.panel, *asked)).collect();
        let sentinels = self.sentinels();
        let came = self.panel.sweep(&probes, &sentinels).unwrap();
        for (asked, came) in asked.iter().zip(came) {
            swept.sent += 1;
            swept.arrived += usize::from(expected(&self.world, *asked).is_some());
            if !is_right(&self.panel, &self.world, *asked, &came) {
                let (from, to, what, version) = *asked;
                let explained = self.world.explain(from, to, what, version);
                swept.wrong.push(format!("{came:?}: {explained}"));
            }
        }
    }

    pub fn shown(&self) -> Value {
        self.machine.call_unit("netd", "show", json!({})).unwrap()
    }

    fn check_counts(&self, asked: &[Asked], at_router: bool, counted: &Counted, swept: &mut Swept) {
        let mut drops: BTreeMap<String, u64> = BTreeMap::new();
        for asked in asked.iter().filter(|it| expected(&self.world, **it).is_none()) {
            // At a port without a zone all packets are dropped without being counted.
            if let Some(device) = self.world.device(asked.0).filter(|_| self.world.has(asked.0)) {
                *drops.entry(device.to_owned()).or_default() += 1;
            }
        }
        for (device, found) in &counted.drops {
            let meant = drops.remove(device).unwrap_or_default();
            if *found != meant {
                let all = &swept.shown["drops"][device];
                swept.wrong.push(format!("{device} has dropped {found} of {all}, and not {meant}"));
            }
        }
        swept.wrong.extend(
            drops
                .iter()
                .map(|(device, meant)| format!("{device} has dropped nothing, and not {meant}")),
        );
        // Packets between other zones may belong to earlier flows; to the router, only protocols
        // without ports may.
        let mut lets: BTreeMap<By, Vec<Asked>> = BTreeMap::new();
        for asked @ (from, to, what, version) in asked.iter().copied() {
            let verdict = self.world.verdict(from, to, what, version);
            if let Verdict::Arrives { by, .. } = verdict
                && by != By::BuiltIn("dns")
            {
                lets.entry(by).or_default().push(asked);
            }
        }
        let all = lets.values().flatten().count() as u64;
        let is_new = |asked: &&Asked| !matches!(asked.2, Traffic::Protocol(_));
        let new = lets.values().flatten().filter(is_new).count() as u64;
        let found = counted.lines.values().sum();
        if at_router && !(new..=all).contains(&found) {
            let lets: Vec<_> = lets.iter().map(|(by, all)| format!("{by}: {all:?}")).collect();
            let text = format!("lines have let {:?}, and not {all}: {lets:#?}", counted.lines);
            swept.wrong.push(text);
        }
    }
}

/// Whether a probe may have this result in the box of `world`.
pub fn is_right(panel: &Switchboard, world: &World, asked: Asked, came: &ProbeOutcome) -> bool {
    match (expected(world, asked), came) {
        (Some(Zone::Router), ProbeOutcome::Answered) => true,
        // A datagram need not be answered; the router counts it.
        (Some(Zone::Router), ProbeOutcome::Dropped) => {
            matches!(asked.2, Traffic::Udp(_) | Traffic::Protocol(_))
        }
        (Some(zone), ProbeOutcome::Out(leg)) => panel.leg(&zone.to_string()) == Some(*leg),
        (None, ProbeOutcome::Dropped) => true,
        _ => false,
    }
}

pub fn expected(world: &World, (from, to, traffic, version): Asked) -> Option<Zone> {
    world.reaches(from, to, traffic, version)
}

/// The router's counters.
#[derive(Debug, Default)]
struct Counted {
    /// The drops, by device.
    drops: BTreeMap<String, u64>,
    /// The new flows that rules have allowed, by the name of the counter.
    lines: BTreeMap<String, u64>,
}

impl Counted {
    fn read(shown: &Value) -> Self {
        let sum = |counts: &Value| -> u64 {
            counts
                .as_object()
                .into_iter()
                .flat_map(|it| it.values())
                .filter_map(Value::as_u64)
                .sum()
        };
        let drops = shown["drops"].as_object().unwrap().iter();
        let lines = shown["lines"].as_object().unwrap().iter();
        let lines = lines.filter(|(name, _)| !NOT_OF_SWEEPS.contains(&name.as_str()));
        let lines = lines.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)));
        Self {
            drops: drops.map(|(device, counts)| (device.clone(), sum(counts))).collect(),
            lines: lines.collect(),
        }
    }

    fn since(&self, before: &Self) -> Self {
        let since = |now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            let since = now
                .iter()
                .map(|(name, count)| (name.clone(), count - before.get(name).unwrap_or(&0)));
            since.filter(|(_, count)| *count > 0).collect()
        };
        Self { drops: since(&self.drops, &before.drops), lines: since(&self.lines, &before.lines) }
    }
}

impl Swept {
    pub fn must_be_right(&self, site: &Site) {
        let Self { sent, arrived, wrong, .. } = self;
        println!("{sent} probes, {arrived} arrive; {} are wrong", wrong.len());
        let some = &wrong[..wrong.len().min(40)];
        assert!(
            wrong.is_empty(),
            "{} of {sent}: {some:#?}\n{}",
            wrong.len(),
            site.machine.tail(30)
        );
    }
}
