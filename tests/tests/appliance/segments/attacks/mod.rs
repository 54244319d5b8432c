//! Attacks of a compromised board: each is first shown to be accepted by a router without rules,
//! and forwarded if possible; then it is dropped, and counted under its reason, at the port of a
//! board, of the owner's devices, of the uplink, or at all of them.

mod echoes;
mod errors;
mod frames;
mod mtu;
mod neighbours;
mod nodes;
mod ports;

use std::collections::BTreeMap;
use std::ops::Range;

use octet_evaluator::Zone;
use octet_machine::panel::raw::{ethernet, icmp};
use octet_machine::panel::switchboard::CapturedFrame;
use octet_tests::{Image, shipped, soak};
use serde_json::json;

use crate::segments::site::{Site, text};
pub use frames::NODE;
use frames::{Attack, Bare, MARK, all};

/// The number of senders that a board impersonates.
const SOURCES: usize = 8000;
const SOME_SOURCES: usize = 2000;

/// The number of attacks between two readings of the counters.
const GROUP: usize = 8;

/// A policy that allows everything between boards: all drops are those of the guard.
const OPEN: &str = r#"
[[policy]]
from = "boards"
to = ["boards", "router"]
protocol = "udp"
ports = ["1-65535"]

[[policy]]
from = "boards"
to = ["boards", "router"]
protocol = "tcp"
ports = ["1-65535"]
"#;

/// The dropped frames, by port and reason.
type Drops = BTreeMap<String, BTreeMap<String, u64>>;

fn drops(site: &Site) -> Drops {
    serde_json::from_value(site.shown()["drops"].clone()).unwrap()
}

/// The received frames, by device.
fn received(site: &Site) -> BTreeMap<String, u64> {
    // `show` has these counters as well, but lists all rules.
    let passed = site.machine.call_unit("netd", "traffic", json!({})).unwrap();
    let links = passed.as_array().unwrap().iter();
    links
        .map(|link| (link["link"].as_str().unwrap().to_owned(), link["received"].as_u64().unwrap()))
        .collect()
}

/// The attackers: a board (or every board), a device of the owner's, and an external host.
fn attackers(site: &Site) -> Vec<Zone> {
    let boards = if soak() { site.world.boards() } else { 1 };
    (1..=boards).map(Zone::Board).chain([Zone::Lan, Zone::Uplink]).collect()
}

/// The device of `zone`.
fn device(site: &Site, zone: Zone) -> String {
    match zone {
        Zone::Board(number) => format!("eth{number}"),
        Zone::Lan => format!("eth{}", site.world.boards() + 1),
        _ => "eth0".to_owned(),
    }
}

/// The attacks of `zone`, which impersonates the next board.
fn attacks(site: &Site, zone: Zone) -> Vec<Attack> {
    let next = match zone {
        Zone::Board(number) => number % site.world.boards() + 1,
        _ => 1,
    };
    let leg = |zone| &site.panel.legs()[site.leg(zone)];
    all(leg(zone), leg(Zone::Board(next)))
}

/// The reason under which `attack` by `zone` is counted; `None` if it is legitimate there: devices
/// of the owner's and external hosts may have any MAC address, and each other's IP addresses.
fn reason(attack: &Attack, zone: Zone) -> Option<&'static str> {
    match (attack.name, zone) {
        (_, Zone::Board(_)) => Some(attack.reason),
        ("the right board on the wrong port", _) => Some("src-ip4"),
        ("a neighbour's place", _) => None,
        ("gratuitous ARP" | "ARP for the gateway", Zone::Uplink) => None,
        _ if attack.reason == "src-mac" => None,
        _ => Some(attack.reason),
    }
}

/// Whether a frame was caused by `attack`: it has its payload, or answers it.
fn is_effect(seen: &CapturedFrame, attack: &[u8]) -> bool {
    let is_reply = seen.frame.get(12..14) == Some(&ethernet::ARP.to_be_bytes())
        && seen.frame.get(20..22) == Some(&[0, 2]);
    let is_advert = seen.frame.get(12..14) == Some(&ethernet::IPV6.to_be_bytes())
        && seen.frame.get(20) == Some(&icmp::ICMPV6)
        && seen.frame.get(54) == Some(&136);
    // The router pings the gateway itself; no attack has such a form.
    let is_ping =
        [(ethernet::IPV4, 23, icmp::ICMP, 34, 8), (ethernet::IPV6, 20, icmp::ICMPV6, 54, 128)]
            .iter()
            .any(|(kind, at, protocol, type_at, asks)| {
                seen.frame.get(12..14) == Some(&kind.to_be_bytes())
                    && seen.frame.get(*at) == Some(protocol)
                    && seen.frame.get(*type_at) == Some(asks)
            });
    if is_ping {
        return false;
    }
    // The part after all headers, which is not changed in transit.
    let body = attack.get(62..78).unwrap_or(&attack[attack.len() - 8..]);
    seen.contains(MARK) || seen.contains(body) || is_reply || is_advert
}

/// One of the attacks of a group, at a port.
struct Sent {
    zone: Zone,
    attack: Attack,
    /// The reason under which it is counted.
    reason: &'static str,
    /// The number of repetitions where it is counted: each attack of a group is repeated twice as
    /// often as the previous one, so that a count shows which of them contribute.
    times: u64,
}

/// Each attack of `group`, at every port where it applies.
fn all_of(site: &Site, group: &Range<usize>) -> Vec<Sent> {
    let mut all = vec![];
    for zone in attackers(site) {
        for (place, attack) in attacks(site, zone).drain(group.clone()).enumerate() {
            let Some(reason) = reason(&attack, zone) else { continue };
            all.push(Sent { zone, attack, reason, times: 1 << place });
        }
    }
    all
}

/// The indices of attacks, in groups.
fn groups(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(GROUP).map(move |first| first..count.min(first + GROUP))
}

/// The unexpected results of a router without rules: all attacks must be received, and some
/// forwarded.
fn without_rules(site: &mut Site, count: usize) -> Vec<String> {
    let mut wrong = vec![];
    let asks = site.who_is_there();
    let mut sent = all_of(site, &(0..count));
    if !soak() {
        // The first attacker sends all attacks of the others, too.
        let first = attackers(site)[0];
        sent.retain(|sent| sent.zone == first);
    }
    let before = received(site);
    for Sent { zone, attack, .. } in &sent {
        // One attack at a time, so that every resulting frame belongs to it.
        let frames = [attack.frame.clone()];
        let seen = site.panel.exchange(site.leg(*zone), &frames, &asks).unwrap();
        if attack.bare == Bare::Out && !seen.iter().any(|seen| is_effect(seen, &attack.frame)) {
            wrong.push(format!("{zone}, {}: nothing came", attack.name));
        }
    }
    let after = received(site);
    for zone in attackers(site) {
        let device = device(site, zone);
        let own = sent.iter().filter(|sent| sent.zone == zone).count();
        // Each attack is followed by both sentinels at every port.
        let meant = (own + 2 * sent.len()) as u64;
        let found = after[&device] - before[&device];
        if found < meant {
            wrong.push(format!("{zone}: of {meant} frames {found} are taken in"));
        }
    }
    wrong
}

/// The unexpected results of a router with rules: each attack must be counted under its reason, and
/// none forwarded.
fn with_rules(site: &mut Site, count: usize) -> Vec<String> {
    let mut wrong = vec![];
    let sentinels = site.sentinels();
    let mut before = drops(site);
    for group in groups(count) {
        let sent = all_of(site, &group);
        let often = sent.iter().flat_map(|it| (0..it.times).map(move |_| it));
        let frames: Vec<_> = often.map(|it| (site.leg(it.zone), it.attack.frame.clone())).collect();
        let seen = site.panel.exchange_all(&frames, &sentinels).unwrap();
        let after = drops(site);
        for zone in attackers(site) {
            let device = device(site, zone);
            let was = |reason: &str| before.get(&device).and_then(|all| all.get(reason));
            let counted = after.get(&device).into_iter().flatten();
            let counted = counted
                .map(|(reason, now)| (reason.as_str(), now - was(reason).unwrap_or(&0)))
                .filter(|(_, count)| *count > 0);
            let counted: BTreeMap<&str, u64> = counted.collect();
            let mut meant: BTreeMap<&str, u64> = BTreeMap::new();
            let own = || sent.iter().filter(|sent| sent.zone == zone);
            for sent in own() {
                *meant.entry(sent.reason).or_default() += sent.times;
            }
            if counted != meant {
                let names: Vec<_> = own().map(|sent| (sent.times, sent.attack.name)).collect();
                wrong.push(format!("{zone}: {meant:?} expected, {counted:?}; sent {names:?}"));
            }
        }
        for Sent { zone, attack, .. } in &sent {
            let came: Vec<_> = seen.iter().filter(|seen| is_effect(seen, &attack.frame)).collect();
            if let Some(first) = came.first() {
                wrong.push(format!(
                    "{zone}, {}, or another: {} came, {first:?}",
                    attack.name,
                    came.len()
                ));
            }
        }
        before = after;
    }
    wrong
}

#[test]
fn what_a_taken_over_board_tries() {
    are_dropped_by(&shipped());
}

/// All of them, with this image as the router.
pub fn are_dropped_by(shipped: &Image) {
    let lines = [OPEN, errors::LINES, mtu::LINES, neighbours::LINES, nodes::LINES, &ports::lines()];
    let text = text(4, &lines.concat());
    let mut bare = Site::without_rules(shipped, &text);
    let count = attacks(&bare, Zone::Board(1)).len();
    let mut wrong = without_rules(&mut bare, count);
    wrong.extend(nodes::leave_by_the_uplink(&mut bare));
    drop(bare);
    let mut site = Site::without_forward(shipped, &text);
    wrong.extend(with_rules(&mut site, count));
    wrong.extend(errors::about_every_kind_of_flow(&mut site));
    wrong.extend(nodes::never_leave_by_the_uplink(&mut site));
    wrong.extend(echoes::are_not_counted(&mut site));
    wrong.extend(ports::nobody_takes_anothers(&mut site));
    println!("{count} attacks at each of {} ports", attackers(&site).len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    mtu::is_discovered(&mut site);
    errors::as_many_as_nobody_needs(&mut site);
    thousands_of_sources(&mut site);
    neighbours::only_so_many(&mut site);
}

/// A board that impersonates ever new senders fills no table: each frame is dropped and counted,
/// and others are served meanwhile.
fn thousands_of_sources(site: &mut Site) {
    let from = site.leg(Zone::Board(1));
    let (leg, other) = (site.panel.legs()[from].clone(), site.leg(Zone::Board(2)));
    let other = site.panel.legs()[other].clone();
    let sentinels = site.sentinels();
    let before = drops(site);
    let sources = if soak() { SOURCES } else { SOME_SOURCES };
    let frames: Vec<_> =
        (0..sources).map(|number| frames::stranger(&leg, &other, number)).collect();
    let seen = site.panel.exchange(from, &frames, &sentinels).unwrap();
    assert!(!seen.iter().any(|seen| seen.contains(MARK)));
    let count = |drops: &Drops| ["src-mac", "src-ip4", "src-ip6"].map(|it| drops["eth1"][it]);
    let (before, after) = (count(&before), count(&drops(site)));
    let counted: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    println!("{sources} sources: {counted:?}");
    assert_eq!(counted.iter().sum::<u64>(), sources as u64);
    assert!(counted.iter().all(|count| *count >= sources as u64 / 4));
}
