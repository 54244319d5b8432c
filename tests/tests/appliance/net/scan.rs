//! Only the gate's port is reachable; and on the board itself the ports that unit files name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use octet_machine::panel::{Kind, Reply, Segment, Station};
use octet_machine::{Machine, Port};
use octet_tests::{READY, guest, soak};
use serde_json::{Value, json};

use crate::net::guest::{
    BOX, BOX_LINK, ECHO, GATE, TEST, WEB, kill, show, start, that_forwards, with_doors,
    with_network,
};
use crate::net::on_board::{have_knocked, with_knockers};

/// The number of kills of netd between probes.
const KILLS: usize = 3;

/// The number of datagrams in a burst.
const AT_ONCE: usize = 64;

/// The number of repetitions of a packet for another host.
pub const ROUNDS: usize = 3;

/// The number of repetitions where an effect is certain.
const MANY: usize = 1000;

/// Another host on the link, to which only a forwarding box would send packets.
const OTHER: [&str; 2] = ["192.0.2.99", "2001:db8::99"];

/// The probed ports: those below 1024, and the test's own with adjacent ones; all ports with
/// `--soak`.
pub fn ports() -> BTreeSet<u16> {
    if soak() {
        return (1..=u16::MAX).collect();
    }
    let near = |port: u16| port - 1..=port + 1;
    let numbers = METRICS.into_iter().chain([OBJECTS, 8443, 65_535]);
    (1..1024).chain(near(GATE)).chain(near(ECHO)).chain(numbers).collect()
}

/// The answering TCP ports and UDP ports. Rejections count as answers.
type Answers = [BTreeSet<(u16, Reply)>; 2];

fn scan(station: &mut Station, target: IpAddr) -> Answers {
    let tcp = station.scan_tcp(target, ports(), GATE).unwrap();
    let udp = station.scan_udp(target, ports(), GATE).unwrap();
    println!(
        "{target}: of {} ports, TCP {} and UDP {} answer",
        ports().len(),
        tcp.len(),
        udp.len()
    );
    [tcp.into_iter().collect(), udp.into_iter().collect()]
}

fn only_the_gate() -> Answers {
    [[(GATE, Reply::Open)].into(), [(GATE, Reply::Open)].into()]
}

/// Sends packets for another host to the box, and returns those that it forwards. They are
/// repeated, because the box has to resolve the other host's MAC address first.
fn forwarded(station: &mut Station, target: IpAddr) -> BTreeSet<(IpAddr, u16)> {
    let to = station.resolve(target).unwrap();
    let from = station.source_address(target).unwrap();
    let like = |other: &IpAddr| other.is_ipv4() == target.is_ipv4();
    let other = others().into_iter().find(like).unwrap();
    let probe = |port, kind| Segment { from: (from, 1234), to: (other, port), kind };
    let probes = [probe(80, Kind::Syn), probe(53, Kind::Udp)];
    let mut passed = BTreeSet::new();
    for _ in 0..ROUNDS {
        let heard = station.exchange(to, &probes, (target, GATE)).unwrap();
        passed.extend(heard.iter().map(|segment| segment.to).filter(|to| to.0 == other));
    }
    passed
}

/// The addresses of the box, and of the test on the same networks.
pub fn network() -> Value {
    json!({ "address": ["192.0.2.7/24", "2001:db8::7/64"], "gateway": "192.0.2.1" })
}

pub fn boxes() -> [IpAddr; 3] {
    ["192.0.2.7", "2001:db8::7", BOX_LINK].map(|text| text.parse().unwrap())
}

pub fn station(port: Port) -> Station {
    let ours = ["192.0.2.1", "2001:db8::1", "fe80::2"].map(|text| text.parse().unwrap());
    Station::new(port, TEST, &[&ours[..], &others()].concat())
}

/// Whether `target` reacts to datagrams at its ports, by an answer or an ICMP error. The kernel
/// rate-limits errors, and a program answers when it is scheduled, so a port that accepts
/// connections is polled `rounds` more times, or until there is a reaction. [`LINKS`] is open
/// whether there is a listener or not, and is not probed.
pub fn datagrams_are_answered(station: &mut Station, target: IpAddr, rounds: usize) -> bool {
    let (to, from) = (station.resolve(target).unwrap(), station.source_address(target).unwrap());
    let mut exchange = |ports: &[u16]| {
        let probe = |port| Segment { from: (from, 1234), to: (target, port), kind: Kind::Udp };
        let probes: Vec<_> = ports.iter().copied().map(probe).collect();
        let heard = station.exchange(to, &probes, (target, GATE)).unwrap();
        // An ICMP error quotes the probe, and an answer is sent to its port.
        heard.iter().any(|it| it.from == (from, 1234) || it.to == (from, 1234))
    };
    let ports: Vec<_> = ports().into_iter().filter(|it| *it != LINKS).collect();
    let answered = ports.chunks(AT_ONCE).fold(false, |any, some| exchange(some) | any);
    answered || (0..rounds).any(|_| exchange(&[]))
}

#[test]
fn only_the_gate_answers_and_nothing_is_forwarded() {
    without_rules();
    let remake = with_knockers(that_forwards(with_doors()));
    let (machine, port) = start(with_network(remake, &network()));
    let mut station = station(port);
    // The probes start before the link is up, so that the first packet that can pass is one of
    // them.
    assert_eq!(knock(&mut station), [GATE].into());
    machine.wait_ready(READY).unwrap();
    have_knocked(&machine);
    for target in boxes() {
        let mut answers = scan(&mut station, target);
        answers[1].remove(&(LINKS, Reply::Closed));
        assert_eq!(answers, only_the_gate(), "{target}\n{}", machine.tail(30));
    }
    for kills in 0..=KILLS {
        for target in boxes() {
            assert_eq!(doors(&mut station, target), only_the_gate(), "{target}, {kills} kills");
        }
        for target in &boxes()[..2] {
            assert_eq!(forwarded(&mut station, *target), [].into(), "{target}, {kills} kills");
        }
        if kills < KILLS {
            // While netd is down, and while it loads its rules again.
            kill(&machine, || {
                for _ in 0..ROUNDS {
                    let answers = doors(&mut station, boxes()[0]);
                    assert_eq!(answers, only_the_gate(), "after kill {kills}");
                }
            });
        }
    }
    counted(&machine);
}

/// Probes both ports from before the boot until the gate's is open.
fn knock(station: &mut Station) -> BTreeSet<u16> {
    station.probe_tcp(BOX, (boxes()[0], GATE), &[WEB], READY).unwrap()
}

/// Scans the ports with listeners only: they would answer through a hole.
fn doors(station: &mut Station, target: IpAddr) -> Answers {
    let tcp = station.scan_tcp(target, [WEB, GATE], GATE).unwrap();
    let udp = station.scan_udp(target, [ECHO, GATE], GATE).unwrap();
    [tcp.into_iter().collect(), udp.into_iter().collect()]
}

/// The port of DNS over TCP in `lan`.
const NAMES: u16 = 53;

/// The port of `cluster`, which is open on boards as well, because any board may become the
/// coordinator.
const ENROLMENT: u16 = 4041;

/// The HTTP port of `cache`, which has a listener.
const OBJECTS: u16 = 8080;

/// The ports of metrics of `forward` and `cache`.
const METRICS: [u16; 2] = [4044, 4045];

/// The WireGuard port of `forward`, which does not answer unknown peers. Without a link the kernel
/// sends an ICMP error.
const LINKS: u16 = 51_820;

fn others() -> Vec<IpAddr> {
    OTHER.iter().map(|text| text.parse().unwrap()).collect()
}

/// The same guest without rules: all ports that are closed above answer here, and packets for
/// others are forwarded.
fn without_rules() {
    let nothing = std::fs::read(guest("nothing")).unwrap();
    let remake = with_network(that_forwards(with_doors()), &network());
    let (machine, port) = start(remake.file("/usr/sbin/nft", 0o755, nothing));
    let mut station = station(port);
    assert_eq!(knock(&mut station), [WEB, GATE].into());
    machine.wait_ready(READY).unwrap();
    for target in boxes() {
        assert!(datagrams_are_answered(&mut station, target, MANY), "{target}");
        let [mut tcp, mut udp] = scan(&mut station, target);
        // Two programs answer in random order, and a scan ends with the answer of the gate's port.
        for _ in 0..ROUNDS {
            let [more_tcp, more_udp] = doors(&mut station, target);
            tcp.extend(more_tcp);
            udp.extend(more_udp);
        }
        let open = |answers: &BTreeSet<(u16, Reply)>| {
            let open = answers.iter().filter(|(_, reply)| *reply == Reply::Open);
            open.map(|(port, _)| *port).collect::<Vec<_>>()
        };
        assert_eq!(tcp.iter().map(|(port, _)| *port).collect::<BTreeSet<_>>(), ports());
        assert_eq!(
            (open(&tcp), open(&udp)),
            (vec![NAMES, WEB, GATE, ENROLMENT, METRICS[0], METRICS[1], OBJECTS], vec![GATE, ECHO]),
            "{target}"
        );
    }
    for target in &boxes()[..2] {
        assert_eq!(forwarded(&mut station, *target).len(), 2, "{target}\n{}", machine.tail(30));
    }
}

/// The rules that netd shows have counted the drops: each port of the scans but the gate's, for
/// both protocols and both addresses. The counters survive a restart of netd.
fn counted(machine: &Machine) {
    let shown = show(machine);
    let rules = shown["rules"].as_array().unwrap().iter();
    let rules: Vec<&str> = rules.map(|line| line.as_str().unwrap().trim()).collect();
    println!("{}", rules.join("\n"));
    let packets = |name: &str| {
        let at = rules.iter().position(|line| *line == format!("counter {name} {{")).unwrap();
        let words: Vec<_> = rules[at + 1].split_whitespace().collect();
        assert_eq!(words[0], "packets");
        words[1].parse::<usize>().unwrap()
    };
    assert!(
        packets("denied") >= 2 * boxes().len() * (ports().len() - 1),
        "of {} ports",
        ports().len()
    );
    assert!(packets("not_forwarded") >= 4 * ROUNDS * (KILLS + 1));
    assert!(packets("gate") > 0 && packets("neighbours") > 0);
}
