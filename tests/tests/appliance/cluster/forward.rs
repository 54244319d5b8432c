//! A path over three relays that its source has chosen: it carries the data of programs, and the
//! relays learn neither the data nor the two ends.
//!
//! All boards of a box know each other: each has the membership map with the keys of all nodes, and
//! receives the announcements of all nodes. So the keys and addresses of the source and the end
//! *are* in the memory of the relays, like those of every other board, and the test shows that the
//! search finds them there. Data of this path must not be there: the payload, the keys of the
//! WireGuard tunnel within it, and the header of a packet, which names the two nodes together.

mod needles;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV6;
use std::time::Instant;

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::Node;
use octet_tests::{Image, Remake, guest, shipped, soak};
use serde_json::{Value, json};

use crate::cluster::adopted::path_add;
use crate::cluster::failover::{self, Fault};
use crate::cluster::site::{IMAGE, Site, address, text};
use crate::cluster::uplink::clock;
use crate::cluster::wires::{Count, Wires};
use needles::{AT_ENDS, AT_SOURCE, Named, Needles};

/// Boards may reach each other by WireGuard only, and packets from a path may reach one port of the
/// board at its end.
const LINES: &str = r#"
[[policy]]
from = "boards"
to = "boards"
protocol = "udp"
ports = [51820]

[[policy]]
from = "path"
to = "board-5"
protocol = "tcp"
ports = [7000]

[[policy]]
from = "path"
to = "board-5"
protocol = "udp"
ports = [7000]
"#;

/// The client, at the source.
pub const TALKER: &str = r#"
name = "talker"
exec = "/usr/lib/octet/talker"
user = "extra-1"
sockets.control.path = "/run/octet/talker.sock"
sockets.control.open = true
sandbox.network = "host"
"#;

/// The echo service, at the end.
pub const MIRROR: &str = r#"
name = "mirror"
exec = "/usr/lib/octet/listener"
user = "extra-2"
readiness = "socket"
ports = { tcp = "tcp/7000", udp = "udp/7000" }
sockets.tcp.port = "tcp"
sockets.udp.port = "udp"
sandbox.network = "host"
"#;

const PORT: u16 = 7000;

/// The number of boards, and the path among them, from its source to its end.
pub const BOARDS: u8 = 5;
const PATH: [u8; 5] = [1, 2, 3, 4, 5];
const SOURCE: u8 = PATH[0];
const FIRST: u8 = PATH[1];
const END: u8 = PATH[4];

/// The bytes of a connection, in each direction.
pub const STREAM: usize = 300_000;

/// The payload of a packet of 1280 bytes: less the headers of IPv6 and UDP.
const DATAGRAM: usize = 1280 - 40 - 8;

/// The same packet where labels are counted: with WireGuard (32), UDP (8), IPv4 (20) and a label
/// (4).
const COUNTED: u64 = 1280 + 32 + 8 + 20 + 4;

/// The maximum size of a frame with a message of forward itself: 1280 bytes within UDP (8) and IPv4
/// (20), padded to a multiple of 16, within WireGuard (32), UDP (8), IPv4 (20) and Ethernet (14).
const LONGEST_CONTROL: usize = 1312 + 32 + 8 + 20 + 14;

fn image() -> Image {
    let appliance = format!(
        "{}\n{IMAGE}",
        text(
            8,
            &[
                LINES,
                crate::cluster::metering::LINES,
                crate::cluster::numbers::LINES,
                crate::cluster::private::LINES
            ]
            .concat()
        )
    );
    let appliance = Appliance::parse("appliance.toml", &appliance).unwrap();
    let settings = serde_json::to_vec(&appliance).unwrap();
    let remake = Remake::of(&shipped()).file(SETTINGS, 0o644, settings);
    let remake = remake.program("talker", &guest("talker")).unit(TALKER);
    remake.program("listener", &guest("listener")).unit(MIRROR).image()
}

fn forward(site: &Site, board: u8, verb: &str, args: Value) -> Value {
    site.ask(Node::Board(board), "forward", verb, args)
}

/// Makes `board` send `mark` repeatedly to `to`, `bytes` bytes in total.
fn say(site: &Site, (board, how): (u8, &str), to: &str, mark: &str, bytes: usize) -> Value {
    let args = json!({ "to": to, "mark": mark, "bytes": bytes });
    site.ask(Node::Board(board), "talker", how, args)
}

/// The address of the echo service of a node.
fn door(at: &Named) -> String {
    SocketAddrV6::new(at.address, PORT, 0, 0).to_string()
}

/// Starts a box whose boards know each other and have links to each other.
fn linked() -> (Site, Wires) {
    let site = Site::of(8, image());
    let began = Instant::now();
    let wires = Wires::record(&site.cluster);
    let nodes: Vec<_> = [Node::Router].into_iter().chain((1..=BOARDS).map(Node::Board)).collect();
    for node in &nodes {
        site.power_on(*node);
    }
    for node in &nodes {
        site.wait_ready(*node);
    }
    site.wait("all links are up", || {
        (1..=BOARDS).all(|board| {
            let links = forward(&site, board, "links", json!({}));
            let rows = links.as_array().unwrap();
            rows.len() == usize::from(BOARDS) - 1 && rows.iter().all(|row| row["up"] == true)
        })
    });
    site.wait("all are known", || forward(&site, SOURCE, "status", json!({}))["nodes"] == BOARDS);
    println!("all links are up after {:?}", began.elapsed());

    println!("clocks: {:?}", nodes.iter().map(|node| clock(&site, *node)).collect::<Vec<_>>());
    (site, wires)
}

/// The first fault is part of the short tier's test below. This test has all of them, without the
/// other slow parts of the long tier.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_relay_dies_and_others_take_its_place() {
    let (site, wires) = linked();
    let faults = [Fault::Wire, Fault::Mute, Fault::Power];
    failover::passes(&site, &wires, &door(&Named::of(&site, END)), &faults);
}

/// This needs the kernels of a whole box: no in-process test has labels, WireGuard, or a wire that
/// can be cut. Two of its three minutes are waits, in which other tests run.
#[test]
fn a_path_over_three_relays() {
    let began = Instant::now();
    let (site, wires) = linked();
    let asked = json!({ "to": "5", "via": "2,3,4", "alone": true });
    let path = path_add(&site, SOURCE, &asked);
    let pinged = forward(&site, SOURCE, "ping", json!({ "path": path }));
    let paths = forward(&site, SOURCE, "paths", json!({}));
    println!("{pinged}\n{paths}");
    let named = [SOURCE, END].map(|board| Named::of(&site, board));
    let [plain, payload] =
        ["plain", "payload"].map(|it| format!("{it}-{:032x}", fastrand::u128(..)));
    let needles = Needles { plain: &plain, payload: &payload, named: &named, path: &paths[0] };

    // Without a path the packet is not encrypted: the first wire carries it, and the router drops
    // it.
    say(&site, (SOURCE, "word"), &format!("{}:{PORT}", address(END)), &plain, 100);
    carries(&site, &door(&named[1]), &payload);
    only_where_a_line_leads(&site, &door(&named[0]), &payload);
    println!("carried after {:?}, {} frames", began.elapsed(), wires.len());
    who_is_on_the_way_knows_only_neighbours(&wires, &needles);
    relays_know_nothing_of_it(&site, &needles);
    crate::cluster::adopted::passes(&site, &path, &PATH);
    crate::cluster::metering::passes(&site, &wires);
    if soak() {
        crate::cluster::lossy::passes(&site, &wires);
    }
    println!("metered after {:?}", began.elapsed());
    if soak() {
        crate::cluster::numbers::passes(&site);
        crate::cluster::chosen::passes(&site);
        crate::cluster::rates::passes(&site);
        println!("chosen, and held to its rate, after {:?}", began.elapsed());
        crate::cluster::private::passes(&site, &PATH, named.each_ref().map(|it| it.address));
        println!("private after {:?}", began.elapsed());
    }
    failover::passes(&site, &wires, &door(&named[1]), &[Fault::Wire]);
    crate::cluster::unasked::passes(&site, SOURCE, &door(&named[1]));
    println!("all of it: {:?}", began.elapsed());
}

/// Sends data by TCP in both directions, and a datagram with the minimum MTU of IPv6 links (RFC
/// 8200, section 5).
fn carries(site: &Site, to: &str, mark: &str) {
    let all = |bytes: usize| json!({ "said": bytes, "back": bytes, "same": true });
    // On a busy host each answer may be late.
    let talk = |how: &str, bytes: usize| {
        let args = json!({ "to": to, "mark": mark, "bytes": bytes });
        site.machine(Node::Board(SOURCE)).call_unit("talker", how, args).ok()
    };
    site.wait("a connection comes through", || talk("tcp", STREAM) == Some(all(STREAM)));
    // Other packets on the path at that moment are counted, too.
    site.wait("a packet of 1280 bytes goes each way, whole", || {
        let before = counts(site);
        if talk("udp", DATAGRAM) != Some(all(DATAGRAM)) {
            return false;
        }
        let grown = counts(site).into_iter().map(|(of, (packets, bytes))| {
            let (had, of_bytes) = before.get(&of).copied().unwrap_or_default();
            (packets - had, bytes - of_bytes)
        });
        let grown: Vec<_> = grown.filter(|it| *it != (0, 0)).collect();
        println!("packets and bytes at the first relay: {grown:?}");
        // The packet is received and sent, and so is its echo.
        grown == [(1, COUNTED); 4]
    });
}

/// The end sends the same data by the same path to the same program at the source, which no policy
/// allows.
fn only_where_a_line_leads(site: &Site, to: &str, mark: &str) {
    // Other packets may be denied meanwhile, too.
    site.wait("a packet of 1280 bytes to the source is denied", || {
        let before = denied(site);
        say(site, (END, "word"), to, mark, DATAGRAM);
        site.wait("it is counted", || denied(site) > before);
        denied(site) == before + 1280
    });
}

/// The bytes that arrived at the source by paths and were dropped.
fn denied(site: &Site) -> u64 {
    let shown = site.ask(Node::Board(SOURCE), "netd", "show", json!({}));
    let mut lines = shown["rules"].as_array().unwrap().iter().filter_map(Value::as_str);
    lines.find(|line| line.contains("counter denied_by_path {")).unwrap();
    let (_, bytes) = lines.next().unwrap().split_once("bytes ").unwrap();
    bytes.trim().parse().unwrap()
}

/// The first relay's counters of each label, in both directions: packets and bytes.
fn counts(site: &Site) -> BTreeMap<(String, String, u64), (u64, u64)> {
    let shown = forward(site, FIRST, "labels", json!({}));
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let count = |row: &Value| {
        let of = (row["link"].to_string(), row["way"].to_string(), number(row, "label"));
        (of, (number(row, "packets"), number(row, "bytes")))
    };
    shown.as_array().unwrap().iter().map(count).collect()
}

/// From each board of the path to the next, all data goes by WireGuard, and between other boards
/// there are only messages of forward itself. No wire shows an address or a key of a node, or the
/// data.
fn who_is_on_the_way_knows_only_neighbours(wires: &Wires, needles: &Needles<'_>) {
    let links = wires.links(LONGEST_CONTROL);
    println!("{links:?}");
    // The path's packets have at most 1356 bytes. Between other boards there are a few that probe
    // the MTU.
    let carries = |count: &Count| count.long >= STREAM / 1356;
    let carrying: BTreeSet<_> =
        links.iter().filter(|(_, count)| carries(count)).map(|(ends, _)| *ends).collect();
    let steps = PATH.windows(2).flat_map(|step| [(step[0], step[1]), (step[1], step[0])]);
    assert_eq!(carrying, steps.collect());
    for ends in [(SOURCE, END), (END, SOURCE), (FIRST, END)] {
        assert!(links[&ends].frames > 0, "probes go everywhere: {links:?}");
    }

    let all: BTreeMap<_, _> = (1..=BOARDS)
        .map(|wire| {
            let known: &[_] = if wire == SOURCE { &["links", "plain"] } else { &["links"] };
            (wire, known.iter().copied().collect())
        })
        .collect();
    let mut found = wires.found(&needles.of_wires());
    // The other sockets of the router are not connected.
    found.retain(|wire, found| all.contains_key(wire) || !found.is_empty());
    assert_eq!(found, all);
}

/// The data that is in the memory of the source and the end, and not in that of the relays.
fn relays_know_nothing_of_it(site: &Site, needles: &Needles<'_>) {
    let (of_box, of_path) = (needles.of_box(), needles.of_path());
    let all: Vec<_> =
        of_box.iter().chain(&of_path).map(|(name, needle)| (*name, &needle[..])).collect();
    let is_of_path = |name: &&str| of_path.iter().any(|(other, _)| other == name);
    for board in PATH {
        let dump = site.machine(Node::Board(board)).dump_memory().unwrap();
        let found = dump.contains(&all).unwrap();
        println!("{board} has in its memory: {found:?}");
        let (of_path, of_box): (BTreeSet<_>, BTreeSet<_>) = found.into_iter().partition(is_of_path);
        assert_eq!(of_box, needles.of_box().iter().map(|(name, _)| *name).collect(), "{board}");
        match board {
            SOURCE => assert!(of_path.is_superset(&AT_SOURCE.into()), "{board}: {of_path:?}"),
            END => assert!(of_path.is_superset(&AT_ENDS.into()), "{board}: {of_path:?}"),
            _ => assert_eq!(of_path, BTreeSet::new(), "{board}"),
        }
    }
}
