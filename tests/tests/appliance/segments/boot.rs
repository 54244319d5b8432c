//! From power-on until the router is ready, and afterwards, no packet passes without a policy.

use std::thread::sleep;
use std::time::Instant;

use octet_evaluator::{Traffic, Zone};
use octet_machine::panel::switchboard::{Probe, ProbeOutcome, Traffic as Kind};
use octet_tests::{RETRY_DELAY, SOON, soak};

use crate::segments::attacks::NODE;
use crate::segments::site::{Site, probe, text};
use crate::segments::sweep::pairs;

const LINES: &str = r#"
[[policy]]
from = ["board-1", "board-3", "uplink"]
to = "board-2"
protocol = "tcp"
ports = [8080]

[[policy]]
from = ["board-2", "lan"]
to = ["uplink", "board-4"]
protocol = "udp"
ports = [5000]

[[policy]]
from = "lan"
to = "boards"
protocol = "icmp"
"#;

/// A probe that is repeated.
struct Sent {
    name: String,
    probe: Probe,
    is_for_router: bool,
    /// The expected result, if it may pass. Whether the router accepts a packet is visible by its
    /// answer.
    expected: Option<ProbeOutcome>,
}

/// From every zone to every other one and to the router: allowed and denied probes.
fn honest(site: &Site) -> Vec<Sent> {
    let traffic =
        [Traffic::Tcp(8080), Traffic::Tcp(53), Traffic::Udp(5000), Traffic::Ping, Traffic::Tcp(22)];
    let mut asked = pairs(&site.world.zones(), &traffic);
    // The router answers at most 20 pings per second.
    asked.retain(|(_, to, what, _)| *to != Zone::Router || *what != Traffic::Ping);
    let sent = |(from, to, what, version)| {
        let expected = match site.world.reaches(from, to, what, version) {
            Some(Zone::Router) => Some(ProbeOutcome::Answered),
            Some(zone) => Some(ProbeOutcome::Out(site.leg(zone))),
            None => None,
        };
        let name = format!("{from} to {to}, {what} of {version}");
        let probe = probe(&site.panel, (from, to, what, version));
        Sent { name, probe, is_for_router: to == Zone::Router, expected }
    };
    asked.into_iter().map(sent).collect()
}

/// Probes that would be allowed with the sender's own address.
fn spoofed(site: &Site) -> Vec<Sent> {
    let mut sent = vec![];
    for (from, to, kind) in [
        (Zone::Board(1), Zone::Board(2), Kind::Tcp(8080)),
        (Zone::Board(3), Zone::Board(2), Kind::Tcp(8080)),
        (Zone::Uplink, Zone::Board(2), Kind::Tcp(8080)),
        (Zone::Board(2), Zone::Board(4), Kind::Udp(5000)),
        (Zone::Lan, Zone::Board(4), Kind::Udp(5000)),
        (Zone::Lan, Zone::Board(1), Kind::Ping),
    ] {
        let legs = site.panel.legs();
        let (index, target) = (site.leg(from), legs[site.leg(to)].test);
        let others = legs.iter().filter(|leg| leg.zone != from.to_string());
        let others = others.filter(|leg| leg.zone != to.to_string()).map(|leg| leg.test);
        // External hosts may have any address that is not internal.
        let router = (from != Zone::Uplink).then_some(legs[index].router);
        for other in others.chain(router) {
            let ends =
                [(other.ipv4.into(), target.ipv4.into()), (other.ipv6.into(), target.ipv6.into())];
            sent.extend(ends.map(|(source, to)| Sent {
                name: format!("{kind:?} from {from}, which says that it is {source}, to {to}"),
                probe: Probe::new(index, to, kind).from_address(source),
                is_for_router: false,
                expected: None,
            }));
        }
    }
    sent
}

/// Packets to nodes from zones that may reach the outside, and packets from outside with a node's
/// address. Before `forward` starts no device leads to nodes, and afterwards none does, because
/// there is no path.
fn of_nodes(site: &Site) -> Vec<Sent> {
    let senders = [Zone::Board(2), Zone::Lan].map(|from| {
        let probe = Probe::new(site.leg(from), NODE.into(), Kind::Udp(5000));
        (format!("{from} to a node"), probe)
    });
    let board = site.panel.legs()[site.leg(Zone::Board(2))].test.ipv6;
    let posing = Probe::new(site.leg(Zone::Uplink), board.into(), Kind::Tcp(8080));
    let posing = ("uplink as a node".to_owned(), posing.from_address(NODE.into()));
    let sent = |(name, probe)| Sent { name, probe, is_for_router: false, expected: None };
    senders.into_iter().chain([posing]).map(sent).collect()
}

/// The denied probes that have passed, and the allowed ones that have not, from power-on on.
fn from_power_on(boards: u8, fault: Option<&str>) -> (Vec<String>, Vec<String>) {
    let mut site = Site::power_on(&text(boards, LINES), fault);
    let sent = [honest(&site), spoofed(&site), of_nodes(&site)];
    let sent: Vec<_> = sent.into_iter().flatten().collect();
    let probes: Vec<_> = sent.iter().map(|sent| sent.probe.clone()).collect();
    let mut barrage = site.panel.barrage(&probes);
    site.wait_ready();
    site.wait_addresses();
    let sentinels = site.sentinels();
    let (ready, before) = (site.panel.recorded().len(), barrage.rounds());
    let deadline = Instant::now() + SOON;
    // The legs get their addresses at different times, and on a busy host the answers may be late.
    let is_missing = |sent: &Sent, after: &ProbeOutcome| match (after, &sent.expected) {
        (ProbeOutcome::Several { out, .. }, Some(ProbeOutcome::Out(leg))) => out != &[*leg],
        (after, Some(expected)) => after != expected,
        (_, None) => false,
    };
    let mut rounds = before + 3;
    loop {
        while barrage.rounds() < rounds {
            assert!(Instant::now() < deadline, "late: {}", site.machine.tail(30));
            sleep(RETRY_DELAY);
        }
        let after = barrage.outcomes(&site.panel.recorded()[ready..]);
        let all_came = !sent.iter().zip(&after).any(|(sent, after)| is_missing(sent, after));
        if all_came || Instant::now() >= deadline {
            break;
        }
        rounds += 1;
    }
    site.panel.stop_barrage(&mut barrage, &sentinels).unwrap();
    let seen = site.panel.recorded();
    let (all, after) = (barrage.outcomes(seen), barrage.outcomes(&seen[ready..]));
    println!(
        "{} probes, at least {before} times before ready; {ready} frames came until then, {} later",
        sent.len(),
        seen.len() - ready
    );
    let (mut holes, mut missing) = (vec![], vec![]);
    for ((sent, all), after) in sent.iter().zip(all).zip(after) {
        let is_hole = match (&all, &sent.expected) {
            (ProbeOutcome::Dropped, _) => false,
            (ProbeOutcome::Out(_), expected) => expected.as_ref() != Some(&all),
            // Until the router has all routes, it sends ICMP errors for IPv6.
            (ProbeOutcome::Answered, None) => sent.is_for_router,
            (ProbeOutcome::Answered, Some(_)) => false,
            (ProbeOutcome::Several { out, .. }, Some(ProbeOutcome::Out(leg))) => out != &[*leg],
            (ProbeOutcome::Several { .. }, _) => true,
        };
        if is_hole {
            holes.push(format!("{all:?}: {}", sent.name));
        }
        if is_missing(sent, &after) {
            missing.push(format!("{after:?}: {}", sent.name));
        }
    }
    (holes, missing)
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn nothing_passes_before_the_rules_stand() {
    let rounds: &[u8] = if soak() { &[4, 8, 16, 4, 8, 4, 8, 4, 8, 4] } else { &[4] };
    for boards in rounds {
        let (holes, missing) = from_power_on(*boards, None);
        assert!(holes.is_empty(), "{boards} boards: {holes:#?}");
        assert!(missing.is_empty(), "{boards} boards: {missing:#?}");
    }
    // The same probes detect the hole of a netd that loads the rules last.
    let (holes, _) = from_power_on(4, Some("reversed"));
    println!("links before rules: {} holes, such as {:#?}", holes.len(), holes.first());
    assert!(!holes.is_empty());
}
