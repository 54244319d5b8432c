//! Storms: all events of the router's kernel that a port can cause, at an excessive rate, for half
//! a minute each. Meanwhile others start flows and meet new devices, and netd keeps running.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use octet_evaluator::Zone;
use octet_machine::panel::Mac;
use octet_machine::panel::raw::transport::{self, TCP, UDP, flags};
use octet_machine::panel::raw::{self, arp, ethernet, nd};
use octet_machine::panel::switchboard::{Leg, Probe, ProbeOutcome, Storm, Traffic};
use octet_tests::{RETRY_DELAY, SOON};
use serde_json::json;

use crate::segments::site::{Site, text};

/// Frames per second.
const RATE: u32 = 2000;

/// The minimum duration of each storm.
const LASTS: Duration = Duration::from_secs(30);

/// The number of checks of other hosts meanwhile.
const LOOKS: u32 = 4;

/// The number of devices that the router has not met, in each of the two zones with such devices:
/// enough for all checks.
const DEVICES: u8 = 80;

/// netd may take one part in this many of a processor.
const PART: u64 = 5;

/// All zones may reach each other at one port.
const LINES: &str = r#"
[[policy]]
from = ["boards", "lan", "uplink"]
to = ["boards", "lan", "uplink"]
protocol = "udp"
ports = [7000]

[[policy]]
from = ["boards", "lan", "uplink"]
to = ["boards", "lan", "uplink"]
protocol = "tcp"
ports = [7000]

[[policy]]
from = "uplink"
to = "router"
protocol = "tcp"
ports = [53]
"#;

/// The kind of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// TCP connections to ever new addresses, from ever new ones where that is possible.
    Syn,
    /// Ever new hosts resolve the router's IPv6 address.
    Solicit,
    /// The same with IPv4.
    Arp,
    /// Datagrams to hosts that do not exist.
    Absent,
    /// The cable is pulled and plugged in repeatedly.
    Flaps,
}

const KINDS: [Kind; 5] = [Kind::Syn, Kind::Solicit, Kind::Arp, Kind::Absent, Kind::Flaps];

const FROM: [Zone; 3] = [Zone::Board(1), Zone::Lan, Zone::Uplink];

/// An address in the network of `own`, by its number.
fn one_of_many(own: Ipv6Addr, number: u64) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(own) & !0xffff_ffff | 0x100_0000 | u128::from(number & 0xff_ffff))
}

/// The same with IPv4; never one of the test's.
fn one_of_few(own: Ipv4Addr, number: u64) -> Ipv4Addr {
    let [a, b, c, _] = own.octets();
    Ipv4Addr::new(a, b, c, 128 + (number % 120) as u8)
}

/// The attacker at one leg.
struct Sender {
    kind: Kind,
    leg: Leg,
    /// The other legs, in whose networks it addresses hosts.
    others: Vec<Leg>,
    /// Whether it can use other source addresses: a board cannot.
    poses: bool,
}

impl Sender {
    fn frame(&self, number: u64) -> Vec<u8> {
        let (own, router) = (self.leg.test, self.leg.router);
        let macs = (own.mac, router.mac);
        let from6 = if self.poses { one_of_many(own.ipv6, number) } else { own.ipv6 };
        // External hosts may have any address.
        let from4 = match (self.poses, self.leg.zone.as_str()) {
            (false, _) => own.ipv4,
            (true, "uplink") => Ipv4Addr::from(0xc612_0000 | number as u32 & 0x1_ffff),
            (true, _) => one_of_few(own.ipv4, number),
        };
        let other = &self.others[number as usize % self.others.len()];
        // Most addresses are IPv6.
        let to: IpAddr = match number % 4 {
            0 => one_of_few(other.test.ipv4, number).into(),
            _ => one_of_many(other.test.ipv6, number).into(),
        };
        let ends = (if to.is_ipv4() { from4.into() } else { from6.into() }, to);
        let ports = (10_000 + (number % 50_000) as u16, 7000);
        match self.kind {
            Kind::Syn => {
                let segment = transport::tcp(ends, ports, flags::SYN, (number as u32, 0), &[]);
                ethernet::ip(macs, &raw::packet(ends, TCP, &segment))
            }
            Kind::Absent => {
                let datagram = transport::udp(ends, ports, b"octet storm");
                ethernet::ip(macs, &raw::packet(ends, UDP, &datagram))
            }
            Kind::Solicit => {
                let mac = if self.poses { of_number(number) } else { own.mac };
                let asks = nd::Message::Solicit { target: router.ipv6 };
                let options = [nd::Link::Source(mac)];
                let packet = asks.packet((from6, router.ipv6), nd::HOP_LIMIT, &options);
                ethernet::ip((mac, router.mac), &packet)
            }
            Kind::Arp => {
                let mac = if self.poses { of_number(number) } else { own.mac };
                arp::Arp::request((mac, from4), router.ipv4).frame((mac, ethernet::BROADCAST))
            }
            Kind::Flaps => unreachable!("no frame"),
        }
    }
}

/// An unused MAC address.
fn of_number(number: u64) -> Mac {
    let [.., a, b, c] = number.to_be_bytes();
    Mac([2, 0, 1, a, b, c])
}

/// A running storm.
enum Weather {
    Storm(Storm),
    Flaps { count: Arc<AtomicU64>, ended: Arc<AtomicBool>, thread: thread::JoinHandle<()> },
}

impl Weather {
    fn begin(site: &Site, kind: Kind, zone: Zone) -> Self {
        let at = site.leg(zone);
        if kind == Kind::Flaps {
            return Self::flaps(site, at);
        }
        let zones = [Zone::Board(2), Zone::Lan, Zone::Uplink].into_iter();
        let others = zones.filter(|other| *other != zone);
        let others = others.map(|zone| site.panel.legs()[site.leg(zone)].clone()).collect();
        let poses = !matches!(zone, Zone::Board(_));
        let sender = Sender { kind, leg: site.panel.legs()[at].clone(), others, poses };
        Self::Storm(site.panel.storm(at, RATE, move |number| sender.frame(number)))
    }

    /// Changes the carrier as fast as QEMU can.
    fn flaps(site: &Site, card: usize) -> Self {
        let (count, ended) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (machine, of, end) =
            (Arc::clone(&site.machine), Arc::clone(&count), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            let pause = Duration::from_secs(1) / RATE;
            // At the end the cable is plugged in.
            let mut is_up = true;
            while !is_up || !end.load(Ordering::SeqCst) {
                is_up = !is_up;
                let link = json!({ "name": format!("wire{card}"), "up": is_up });
                machine.qmp("set_link", link).unwrap();
                of.fetch_add(1, Ordering::SeqCst);
                sleep(pause);
            }
        });
        Self::Flaps { count, ended, thread }
    }

    /// Ends it. Returns the number of its events.
    fn end(self) -> u64 {
        match self {
            Self::Storm(storm) => storm.end().unwrap(),
            Self::Flaps { count, ended, thread } => {
                ended.store(true, Ordering::SeqCst);
                thread.join().unwrap();
                count.load(Ordering::SeqCst)
            }
        }
    }
}

/// The devices that the router has not met yet, by their leg.
type Unmet = BTreeMap<usize, Vec<IpAddr>>;

/// Flows that board 2 starts meanwhile: to another board, to the router, and to an unmet device of
/// each zone other than `zone`.
fn flows(site: &Site, zone: Zone, unmet: &mut Unmet) -> Vec<(Probe, ProbeOutcome)> {
    let at = |zone| site.leg(zone);
    let legs = site.panel.legs();
    let (from, board) = (at(Zone::Board(2)), at(Zone::Board(3)));
    let router = legs[from].router.ipv4.into();
    let mut flows = vec![
        (
            Probe::new(from, legs[board].test.ipv6.into(), Traffic::Udp(7000)),
            ProbeOutcome::Out(board),
        ),
        (Probe::new(from, router, Traffic::Tcp(53)), ProbeOutcome::Answered),
    ];
    for other in [Zone::Lan, Zone::Uplink].into_iter().filter(|other| *other != zone) {
        let new = unmet.get_mut(&at(other)).unwrap().pop().expect("enough devices");
        flows.push((Probe::new(from, new, Traffic::Udp(7000)), ProbeOutcome::Out(at(other))));
    }
    flows
}

/// Starts each of `flows`. Returns the number of retries: a packet to a busy router may be lost.
fn serve(site: &mut Site, flows: Vec<(Probe, ProbeOutcome)>) -> usize {
    let (sentinels, deadline) = (site.sentinels(), Instant::now() + SOON);
    let (mut left, mut again) = (flows, 0);
    loop {
        let probes: Vec<_> = left.iter().map(|(probe, _)| probe.clone()).collect();
        let came = site.panel.sweep(&probes, &sentinels).unwrap();
        let came: Vec<_> = left.into_iter().zip(came).collect();
        left =
            came.into_iter().filter(|((_, wanted), came)| came != wanted).map(|it| it.0).collect();
        if left.is_empty() {
            return again;
        }
        again += left.len();
        assert!(Instant::now() < deadline, "late: {left:?}\n{}", site.machine.tail(30));
    }
}

/// netd's state from PID 1: its process id, the number of restarts, its CPU time, and the uptime,
/// both in milliseconds.
fn netd(site: &Site) -> ((Option<u32>, u64), u64, u64) {
    let status = site.machine.status().unwrap();
    let netd = status.unit("netd").unwrap();
    ((netd.pid, netd.restarts), netd.cpu.unwrap(), status.uptime)
}

/// One storm. The hosts of `zone` itself need not be served before it is over.
fn one(site: &mut Site, kind: Kind, zone: Zone, unmet: &mut Unmet) {
    let at = site.leg(zone);
    site.panel.quiet([at].into());
    let (before, cpu, uptime) = netd(site);
    let (began, weather) = (Instant::now(), Weather::begin(site, kind, zone));
    let mut again = 0;
    for look in 1..=LOOKS {
        while began.elapsed() < LASTS * look / (LOOKS + 1) {
            sleep(RETRY_DELAY);
        }
        let flows = flows(site, zone, unmet);
        again += serve(site, flows);
    }
    while began.elapsed() < LASTS {
        sleep(RETRY_DELAY);
    }
    let (count, took) = (weather.end(), began.elapsed());
    let (after, now, then) = netd(site);
    let (cpu, uptime) = (now - cpu, then - uptime);
    println!(
        "{kind:?} from {zone}: {count} in {took:.1?}, netd took {cpu} of {uptime} ms ({:.1} %); {again} tried again",
        cpu as f64 * 100.0 / uptime as f64
    );
    assert_eq!(before, after, "netd is another one\n{}", site.machine.tail(40));
    assert!(cpu * PART <= uptime, "netd took {cpu} of {uptime} ms");
    // The hosts at that port are served again as well.
    site.panel.quiet([].into());
    let router = site.panel.legs()[at].router.ipv4.into();
    serve(site, vec![(Probe::new(at, router, Traffic::Tcp(53)), ProbeOutcome::Answered)]);
    site.panel.take_recorded();
}

/// This needs a kernel whose tables fill up, and half a minute per storm.
#[test]
#[ignore = "long: fifteen storms of half a minute"]
fn nobody_else_notices() {
    let mut site = Site::among(&text(4, LINES), DEVICES);
    site.wait_addresses();
    let mut unmet: Unmet = [Zone::Lan, Zone::Uplink]
        .map(|zone| (site.leg(zone), site.panel.legs()[site.leg(zone)].others.clone()))
        .into();
    for kind in KINDS {
        for zone in FROM {
            one(&mut site, kind, zone, &mut unmet);
        }
    }
}
