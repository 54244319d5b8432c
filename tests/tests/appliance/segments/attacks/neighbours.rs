//! Neighbour entries that packets at a port cause: the kernel has one table for all ports.
//! Impossible neighbours get no entry, and the rate of all others is limited.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use octet_evaluator::Zone;
use octet_machine::panel::Mac;
use octet_machine::panel::raw::{self, arp, dhcp, ethernet, icmp, nd, transport};
use octet_machine::panel::switchboard::Leg;
use octet_tests::SOON;

use super::{Drops, drops};
use crate::segments::site::Site;

/// The policies by which a board reaches all devices of the owner's, and external hosts get answers
/// of the router.
pub const LINES: &str = r#"
[[policy]]
from = "uplink"
to = "router"
protocol = "icmp"

[[policy]]
from = "boards"
to = "lan"
protocol = "udp"
ports = [7000]
"#;

/// More than the limit per second.
const MANY: u128 = 256;

/// The counters of drops, and their devices.
const LIMITED: [(&str, &str); 5] = [
    ("eth0", "neighbours"),
    ("eth5", "neighbours"),
    ("eth1", "too-many"),
    ("eth0", "too-many"),
    ("eth5", "too-many"),
];

/// The first number of the hosts that send requests to the router.
const ASKERS: u128 = 0x2000;

fn datagram(leg: &Leg, to: IpAddr, port: u16, says: &[u8]) -> Vec<u8> {
    let ends = (leg.test.source_address(to), to);
    let datagram = transport::udp(ends, (5600, port), says);
    ethernet::ip((leg.test.mac, leg.router.mac), &raw::packet(ends, transport::UDP, &datagram))
}

/// An address in the network of `own`, by its number.
fn one_of_many(own: Ipv6Addr, number: u128) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(own) & !0xffff_ffff | 0x1_0000 | number)
}

fn counted(before: &Drops, after: &Drops, device: &str, reason: &str) -> u64 {
    let count =
        |drops: &Drops| drops.get(device).and_then(|all| all.get(reason)).copied().unwrap_or(0);
    count(after) - count(before)
}

/// A policy for a board covers the board only, and not its whole network.
fn nobody_is_looked_for_where_nobody_can_be(site: &mut Site) {
    let leg = site.panel.legs()[site.leg(Zone::Board(1))].clone();
    let at = site.leg(Zone::Board(2));
    let other = site.panel.legs()[at].test;
    let [a, b, c, _] = other.ipv4.octets();
    let absent = [
        IpAddr::from(Ipv4Addr::new(a, b, c, 77)),
        Ipv6Addr::from(u128::from(other.ipv6) + 75).into(),
    ];
    let there = [IpAddr::from(other.ipv4), other.ipv6.into()];
    let frames: Vec<_> =
        there.iter().chain(&absent).map(|to| datagram(&leg, *to, 5000, b"octet whom")).collect();
    let (sentinels, before) = (site.sentinels(), drops(site));
    let seen = site.panel.exchange(site.leg(Zone::Board(1)), &frames, &sentinels).unwrap();
    let came = seen.iter().filter(|seen| seen.leg == at && seen.contains(b"octet whom")).count();
    assert_eq!(came, there.len(), "the board itself is reached");
    let asked = seen.iter().find(|seen| {
        absent.iter().any(|it| match it {
            IpAddr::V4(it) => seen.contains(&it.octets()),
            IpAddr::V6(it) => seen.contains(&it.octets()),
        })
    });
    assert_eq!(asked, None);
    assert_eq!(counted(&before, &drops(site), "eth1", "denied"), absent.len() as u64);
}

/// Hosts that resolve the router's address, hosts that send it other requests, and packets to hosts
/// that it would have to resolve. Others are served meanwhile.
fn no_port_fills_the_table(site: &mut Site) {
    let mut frames = vec![];
    for zone in [Zone::Lan, Zone::Uplink] {
        let at = site.leg(zone);
        let (test, router) = (site.panel.legs()[at].test, site.panel.legs()[at].router);
        frames.extend((0..MANY).map(|number| {
            let ends = (one_of_many(test.ipv6, number), router.ipv6);
            let mac = Mac::number(77);
            let asks = nd::Message::Solicit { target: router.ipv6 };
            let packet = asks.packet(ends, nd::HOP_LIMIT, &[nd::Link::Source(mac)]);
            (at, ethernet::ip((mac, router.mac), &packet))
        }));
        frames.extend((0..MANY).map(|number| {
            let ends = (one_of_many(test.ipv6, ASKERS + number).into(), router.ipv6.into());
            let packet = match zone {
                Zone::Lan => {
                    let asks = transport::syn(ends, (5700, 53), 0, 1220);
                    raw::packet(ends, transport::TCP, &asks)
                }
                _ => raw::packet(ends, icmp::ICMPV6, &icmp::echo(ends, true, (1, 1), b"octet")),
            };
            (at, ethernet::ip((test.mac, router.mac), &packet))
        }));
    }
    let (board, lan) = (site.leg(Zone::Board(1)), site.leg(Zone::Lan));
    let leg = site.panel.legs()[board].clone();
    let devices = site.panel.legs()[lan].test.ipv6;
    frames.extend((0..MANY).map(|number| {
        let to = one_of_many(devices, 0x1000 + number).into();
        (board, datagram(&leg, to, 7000, b"octet absent"))
    }));
    let of_another = site.leg(Zone::Board(2));
    let other = site.panel.legs()[of_another].clone();
    frames.push((of_another, datagram(&other, devices.into(), 7000, b"octet present")));
    let (sentinels, deadline) = (site.sentinels(), Instant::now() + SOON);
    // On a busy host the frames may arrive so slowly that the limit is not reached.
    let (before, seen, after) = loop {
        let before = drops(site);
        let seen = site.panel.exchange_all(&frames, &sentinels).unwrap();
        let after = drops(site);
        let is_counted =
            |(device, reason): &(&str, &str)| counted(&before, &after, device, reason) > 0;
        if LIMITED.iter().all(is_counted) {
            break (before, seen, after);
        }
        assert!(Instant::now() < deadline, "late: all are let");
    };
    for (device, reason) in &LIMITED[..3] {
        let counted = counted(&before, &after, device, reason);
        println!("{device}: of {MANY} {counted} are {reason}");
        assert!(counted > 0 && counted < MANY as u64, "{device}: {counted} are {reason}");
    }
    // A host without an answer may retry, and is counted each time.
    for (device, zone) in [("eth0", Zone::Uplink), ("eth5", Zone::Lan)] {
        let at = site.leg(zone);
        let own = site.panel.legs()[at].test.ipv6;
        let is_looked_for = |number: &u128| {
            let asker = one_of_many(own, ASKERS + number).octets();
            seen.iter().any(|seen| seen.leg == at && seen.contains(&asker))
        };
        let (looked_for, counted) = (
            (0..MANY).filter(is_looked_for).count() as u128,
            counted(&before, &after, device, "too-many"),
        );
        println!("{zone}: of {MANY} who ask {looked_for} are looked for, {counted} are too-many");
        assert!(looked_for > 0 && looked_for < MANY && counted > 0, "{zone}: {looked_for}");
    }
    let served = seen.iter().any(|seen| seen.leg == lan && seen.contains(b"octet present"));
    assert!(served, "another board reaches nobody");
}

/// A probe for the router's address (RFC 5227) is answered, and a client may renew its lease by
/// broadcast (RFC 2131, 4.4.5).
fn who_asks_for_an_address_is_heard(site: &mut Site) {
    let lan = site.leg(Zone::Lan);
    let leg = site.panel.legs()[lan].clone();
    let nobody = Ipv4Addr::UNSPECIFIED;
    let probe = arp::Arp::request((leg.test.mac, nobody), leg.router.ipv4);
    let frame = probe.frame((leg.test.mac, ethernet::BROADCAST));
    let sentinels = site.sentinels();
    let seen = site.panel.exchange(lan, &[frame], &sentinels).unwrap();
    let told = arp::Arp::reply((leg.router.mac, leg.router.ipv4), (leg.test.mac, nobody));
    assert!(seen.iter().any(|seen| seen.leg == lan && seen.contains(&told.packet())), "{seen:?}");

    let asked = |site: &Site| site.shown()["lines"]["built_in_dhcp"].as_u64().unwrap();
    let before = asked(site);
    let zones = [Zone::Board(1), Zone::Lan];
    let frames = zones.map(|zone| {
        let Leg { test, router, .. } = &site.panel.legs()[site.leg(zone)];
        let ends = (test.ipv4.into(), Ipv4Addr::BROADCAST.into());
        let asks = dhcp::request(test.mac, test.ipv4, router.ipv4);
        let datagram = transport::udp(ends, (dhcp::CLIENT, dhcp::SERVER), &asks);
        let packet = raw::packet(ends, transport::UDP, &datagram);
        (site.leg(zone), ethernet::ip((test.mac, ethernet::BROADCAST), &packet))
    });
    site.panel.exchange_all(&frames, &sentinels).unwrap();
    assert_eq!(asked(site) - before, zones.len() as u64);
}

/// All of these, after which netd is still the same process.
pub fn only_so_many(site: &mut Site) {
    let netd = |site: &Site| {
        let status = site.machine.status().unwrap();
        let unit = status.unit("netd").unwrap();
        (unit.restarts, unit.pid)
    };
    let before = netd(site);
    nobody_is_looked_for_where_nobody_can_be(site);
    who_asks_for_an_address_is_heard(site);
    no_port_fills_the_table(site);
    assert_eq!(netd(site), before);
}
