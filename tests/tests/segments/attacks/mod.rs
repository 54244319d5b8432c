//! What a board that was taken over may try: each first shown to get into a router without rules, and
//! out of it where it can, then dropped at every port, and counted under its reason.

mod frames;

use std::collections::BTreeMap;

use octet_evaluator::Zone;
use octet_machine::panel::raw::{ethernet, icmp};
use octet_machine::panel::switchboard::{Seen, Sentinel};
use serde_json::json;

use crate::site::{Site, text};
use frames::{Attack, Bare, MARK, all};

/// As many senders as a board poses as.
const SOURCES: usize = 8000;

/// A policy that lets everything between boards: what is dropped then is dropped by the guard.
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

/// Frames that were dropped, by port, then by reason.
type Drops = BTreeMap<String, BTreeMap<String, u64>>;

fn drops(site: &Site) -> Drops {
    let shown = site.machine.call_unit("netd", "show", json!({})).unwrap();
    serde_json::from_value(shown["drops"].clone()).unwrap()
}

/// Frames that were taken in, by device.
fn received(site: &Site) -> BTreeMap<String, u64> {
    let shown = site.machine.call_unit("netd", "show", json!({})).unwrap();
    let links = shown["links"].as_array().unwrap().iter();
    links
        .map(|link| (link["name"].as_str().unwrap().to_owned(), link["received"].as_u64().unwrap()))
        .collect()
}

/// Who attacks: every board, a device of the owner's, and somebody outside.
fn attackers(site: &Site) -> Vec<Zone> {
    (1..=site.world.boards()).map(Zone::Board).chain([Zone::Lan, Zone::Uplink]).collect()
}

/// The device that `zone` is behind.
fn device(site: &Site, zone: Zone) -> String {
    match zone {
        Zone::Board(number) => format!("eth{number}"),
        Zone::Lan => format!("eth{}", site.world.boards() + 1),
        _ => "eth0".to_owned(),
    }
}

/// The attacks of `zone`, which poses as the next board.
fn attacks(site: &Site, zone: Zone) -> Vec<Attack> {
    let next = match zone {
        Zone::Board(number) => number % site.world.boards() + 1,
        _ => 1,
    };
    let leg = |zone| &site.panel.legs()[site.leg(zone)];
    all(leg(zone), leg(Zone::Board(next)))
}

/// The reason under which `attack` by `zone` is counted; `None` if it is none there: devices of the
/// owner's and everybody outside may have any Ethernet address, and each other's IP addresses. The
/// router's own address outside comes by DHCP, so the guard does not know it.
fn reason(attack: &Attack, zone: Zone) -> Option<&'static str> {
    match (attack.name, zone) {
        (_, Zone::Board(_)) => Some(attack.reason),
        ("the right board on the wrong port", _) => Some("src-ip4"),
        ("a neighbour's place", _) => None,
        (
            "gratuitous ARP"
            | "ARP for the gateway"
            | "the router's IPv4 address"
            | "the router's IPv6 address",
            Zone::Uplink,
        ) => None,
        _ if attack.reason == "src-mac" => None,
        _ => Some(attack.reason),
    }
}

/// Whether a frame that came out did so by `attack`: it carries what that one did, or answers it.
fn is_effect(seen: &Seen, attack: &[u8]) -> bool {
    let is_reply = seen.frame.get(12..14) == Some(&ethernet::ARP.to_be_bytes())
        && seen.frame.get(20..22) == Some(&[0, 2]);
    let is_advert = seen.frame.get(12..14) == Some(&ethernet::IPV6.to_be_bytes())
        && seen.frame.get(20) == Some(&icmp::ICMPV6)
        && seen.frame.get(54) == Some(&136);
    // Behind all headers, where nothing is changed under way.
    let body = attack.get(62..78).unwrap_or(&attack[attack.len() - 8..]);
    seen.carries(MARK) || seen.carries(body) || is_reply || is_advert
}

/// Sends attack `index` at every port where it is one. Returns from where, its name, the reason under
/// which it is counted, and how much came out of the router by it.
fn send(
    site: &mut Site,
    index: usize,
    sentinels: &[Sentinel],
) -> Vec<(Zone, Attack, &'static str, usize)> {
    let mut sent = vec![];
    for zone in attackers(site) {
        let attack = attacks(site, zone).swap_remove(index);
        let Some(reason) = reason(&attack, zone) else { continue };
        let frames = std::slice::from_ref(&attack.frame);
        let seen = site.panel.exchange(site.leg(zone), frames, sentinels).unwrap();
        let came = seen.iter().filter(|seen| is_effect(seen, &attack.frame)).count();
        sent.push((zone, attack, reason, came));
    }
    sent
}

#[test]
fn what_a_taken_over_board_tries() {
    let text = text(4, OPEN);
    let mut wrong = vec![];
    let mut bare = Site::with_fault(&text, "bare");
    let asks = bare.who_is_there();
    let count = attacks(&bare, Zone::Board(1)).len();
    let mut before = received(&bare);
    for index in 0..count {
        let sent = send(&mut bare, index, &asks);
        let is_in = sent.iter().any(|(_, attack, ..)| attack.bare == Bare::In);
        let after = if is_in { received(&bare) } else { before.clone() };
        for (zone, attack, _, came) in sent {
            let device = device(&bare, zone);
            let is_positive = match attack.bare {
                Bare::Out => came > 0,
                // The frame, and the question whose answer follows it.
                Bare::In => after[&device] >= before[&device] + 2,
            };
            if !is_positive {
                let Attack { name, bare, .. } = attack;
                wrong.push(format!("{zone}, {name}: {bare:?} is not so; {came} came"));
            }
        }
        before = after;
    }
    drop(bare);
    let mut site = Site::start(&text);
    let sentinels = site.sentinels();
    let mut before = drops(&site);
    for index in 0..count {
        let sent = send(&mut site, index, &sentinels);
        let after = drops(&site);
        for (zone, Attack { name, .. }, reason, came) in sent {
            let device = device(&site, zone);
            let of = |drops: &Drops| drops.get(&device).cloned().unwrap_or_default();
            let (before, after) = (of(&before), of(&after));
            let counted: Vec<_> = after
                .iter()
                .filter(|(reason, count)| before.get(*reason).unwrap_or(&0) < *count)
                .map(|(reason, _)| reason.as_str())
                .collect();
            if counted != [reason] || came != 0 {
                wrong.push(format!("{zone}, {name}: {reason} expected, {counted:?}; {came} came"));
            }
        }
        before = after;
    }
    println!("{count} attacks at each of {} ports", attackers(&site).len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    eight_thousand_sources(&mut site);
}

/// A board that poses as ever new senders fills nothing: each is dropped and counted, and others are
/// served meanwhile.
fn eight_thousand_sources(site: &mut Site) {
    let from = site.leg(Zone::Board(1));
    let (leg, other) = (site.panel.legs()[from].clone(), site.leg(Zone::Board(2)));
    let other = site.panel.legs()[other].clone();
    let sentinels = site.sentinels();
    let before = drops(site);
    let frames: Vec<_> =
        (0..SOURCES).map(|number| frames::stranger(&leg, &other, number)).collect();
    let seen = site.panel.exchange(from, &frames, &sentinels).unwrap();
    assert!(!seen.iter().any(|seen| seen.carries(MARK)));
    let count = |drops: &Drops| ["src-mac", "src-ip4", "src-ip6"].map(|it| drops["eth1"][it]);
    let (before, after) = (count(&before), count(&drops(site)));
    let counted: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    println!("{SOURCES} sources: {counted:?}");
    assert_eq!(counted.iter().sum::<u64>(), SOURCES as u64);
    assert!(counted.iter().all(|count| *count >= SOURCES as u64 / 4));
}
