//! The uplink: its address, names and time by it, and that no internal data leaves by it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use octet_machine::panel::peer::{Datagram, OwnAddresses, Peer, PeerBehaviour};
use octet_machine::panel::raw::nd;
use octet_machine::panel::{DhcpServer, Mac, raw};
use octet_machine::{Node, Socket, router_card};
use octet_tests::{SOON, soak};
use serde_json::json;

use crate::cluster::question;
use crate::cluster::site::{Site, address};

/// The gateway, the assigned address, and the address of every external name.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const GIVEN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
pub const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const NETWORK: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 5, 0, 0, 0, 0, 0);
const GATEWAY_MAC: Mac = Mac::number(200);

/// The port at which the test simulates a board.
pub const OURS: u8 = 3;

/// The port of an external echo service, and the policy for its clients.
const ECHO: u16 = 7000;
pub const LINES: &str = r#"
[[policy]]
from = ["board-3"]
to = ["uplink"]
protocol = "udp"
ports = [7000]
"#;

/// The timeout of the first round of requests for the time, by which each further round is longer
/// (on a busy host a restarted lan needs an address first), and the maximum number of rounds.
const ROUND: Duration = Duration::from_secs(15);
const ROUNDS: u32 = 8;

/// How often netd is killed during an exchange through the router, and with `--soak` restarted; and
/// the pause between two datagrams.
const KILLS: u32 = 2;
const AGAIN: u32 = 40;
const BREATH: Duration = Duration::from_millis(5);

/// A day, in seconds.
const DAY: u64 = 86_400;

/// Names that must not be sent outside.
const INSIDE: [&str; 12] = [
    "board-3.octet.internal",
    "nobody.octet.internal",
    "other.internal",
    "cache.octet",
    "printer.local",
    "printer",
    "localhost",
    "x.home.arpa",
    "x.onion",
    "2.3.20.10.in-addr.arpa",
    "1.0.168.192.in-addr.arpa",
    "1.0.0.0.8.e.f.ip6.arpa",
];

/// The requests that external hosts have received.
#[derive(Default)]
struct Heard {
    names: BTreeSet<String>,
    dhcp_from: BTreeSet<Ipv4Addr>,
    times: usize,
    /// The senders of datagrams to the echo service.
    words_from: BTreeSet<(Ipv4Addr, u16)>,
}

/// The external network: all hosts are behind one gateway.
struct Outside {
    heard: Arc<Mutex<Heard>>,
    /// The time of the time servers, in seconds since 1970.
    time: Arc<Mutex<u64>>,
    _peer: Peer,
}

fn outside(site: &Site) -> Outside {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let time = Arc::new(Mutex::new(clock(site, Node::Router) + 10 * DAY));
    let dhcp = DhcpServer {
        mac: GATEWAY_MAC,
        address: GATEWAY,
        mask: Ipv4Addr::new(255, 255, 255, 0),
        offered: GIVEN,
        seconds: 3600,
        knows: true,
    };
    let (hears, tells) = (Arc::clone(&heard), Arc::clone(&time));
    let answer = move |asked: &Datagram| {
        let mut heard = hears.lock().unwrap();
        let payload = match asked.to.1 {
            53 => {
                heard.names.extend(question::asked(&asked.payload).map(|(name, _)| name));
                question::answer(&asked.payload, ELSEWHERE)
            }
            ECHO => {
                heard.words_from.insert(asked.from);
                Some(asked.payload.clone())
            }
            123 => {
                heard.times += 1;
                Some(question::time(&asked.payload, *tells.lock().unwrap()))
            }
            67 => {
                heard.dhcp_from.insert(asked.from.0);
                None
            }
            _ => None,
        };
        let said = |payload| Datagram { from: asked.to, to: asked.from, payload };
        payload.map(said).into_iter().collect()
    };
    let does = PeerBehaviour {
        own: OwnAddresses::AllBut(GIVEN),
        on_frame: Box::new(move |frame| match dhcp.answer(frame) {
            Some((_, reply)) => reply,
            None => advertised(frame),
        }),
        answer: Box::new(answer),
    };
    let port = site.cluster.attach(0, Socket::Router(0)).unwrap();
    let peer = Peer::start(port, GATEWAY_MAC, router_card(0), does);
    Outside { heard, time, _peer: peer }
}

/// The router advertisement in answer to a solicitation.
fn advertised(frame: &[u8]) -> Option<Vec<u8>> {
    // IPv6's EtherType, ICMPv6 without extension headers, and the type of a solicitation (RFC 4861,
    // 4.1).
    let asks = frame.get(12..14)? == [0x86, 0xdd]
        && *frame.get(20)? == raw::icmp::ICMPV6
        && *frame.get(54)? == 133;
    let message = nd::Message::RouterAdvert { lifetime: 1800, prefix: Some((NETWORK, 64)) };
    let ends = (GATEWAY6, nd::ALL_NODES);
    let packet = message.packet(ends, nd::HOP_LIMIT, &[nd::Link::Source(GATEWAY_MAC)]);
    asks.then(|| raw::ethernet::ip((GATEWAY_MAC, raw::ethernet::group(nd::ALL_NODES)), &packet))
}

/// The test as a board, which the router has learned by its DHCP request.
fn our_board(site: &Site) -> Peer {
    let (peer, offered) = newcomer(site, OURS, address(OURS));
    assert_eq!(offered, address(OURS), "the router offers the port's address");
    peer
}

/// The test as a new host with the address `own` at the router's card `card`. Returns, too, the
/// offered address.
pub fn newcomer(site: &Site, card: u8, own: Ipv4Addr) -> (Peer, Ipv4Addr) {
    let mac = Mac::number(card);
    let port = site.cluster.attach(card, Socket::Router(card)).unwrap();
    let discover = raw::dhcp::discover(mac);
    let ends = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
    let packet = raw::packet(ends, 17, &raw::transport::udp(ends, (68, 67), &discover));
    let does = PeerBehaviour {
        own: OwnAddresses::One(own),
        on_frame: Box::new(|_| None),
        answer: Box::new(|_| vec![]),
    };
    let peer = Peer::start(port, mac, router_card(card), does);
    let mut offered = None;
    // The request is repeated like by a client without an answer (RFC 2131, 4.1): the port's rules
    // may not be updated yet.
    site.wait("an address is offered", || {
        peer.send_frame(&raw::ethernet::ip((mac, Mac([0xff; 6])), &packet)).unwrap();
        offered = peer.receive(Instant::now() + Duration::from_secs(1), |it| it.to.1 == 68);
        offered.is_some()
    });
    let offered = offered.unwrap();
    // `yiaddr` of RFC 2131, 2.
    let address = *offered.payload[16..].first_chunk::<4>().unwrap();
    (peer, address.into())
}

/// The router's address for the simulated board.
pub fn router() -> Ipv4Addr {
    Ipv4Addr::new(10, 20, OURS, 1)
}

/// Resolves a name from the simulated board.
pub fn resolve(peer: &Peer, name: &str) -> (u8, Option<Ipv4Addr>) {
    static LAST: AtomicU16 = AtomicU16::new(0);
    let (from, to) = ((address(OURS), 5353), (router(), 53));
    let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let payload = question::question(id, name);
    // A guest under load may be late, and datagrams may be lost: a received answer may belong to an
    // earlier query.
    let is_it = |it: &Datagram| it.to == from && it.payload.starts_with(&id.to_be_bytes());
    for _ in 0..30 {
        peer.send(&Datagram { from, to, payload: payload.clone() }).unwrap();
        if let Some(said) = peer.receive(Instant::now() + Duration::from_secs(6), is_it) {
            return question::told(&said.payload).unwrap();
        }
    }
    panic!("late: {name}: no answer");
}

/// The time of a node's clock, in seconds since 1970.
pub fn clock(site: &Site, node: Node) -> u64 {
    let shown = site.ask(node, "clock", "show", json!({}));
    let time = humantime::parse_rfc3339(shown["time"].as_str().unwrap()).unwrap();
    time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// The whole test, mostly waits: names and time arrive by the uplink, at `board` too, and no
/// internal data leaves by it.
pub fn passes(site: &Site, board: Node) {
    let peer = our_board(site);
    // Without an uplink, internal names are resolved, and external ones are not.
    assert_eq!(resolve(&peer, "board-1.octet.internal"), (0, Some(Ipv4Addr::new(10, 20, 1, 2))));
    assert_eq!(resolve(&peer, "www.example").0, 2, "nobody can be asked");

    let outside = outside(site);
    let given = format!("{GIVEN}/24");
    site.wait("the uplink has an address", || {
        site.addresses(Node::Router, "eth0").contains(&given)
    });
    site.wait("and one of IPv6, which it has made itself", || {
        let addresses = site.addresses(Node::Router, "eth0");
        addresses.iter().any(|it| it.starts_with("2001:db8:5:") && it.ends_with("/64"))
    });
    let routes =
        site.ask(Node::Router, "netd", "show", json!({ "links": true }))["routes"].to_string();
    for gateway in [GATEWAY.to_string(), GATEWAY6.to_string()] {
        assert!(routes.contains(&format!("\"{gateway}\"")), "{routes}");
    }
    let answers = |site: &Site| {
        let shown = site.ask(Node::Router, "lan", "show", json!({}));
        let all = shown["neighbours"].as_array().unwrap().iter();
        { all }.find(|it| it["address"] == GATEWAY.to_string())?["answers"].as_bool()
    };
    site.wait("the gateway answers", || answers(site) == Some(true));
    site.wait("names outside are known", || resolve(&peer, "www.example") == (0, Some(ELSEWHERE)));
    for name in INSIDE {
        let (code, address) = resolve(&peer, name);
        let expected = match name {
            "board-3.octet.internal" | "localhost" => (0, true),
            // A name that exists, but has no address.
            "2.3.20.10.in-addr.arpa" => (0, false),
            _ => (3, false),
        };
        assert_eq!((code, address.is_some()), expected, "{name}");
    }
    {
        let heard = outside.heard.lock().unwrap();
        assert_eq!(heard.names, ["www.example.".to_owned()].into(), "only names of outside leave");
        // The internal addresses are not visible outside.
        assert_eq!(heard.dhcp_from, [Ipv4Addr::UNSPECIFIED].into());
    }

    // In process: `services/lan/tests/dns/limits.rs`.
    if soak() {
        crate::cluster::flood::passes(site, board, &peer);
    }
    a_flow_outlives_netd(site, &peer, &outside);

    // The time arrives from outside at the router, and from there at the board.
    let told = *outside.time.lock().unwrap();
    wait_time(site, Node::Router, told);
    kill_lan(site, board);
    wait_time(site, board, told);
    // In process: `services/clock/tests/day.rs`.
    if soak() {
        the_time_never_goes_back(site, board, &outside, told);
    }

    // In process: `services/lan/src/probe.rs`.
    if !soak() {
        return;
    }
    // The uplink is lost and returns; internally nothing changes.
    site.cluster.unplug(Socket::Router(0)).unwrap();
    site.wait("its loss is noticed", || answers(site) == Some(false));
    assert_eq!(resolve(&peer, "board-1.octet.internal").0, 0);
    site.cluster.plug(Socket::Other(0), Socket::Router(0)).unwrap();
    site.wait("so is its return", || answers(site) == Some(true));
}

/// The servers, which have told the time `told`, jump back a day, ahead by a year, and to an invalid
/// time: no node follows.
fn the_time_never_goes_back(site: &Site, board: Node, outside: &Outside, told: u64) {
    let mut last = [0; 2];
    let mut look = |site: &Site| {
        for (at, node) in [Node::Router, board].into_iter().enumerate() {
            let shown = clock(site, node);
            assert!(shown >= last[at], "{node}: {shown} after {}", last[at]);
            last[at] = shown;
        }
        last
    };
    look(site);
    for jump in [told - DAY, told + 300 * DAY, 0] {
        *outside.time.lock().unwrap() = jump;
        let before = outside.heard.lock().unwrap().times;
        kill_lan(site, Node::Router);
        site.wait("a round of questions", || outside.heard.lock().unwrap().times >= before + 4);
        kill_lan(site, board);
        look(site);
    }
    let last = look(site);
    assert!(last.iter().all(|it| (told..told + 3600).contains(it)), "{last:?}, {told} was told");
}

/// A datagram exchange with an external host continues while netd is killed and restarted: for the
/// host it is one flow. The router sometimes probes both ends (RFC 4861, 7.3.3; ARP likewise), and
/// a host that is too busy to answer in time may lose a datagram.
fn a_flow_outlives_netd(site: &Site, peer: &Peer, outside: &Outside) {
    let says = |nth: u32| {
        let (from, to) = ((address(OURS), 6000), (ELSEWHERE, ECHO));
        let word = Datagram { from, to, payload: nth.to_be_bytes().to_vec() };
        // Shorter than the kernel's timeout of a new UDP flow (30 s; nf_conntrack_proto_udp.c).
        let answer = peer.exchange(&word, Instant::now() + Duration::from_secs(20));
        answer.is_some_and(|it| it.payload == word.payload)
    };
    assert!(says(0), "the policy lets it");
    assert_eq!(begun(site), 1);
    let began = Instant::now();
    let (said, lost) = std::thread::scope(|scope| {
        let kills = scope.spawn(|| {
            (0..KILLS).for_each(|_| kill(site, Node::Router, "netd"));
            (0..if soak() { AGAIN } else { 0 }).for_each(|_| start_again(site));
        });
        let (mut said, mut lost) = (1, 0);
        while !kills.is_finished() {
            lost += u32::from(!says(said));
            said += 1;
            std::thread::sleep(BREATH);
        }
        kills.join().unwrap();
        (said, lost)
    });
    println!("netd was killed {KILLS} times: {said} words, {lost} lost");
    assert!(lost <= 1, "{lost} words of {said} lost");
    assert!(says(said), "it goes on");
    let took = began.elapsed();
    assert_eq!(begun(site), 1, "it was let once and never again; {said} words in {took:?}");
    assert_eq!(outside.heard.lock().unwrap().words_from.len(), 1, "one flow");
}

/// The number of flows that the policy has allowed; the counter survives a restart of netd.
fn begun(site: &Site) -> u64 {
    let shown = site.ask(Node::Router, "netd", "show", json!({}));
    let mut rules = shown["rules"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
    let rule = rules.find(|it| it.contains("\"board-3 to uplink: udp 7000\"")).unwrap();
    let mut words = rule.split([' ', '"']);
    let counter = words.find(|word| word.starts_with("policy_")).unwrap();
    shown["lines"][counter].as_u64().unwrap()
}

/// Restarts netd and the units that need it: PID 1 does not delay this, as it does after kills.
fn start_again(site: &Site) {
    let machine = site.machine(Node::Router);
    let pid = machine.status().unwrap().unit("netd").unwrap().pid;
    machine.call("restart", json!({ "unit": "netd" })).unwrap();
    let back = |status: &octet_machine::Status| {
        let netd = status.unit("netd").unwrap();
        netd.pid != pid && netd.state == octet_machine::UnitState::Ready
    };
    machine.wait_status("netd is another", SOON, back).unwrap();
}

/// Waits until a node's clock is set. On a busy host an answer may take more than a second, and is
/// ignored; then the next request would follow a minute later, so lan is restarted.
fn wait_time(site: &Site, node: Node, told: u64) {
    for round in 0..ROUNDS {
        let deadline = Instant::now() + ROUND * (round + 1);
        while Instant::now() < deadline {
            if clock(site, node) >= told {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        kill_lan(site, node);
    }
    let said = |unit| site.machine(node).logs(unit).unwrap_or_default().join("\n");
    panic!("{node} has not the time\nlan:\n{}\nclock:\n{}", said("lan"), said("clock"));
}

/// A restarted lan requests the time at once.
fn kill_lan(site: &Site, node: Node) {
    kill(site, node, "lan");
}

/// Kills a unit, and waits for its restart.
pub fn kill(site: &Site, node: Node, unit: &str) {
    let machine = site.machine(node);
    let restarts = |status: &octet_machine::Status| status.unit(unit).unwrap().restarts;
    let is_ready = |status: &octet_machine::Status| {
        status.unit(unit).unwrap().state == octet_machine::UnitState::Ready
    };
    let before = restarts(&machine.wait_status("it is there", SOON, is_ready).unwrap());
    machine.call("signal", json!({ "unit": unit, "signal": "KILL" })).unwrap();
    let back = |status: &octet_machine::Status| restarts(status) > before && is_ready(status);
    machine.wait_status("it is back", SOON, back).unwrap();
}
