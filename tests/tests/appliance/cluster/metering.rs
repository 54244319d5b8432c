//! The nodes' counters of a path equal the traffic on its wires, to the byte. Only plain links can
//! be compared, because their labels are visible.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use octet_machine::Node;
use serde_json::{Value, json};

use crate::cluster::adopted::path_add;
use crate::cluster::site::Site;
use crate::cluster::uplink::kill;
use crate::cluster::wires::Wires;
use crate::cluster::{guessed, lossy};

/// The source, the relay and the end. All links to other boards are WireGuard.
pub const PATH: [u8; 3] = [4, 1, 3];

/// The policy that makes the links of the path plain.
pub const LINES: &str = r#"
[[policy]]
from = ["board-4", "board-3"]
to = "board-1"
protocol = "mpls-in-ip"

[[policy]]
from = "board-1"
to = ["board-4", "board-3"]
protocol = "mpls-in-ip"
"#;

/// Longer than WireGuard's timers: a keepalive follows a received packet that was not answered (10
/// s; its paper, section 6.5), and a new handshake follows a sent packet without any answer (5 s
/// more, and up to a third of a second).
const SILENCE: Duration = Duration::from_secs(20);

/// The interval of checks for silence: polling all three boards without a pause would use up their
/// CPU time.
const LOOK: Duration = Duration::from_secs(3);

/// A counter's place at a board: in or out, the other board of the link, and the label.
pub type Place = (u8, &'static str, u8, u64);

/// Packets and bytes.
pub type Count = (u64, u64);

pub type Counts = BTreeMap<Place, Count>;

/// On a path over plain links each hop's counters equal the traffic on its wire: while the daemons
/// are killed, and finally in the records of the path. Before the path ends, a neighbour guesses
/// labels.
pub fn passes(site: &Site, wires: &Wires) {
    let [source, relay, end] = PATH;
    let forward = |board, verb, args| site.ask(Node::Board(board), "forward", verb, args);
    for (board, plain) in [(source, vec![1]), (relay, vec![3, 4]), (end, vec![1])] {
        let links = forward(board, "links", json!({}));
        let rows = links.as_array().unwrap().iter().filter(|row| row["by"] == "plain");
        assert_eq!(rows.map(|row| row["board"].clone()).collect::<Vec<_>>(), plain, "{board}");
    }
    let asked = json!({ "to": end.to_string(), "via": relay.to_string(), "alone": true });
    let path = path_add(site, source, &asked);
    let others = guessed::others(site);
    let node = forward(end, "status", json!({}))["address"].as_str().unwrap().to_owned();
    let ping = || forward(source, "ping", json!({ "path": path }));
    let talk = || {
        for bytes in [1, 100, 1232] {
            let args =
                json!({ "to": format!("[{node}]:7000"), "mark": "metering", "bytes": bytes });
            site.ask(Node::Board(source), "talker", "word", args);
        }
        ping();
    };
    talk();
    let first = same(site, wires);
    // Both directions at both sides of each link.
    assert_eq!(first.len(), 8, "{first:?}");
    site.machine(Node::Board(relay))
        .call("signal", json!({"unit": "forward", "signal": "KILL"}))
        .unwrap();
    talk();
    for board in PATH {
        kill(site, Node::Board(board), "forward");
    }
    site.wait("the ends know their path again", || {
        let paths = forward(source, "paths", json!({}));
        let stands = paths.as_array().unwrap().iter().any(|row| row["state"] == "up");
        stands && forward(end, "status", json!({}))["relayed"] == 1
    });
    talk();
    let lost = lossy::plainly(site, wires, &PATH, &node);
    quiet(site, &PATH);
    let last = same(site, wires);
    println!("{first:?} -> {last:?}, {lost:?} were lost on the wires");
    assert_eq!(last.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    // At least three packets of 1232 bytes and their headers were sent, and answered.
    for (place, (packets, bytes)) in &last {
        let (before, of_before) = first[place];
        assert!(*packets > before && *bytes > of_before, "{place:?}");
    }

    let role = |board: u8| {
        ["source", "relay", "end"][usize::from(board != source) + usize::from(board == end)]
    };
    let record = |board: u8, ended: bool| {
        let rows = forward(board, "records", json!({}));
        let of = |row: &&Value| row["role"] == role(board) && row["number"].is_null() != ended;
        let found: Vec<_> = rows
            .as_array()
            .unwrap()
            .iter()
            .filter(of)
            .filter_map(|row| recorded(board, row))
            .collect();
        let all: Counts =
            found.into_iter().flatten().filter(|(place, _)| last.contains_key(place)).collect();
        all
    };
    let here = |board: u8| -> Counts {
        last.iter()
            .filter(|(place, _)| place.0 == board)
            .map(|(place, count)| (*place, *count))
            .collect()
    };
    for board in PATH {
        assert_eq!(record(board, false), here(board), "{board}");
        assert_eq!(record(board, true), Counts::new(), "{board}");
    }
    guessed::passes(site, wires);
    let at_last: Counts = PATH.into_iter().flat_map(|board| counted(site, board)).collect();
    forward(source, "drop", json!({ "path": path }));
    forward(guessed::OTHERS[0], "drop", json!({ "path": others }));
    site.wait("all have recorded it", || PATH.iter().all(|board| !record(*board, true).is_empty()));
    for board in PATH {
        let here = at_last.iter().filter(|(place, _)| place.0 == board && last.contains_key(place));
        assert_eq!(record(board, true), here.map(|(place, count)| (*place, *count)).collect());
        assert_eq!(record(board, false), Counts::new(), "{board}");
    }
}

/// Waits until the counters of the path's boards equal the traffic on the wires. Returns them.
fn same(site: &Site, wires: &Wires) -> Counts {
    let mut counts = Counts::new();
    site.wait("each hop counts what its wire has", || {
        counts = PATH.into_iter().flat_map(|board| counted(site, board)).collect();
        // Labels without traffic are not on the wires.
        counts.retain(|place, count| PATH.contains(&place.2) && *count != (0, 0));
        let mut seen = wires.labels();
        seen.retain(|place, _| counts.contains_key(place));
        println!("counted {counts:?}, seen {seen:?}");
        seen == counts && !counts.is_empty()
    });
    counts
}

/// Waits until there is no traffic with the labels of a path's boards any more. Then none follows
/// until something is sent.
pub fn quiet(site: &Site, path: &[u8; 3]) {
    let all = || path.iter().flat_map(|board| counted(site, *board)).collect::<Counts>();
    let (mut counts, mut since) = (all(), Instant::now());
    site.wait("nothing goes by any more", || {
        std::thread::sleep(LOOK);
        let before = std::mem::replace(&mut counts, all());
        if before != counts {
            since = Instant::now();
        }
        since.elapsed() > SILENCE
    });
}

/// The counters of a board.
pub fn counted(site: &Site, board: u8) -> Counts {
    let rows = site.ask(Node::Board(board), "forward", "labels", json!({}));
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let count = |row: &Value| {
        let place = (board, way(&row["way"]), other(&row["link"]), number(row, "label"));
        (place, (number(row, "packets"), number(row, "bytes")))
    };
    rows.as_array().unwrap().iter().map(count).collect()
}

fn way(value: &Value) -> &'static str {
    if value == "in" { "in" } else { "out" }
}

/// The board at a link: its number is that of the link.
fn other(link: &Value) -> u8 {
    link.as_str().and_then(|link| link.strip_prefix("fl")).unwrap().parse().unwrap()
}

/// The counters in a record, in the same form.
fn recorded(board: u8, row: &Value) -> Option<Counts> {
    let sides = ["previous_hop", "next_hop"].into_iter().filter(|side| !row[side].is_null());
    let ways = sides.flat_map(|side| ["in", "out"].map(|way| (side, way)));
    let number = |value: &Value| value.as_u64();
    ways.map(|(side, way)| {
        let (link, count) = (&row[side]["link"], &row[side][way]);
        let place = (board, way, other(link), number(&count["label"])?);
        Some((place, (number(&count["packets"])?, number(&count["bytes"])?)))
    })
    .collect()
}
