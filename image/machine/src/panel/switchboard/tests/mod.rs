//! The switchboard with a router that is made of a table.

mod router;

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::panel::raw::transport::{self, TCP, UDP, flags};
use crate::panel::raw::{self, ethernet};
use crate::panel::{Mac, Verdict, Wire, wire};
use router::{Router, Table};

const UPLINK: usize = 0;
const ONE: usize = 1;
const TWO: usize = 2;
const LAN: usize = 3;

fn legs() -> Vec<Leg> {
    let card = |number: u8| Mac::number(100 + number);
    let mut lan = Leg::lan(Mac::number(200), card(3));
    lan.others.push("10.20.250.77".parse().unwrap());
    vec![
        Leg::uplink(Mac::number(201), card(0)),
        Leg::board(1, card(1)),
        Leg::board(2, card(2)),
        lan,
    ]
}

/// A switchboard and its router, with the wires between them, all of which pass everything.
fn start(table: Table) -> (Switchboard, Vec<Wire>) {
    let (mut ends, mut cards, mut wires) = (vec![], vec![], vec![]);
    for leg in legs() {
        let ((test, a), (b, card)) = (Port::pair().unwrap(), Port::pair().unwrap());
        wires.push(Wire::join(a, b));
        ends.push((test, leg));
        cards.push(card.split());
    }
    let (outs, frames): (Vec<_>, Vec<_>) = cards.into_iter().unzip();
    let router = Arc::new(Router { legs: legs(), outs, table });
    for (leg, frames) in frames.into_iter().enumerate() {
        let router = Arc::clone(&router);
        thread::spawn(move || {
            for frame in frames {
                router.take(leg, &frame);
            }
        });
    }
    (Switchboard::new(ends), wires)
}

fn kinds() -> [Traffic; 5] {
    [Traffic::Tcp(80), Traffic::Udp(5000), Traffic::Ping, Traffic::Protocol(47), Traffic::Tcp(81)]
}

/// From each leg to each, by both versions, each kind.
fn all_pairs(legs: &[Leg]) -> Vec<(Probe, usize)> {
    let mut probes = vec![];
    for from in 0..legs.len() {
        for (to, leg) in legs.iter().enumerate().filter(|(to, _)| *to != from) {
            for address in [IpAddr::from(leg.test.ipv4), leg.test.ipv6.into()] {
                probes.extend(kinds().map(|kind| (Probe::new(from, address, kind), to)));
            }
        }
    }
    probes
}

/// The router, which answers on every leg.
fn pings(legs: &[Leg]) -> Vec<Sentinel> {
    let ping = |(from, leg): (usize, &Leg)| {
        let probe = Probe::new(from, leg.router.ipv4.into(), Traffic::Ping);
        Sentinel::Probe(probe, ProbeOutcome::Answered)
    };
    legs.iter().enumerate().map(ping).collect()
}

fn table() -> Table {
    [
        (ONE, TWO, Traffic::Tcp(80)),
        (ONE, TWO, Traffic::Ping),
        (TWO, ONE, Traffic::Udp(5000)),
        (TWO, LAN, Traffic::Protocol(47)),
        (LAN, UPLINK, Traffic::Tcp(81)),
        (UPLINK, TWO, Traffic::Tcp(80)),
    ]
    .into()
}

#[test]
fn all_pairs_come_out_where_the_table_says() {
    // Also when what one board says comes late to the router, and lies on the wire to another one when
    // all sentinels but that board's have been delivered.
    for delay in [Duration::ZERO, Duration::from_millis(40)] {
        let (mut switchboard, wires) = start(table());
        for (leg, slow, delay) in [(ONE, wire::End::A, delay), (TWO, wire::End::B, 2 * delay)] {
            wires[leg].rule(move |end, _| match end == slow {
                true => Verdict::Delay(delay),
                false => Verdict::Pass,
            });
        }
        let probes = all_pairs(switchboard.legs());
        let expected: Vec<_> = probes
            .iter()
            .map(|(probe, to)| match table().contains(&(probe.from, *to, probe.traffic)) {
                true => ProbeOutcome::Out(*to),
                false => ProbeOutcome::Dropped,
            })
            .collect();
        let probes: Vec<_> = probes.into_iter().map(|(probe, _)| probe).collect();
        let sentinels = pings(switchboard.legs());
        let came = switchboard.sweep(&probes, &sentinels).unwrap();
        assert_eq!(came.len(), probes.len());
        for ((probe, expected), came) in probes.iter().zip(&expected).zip(&came) {
            assert_eq!(came, expected, "{probe:?}");
        }
        assert_eq!(
            came.iter().filter(|came| **came != ProbeOutcome::Dropped).count(),
            2 * table().len()
        );
    }
}

#[test]
fn what_the_router_answers_is_told_from_silence() {
    let (mut switchboard, _wires) = start(Table::new());
    let sentinels = pings(switchboard.legs());
    let router = switchboard.legs()[TWO].router;
    let silent = Traffic::Udp(123);
    let kinds = [4040, 22].map(Traffic::Tcp).into_iter().chain([53, 7, 9].map(Traffic::Udp));
    let kinds: Vec<_> = kinds.chain([Traffic::Ping, Traffic::Protocol(99), silent]).collect();
    for address in [IpAddr::from(router.ipv4), router.ipv6.into()] {
        for says in [&b""[..], b"a question"] {
            let probe = |kind: &Traffic| Probe::new(ONE, address, *kind).with_payload(says);
            let probes: Vec<_> = kinds.iter().map(probe).collect();
            let came = switchboard.sweep(&probes, &sentinels).unwrap();
            for (kind, came) in kinds.iter().zip(came) {
                let expected =
                    if *kind == silent { ProbeOutcome::Dropped } else { ProbeOutcome::Answered };
                assert_eq!(came, expected, "{kind:?} to {address}");
            }
        }
    }
}

#[test]
fn an_answer_for_somebody_else_comes_out_there() {
    let (mut switchboard, _wires) = start([(ONE, LAN, Traffic::Udp(9))].into());
    let sentinels = [Sentinel::Neighbour(ONE)];
    let [two, lan] = [TWO, LAN].map(|leg| switchboard.legs()[leg].clone());
    let probes = [
        // As another board; the router does not look at it.
        Probe::new(ONE, two.router.ipv4.into(), Traffic::Ping).from_address(two.test.ipv4.into()),
        // To another device of the same leg, and with words of its own.
        Probe::new(ONE, lan.others[0], Traffic::Udp(9)),
        Probe::new(ONE, lan.test.ipv6.into(), Traffic::Udp(9)).with_payload(b"words"),
    ];
    let came = switchboard.sweep(&probes, &sentinels).unwrap();
    assert_eq!(came, [ProbeOutcome::Out(TWO), ProbeOutcome::Out(LAN), ProbeOutcome::Out(LAN)]);
    assert!(switchboard.recorded().iter().any(|seen| seen.leg == LAN && seen.contains(b"words")));
}

#[test]
fn what_comes_out_twice_is_not_taken_for_once() {
    let (mut switchboard, wires) = start([(ONE, TWO, Traffic::Udp(9))].into());
    // The same frames on a wire where they do not belong.
    let (sender, flood) = channel::<Vec<u8>>();
    wires[TWO].rule(move |end, frame| {
        if end == wire::End::B && frame[23] == UDP {
            let _ = sender.send(frame.to_vec());
        }
        Verdict::Pass
    });
    let to = switchboard.legs()[TWO].test.ipv4;
    let probes = [Probe::new(ONE, to.into(), Traffic::Udp(9))];
    let came = switchboard.sweep(&probes, &[Sentinel::Neighbour(ONE)]).unwrap();
    assert_eq!(came, [ProbeOutcome::Out(TWO)]);
    let mut watch = Watch::default();
    watch.add(ONE, FIRST_TAG);
    let frame = flood.recv().unwrap();
    watch.record(&CapturedFrame { leg: TWO, frame: frame.clone() });
    watch.record(&CapturedFrame { leg: LAN, frame });
    let several = ProbeOutcome::Several { out: vec![TWO, LAN], answered: false };
    assert_eq!(watch.outcomes().collect::<Vec<_>>(), [several]);
}

#[test]
fn without_its_sentinel_nothing_is_said() {
    let (mut switchboard, wires) = start(table());
    let legs = switchboard.legs().to_vec();
    let to = |leg: usize| IpAddr::from(legs[leg].test.ipv4);
    let probes = [Probe::new(ONE, to(TWO), Traffic::Tcp(22))];
    // It is delivered.
    let allowed = Probe::new(ONE, to(TWO), Traffic::Tcp(80));
    let sentinels = [Sentinel::Probe(allowed.clone(), ProbeOutcome::Out(TWO))];
    assert_eq!(switchboard.sweep(&probes, &sentinels).unwrap(), [ProbeOutcome::Dropped]);
    // It is not where it should be.
    let mut switchboard = switchboard.tries(2);
    let sentinels = [Sentinel::Probe(allowed, ProbeOutcome::Out(LAN))];
    let error = switchboard.sweep(&probes, &sentinels).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("not Out(3) but [Out(2)"), "{error}");
    // What the sender says is lost, and what the receiver would have seen.
    for lost in [ONE, TWO] {
        wires[lost].cut();
        let error = switchboard.sweep(&probes, &[Sentinel::Neighbour(ONE)]).unwrap_err();
        assert!(error.to_string().contains(&format!("say to {} that", legs[lost].zone)), "{error}");
        wires[lost].restore();
    }
    // Probes would be sent to somebody else than the router.
    let right = std::mem::replace(&mut switchboard.legs[ONE].router.mac, Mac::number(99));
    let error = switchboard.sweep(&probes, &[Sentinel::Neighbour(ONE)]).unwrap_err();
    assert!(error.to_string().contains("that it is at 02:00:00:00:00:63"), "{error}");
    switchboard.legs[ONE].router.mac = right;
    // There is none, or none that could tell anything.
    let none = switchboard.sweep(&probes, &[Sentinel::Neighbour(TWO)]).unwrap_err();
    assert_eq!(none.to_string(), "board-1 has no sentinel");
    let sentinels = [Sentinel::Probe(probes[0].clone(), ProbeOutcome::Dropped)];
    let idle = switchboard.sweep(&probes, &sentinels).unwrap_err();
    assert_eq!(idle.kind(), io::ErrorKind::InvalidInput);
    let mut switchboard = switchboard.tries(MAX_TRIES);
    assert_eq!(switchboard.sweep(&probes, &pings(&legs)).unwrap(), [ProbeOutcome::Dropped]);
}

#[test]
fn a_sentinel_that_is_lost_is_sent_again() {
    let (mut switchboard, wires) = start(table());
    let sentinels = pings(switchboard.legs());
    let mut lost = 0;
    wires[ONE].rule(move |_, frame| {
        // The first one of each kind: a question by ARP, a ping, a question by IPv6.
        let kind = [[8, 6], [8, 0], [0x86, 0xdd]][lost.min(2)];
        let first = lost < 3 && frame[12..14] == kind;
        lost += usize::from(first);
        if first { Verdict::Drop } else { Verdict::Pass }
    });
    let to = switchboard.legs()[LAN].test.ipv6;
    let probes = [Probe::new(ONE, to.into(), Traffic::Tcp(22))];
    assert_eq!(switchboard.sweep(&probes, &sentinels).unwrap(), [ProbeOutcome::Dropped]);
    assert_eq!(wires[ONE].recorded().iter().filter(|it| it.verdict == Verdict::Drop).count(), 3);
}

#[test]
fn an_answer_to_a_question_that_was_asked_again_is_not_on_record() {
    let (mut switchboard, wires) = start(table());
    let probe = Probe::new(ONE, switchboard.legs()[TWO].test.ipv4.into(), Traffic::Tcp(80));
    // Longer than until the first question is asked again.
    let slow = Duration::from_millis(700);
    wires[ONE].rule(move |end, _| match end {
        wire::End::B => Verdict::Delay(slow),
        wire::End::A => Verdict::Pass,
    });
    for _ in 0..2 {
        let came = switchboard.sweep(std::slice::from_ref(&probe), &[Sentinel::Neighbour(ONE)]);
        assert_eq!(came.unwrap(), [ProbeOutcome::Out(TWO)]);
    }
    let answers = wires[ONE].recorded().iter().filter(|it| it.from == wire::End::B).count();
    assert!(answers > 4, "none was asked twice");
    let seen = switchboard.recorded();
    assert!(seen.iter().all(|seen| seen.leg == TWO), "{seen:?}");
    assert_eq!(seen.len(), 2);
}

#[test]
fn who_asks_for_the_test_is_told_and_raw_frames_are_followed() {
    let (mut switchboard, _wires) = start(table());
    let legs = legs();
    let ends = (legs[ONE].test.ipv4.into(), legs[TWO].test.ipv4.into());
    let syn = |port| transport::tcp(ends, (1234, port), flags::SYN | flags::URG, (1, 0), b"raw");
    let frame = |port| {
        let macs = (legs[ONE].test.mac, legs[ONE].router.mac);
        ethernet::ip(macs, &raw::packet(ends, TCP, &syn(port)))
    };
    let sentinels = [Sentinel::Neighbour(ONE)];
    let seen = switchboard.exchange(ONE, &[frame(80), frame(22)], &sentinels).unwrap();
    let out: Vec<_> = seen.iter().map(|seen| (seen.leg, seen.contains(b"raw"))).collect();
    assert_eq!(out, [(TWO, true)]);
    // A guest asks; nobody but the asker sees the answer.
    let ((test, leg), router) = (Port::pair().unwrap(), &legs[LAN].router);
    let mut switchboard = Switchboard::new(vec![(test, legs[LAN].clone())]);
    let soon = Instant::now() + Duration::from_secs(60);
    let test = legs[LAN].test;
    let own =
        [test.ipv4.into(), test.ipv6.into(), link_local(test.mac).into(), legs[LAN].others[0]];
    for target in own {
        let (group, everybody) = packet::solicitation_target(target);
        let from = router.source_address(target);
        let macs = (router.mac, everybody);
        leg.send(&packet::neighbour(macs, from, group, target, true)).unwrap();
        let answer = packet::parse(&leg.receive(soon).unwrap());
        let is_at = ReceivedPacket::IsAt { address: target, mac: test.mac, to: from };
        assert_eq!(answer, Some((router.mac, is_at)));
    }
    let other = IpAddr::from(router.ipv4);
    let asks = packet::neighbour((router.mac, ethernet::BROADCAST), other, other, other, true);
    leg.send(&asks).unwrap();
    while switchboard.recorded().is_empty() {
        thread::yield_now();
    }
    assert_eq!(switchboard.recorded(), [CapturedFrame { leg: 0, frame: asks }]);
}

/// Whatever takes its frames, each once and in their order.
#[test]
fn a_storm_goes_on_until_it_is_ended() {
    let (test, card) = Port::pair().unwrap();
    let panel = Switchboard::new(vec![(test, Leg::board(1, Mac::number(101)))]);
    let storm = panel.storm(0, 5000, |number| number.to_be_bytes().to_vec());
    let soon = Instant::now() + Duration::from_secs(180);
    for number in 0..100_u64 {
        assert_eq!(card.receive(soon).as_deref(), Some(&number.to_be_bytes()[..]));
    }
    assert!(storm.end().unwrap() >= 100);
}
