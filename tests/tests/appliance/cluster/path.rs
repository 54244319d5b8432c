//! A path carries the data of programs, and its relays learn neither the data nor the two ends.
//!
//! All boards of a box know each other: each has the membership map with the keys of all nodes, and
//! receives the announcements of all nodes. So the keys and addresses of the source and the end
//! *are* in the memory of the relays, like those of every other board, and the test shows that the
//! search finds them there. Data of this path must not be there: the payload, the keys of the
//! WireGuard tunnel within it, and the header of a packet, which names the two nodes together.

mod needles;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV6;

use octet_machine::Node;
use octet_tests::{Remake, guest};
use serde_json::{Value, json};

use crate::cluster::adopted::path_add;
use crate::cluster::site::{Site, address};
use crate::cluster::wires::{Count, Wires};
use needles::{AT_ENDS, AT_SOURCE, Needles};

pub use needles::Named;

/// The client, at the source.
const TALKER: &str = r#"
name = "talker"
exec = "/usr/lib/octet/talker"
user = "extra-1"
sockets.control.path = "/run/octet/talker.sock"
sockets.control.open = true
sandbox.network = "host"
"#;

/// The echo service, at the end.
const MIRROR: &str = r#"
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

/// `remake` with both programs.
pub fn with_programs(remake: Remake) -> Remake {
    let remake = remake.program("talker", &guest("talker")).unit(TALKER);
    remake.program("listener", &guest("listener")).unit(MIRROR)
}

pub fn forward(site: &Site, board: u8, verb: &str, args: Value) -> Value {
    site.ask(Node::Board(board), "forward", verb, args)
}

/// Waits until these boards know each other and have links to each other.
pub fn are_linked(site: &Site, boards: &[u8]) {
    site.wait("all links are up", || {
        boards.iter().all(|board| {
            let links = forward(site, *board, "links", json!({}));
            let rows = links.as_array().unwrap();
            rows.len() == boards.len() - 1 && rows.iter().all(|row| row["up"] == true)
        })
    });
    site.wait("all are known", || {
        forward(site, boards[0], "status", json!({}))["nodes"] == boards.len()
    });
}

/// Makes a path from the first of `boards` through all others, in this order, to the last one. It
/// carries data by TCP and UDP, and neither the wires nor the relays have more than they need.
/// Returns the path and its two ends. There is no other board in the box.
pub fn passes(site: &Site, wires: &Wires, boards: &[u8]) -> (Value, [Named; 2]) {
    let [source, relays @ .., end] = boards else { panic!("{boards:?}") };
    let via = relays.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let asked = json!({ "to": end.to_string(), "via": via, "alone": true });
    let path = path_add(site, *source, &asked);
    let pinged = forward(site, *source, "ping", json!({ "path": path }));
    let paths = forward(site, *source, "paths", json!({}));
    println!("{pinged}\n{paths}");
    let named = [source, end].map(|board| Named::of(site, *board));
    let [plain, payload] =
        ["plain", "payload"].map(|it| format!("{it}-{:032x}", fastrand::u128(..)));
    let needles = Needles { plain: &plain, payload: &payload, named: &named, path: &paths[0] };

    // Without a path the packet is not encrypted: the first wire carries it, and the router drops
    // it.
    say(site, (*source, "word"), &format!("{}:{PORT}", address(*end)), &plain, 100);
    carries(site, boards, &door(&named[1]), &payload);
    only_where_a_line_leads(site, boards, &door(&named[0]), &payload);
    who_is_on_the_way_knows_only_neighbours(wires, boards, &needles);
    relays_know_nothing_of_it(site, boards, &needles);
    (path, named)
}

/// Makes `board` send `mark` repeatedly to `to`, `bytes` bytes in total.
fn say(site: &Site, (board, how): (u8, &str), to: &str, mark: &str, bytes: usize) -> Value {
    let args = json!({ "to": to, "mark": mark, "bytes": bytes });
    site.ask(Node::Board(board), "talker", how, args)
}

/// The address of the echo service of a node.
pub fn door(at: &Named) -> String {
    SocketAddrV6::new(at.address, PORT, 0, 0).to_string()
}

/// Sends data by TCP in both directions, and a datagram with the minimum MTU of IPv6 links (RFC
/// 8200, section 5).
fn carries(site: &Site, boards: &[u8], to: &str, mark: &str) {
    let all = |bytes: usize| json!({ "said": bytes, "back": bytes, "same": true });
    // On a busy host each answer may be late.
    let talk = |how: &str, bytes: usize| {
        let args = json!({ "to": to, "mark": mark, "bytes": bytes });
        site.machine(Node::Board(boards[0])).call_unit("talker", how, args).ok()
    };
    site.wait("a connection comes through", || talk("tcp", STREAM) == Some(all(STREAM)));
    // Other packets on the path at that moment are counted, too.
    site.wait("a packet of 1280 bytes goes each way, whole", || {
        let before = counts(site, boards[1]);
        if talk("udp", DATAGRAM) != Some(all(DATAGRAM)) {
            return false;
        }
        let grown = counts(site, boards[1]).into_iter().map(|(of, (packets, bytes))| {
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
fn only_where_a_line_leads(site: &Site, boards: &[u8], to: &str, mark: &str) {
    let [source, .., end] = boards else { panic!("{boards:?}") };
    // Other packets may be denied meanwhile, too.
    site.wait("a packet of 1280 bytes to the source is denied", || {
        let before = denied(site, *source);
        say(site, (*end, "word"), to, mark, DATAGRAM);
        site.wait("it is counted", || denied(site, *source) > before);
        denied(site, *source) == before + 1280
    });
}

/// The bytes that arrived at the source by paths and were dropped.
fn denied(site: &Site, source: u8) -> u64 {
    let shown = site.ask(Node::Board(source), "netd", "show", json!({}));
    let mut lines = shown["rules"].as_array().unwrap().iter().filter_map(Value::as_str);
    lines.find(|line| line.contains("counter denied_by_path {")).unwrap();
    let (_, bytes) = lines.next().unwrap().split_once("bytes ").unwrap();
    bytes.trim().parse().unwrap()
}

/// The first relay's counters of each label, in both directions: packets and bytes.
fn counts(site: &Site, relay: u8) -> BTreeMap<(String, String, u64), (u64, u64)> {
    let shown = forward(site, relay, "labels", json!({}));
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
fn who_is_on_the_way_knows_only_neighbours(wires: &Wires, boards: &[u8], needles: &Needles<'_>) {
    let [source, first, .., end] = *boards else { panic!("{boards:?}") };
    let links = wires.links(LONGEST_CONTROL);
    println!("{links:?}");
    // The path's packets have at most 1356 bytes. Between other boards there are a few that probe
    // the MTU.
    let carries = |count: &Count| count.long >= STREAM / 1356;
    let carrying: BTreeSet<_> =
        links.iter().filter(|(_, count)| carries(count)).map(|(ends, _)| *ends).collect();
    let steps = boards.windows(2).flat_map(|step| [(step[0], step[1]), (step[1], step[0])]);
    assert_eq!(carrying, steps.collect());
    for ends in [(source, end), (end, source), (first, end)] {
        assert!(links[&ends].frames > 0, "probes go everywhere: {links:?}");
    }

    let all: BTreeMap<_, _> = boards
        .iter()
        .map(|wire| {
            let known: &[_] = if *wire == source { &["links", "plain"] } else { &["links"] };
            (*wire, known.iter().copied().collect())
        })
        .collect();
    let mut found = wires.found(&needles.of_wires());
    // The other sockets of the router are not connected.
    found.retain(|wire, found| all.contains_key(wire) || !found.is_empty());
    assert_eq!(found, all);
}

/// The data that is in the memory of the source and the end, and not in that of the relays.
fn relays_know_nothing_of_it(site: &Site, boards: &[u8], needles: &Needles<'_>) {
    let [source, .., end] = *boards else { panic!("{boards:?}") };
    let (of_box, of_path) = (needles.of_box(), needles.of_path());
    let all: Vec<_> =
        of_box.iter().chain(&of_path).map(|(name, needle)| (*name, &needle[..])).collect();
    let is_of_path = |name: &&str| of_path.iter().any(|(other, _)| other == name);
    for board in boards.iter().copied() {
        let dump = site.machine(Node::Board(board)).dump_memory().unwrap();
        let found = dump.contains(&all).unwrap();
        println!("{board} has in its memory: {found:?}");
        let (of_path, of_box): (BTreeSet<_>, BTreeSet<_>) = found.into_iter().partition(is_of_path);
        assert_eq!(of_box, needles.of_box().iter().map(|(name, _)| *name).collect(), "{board}");
        if board == source {
            assert!(of_path.is_superset(&AT_SOURCE.into()), "{board}: {of_path:?}");
        } else if board == end {
            assert!(of_path.is_superset(&AT_ENDS.into()), "{board}: {of_path:?}");
        } else {
            assert_eq!(of_path, BTreeSet::new(), "{board}");
        }
    }
}
