//! Wires with loss and reordering: each node receives the packets that the previous one has sent,
//! less the lost ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use octet_machine::{FrameAction, Node, Socket};
use serde_json::json;

use crate::cluster::adopted::path_add;
use crate::cluster::metering::{Counts, counted, quiet};
use crate::cluster::site::Site;
use crate::cluster::wires::{Wires, link, plain};

/// The number of datagrams.
const WORDS: usize = 60;

/// Longer than any message of forward itself, so that only packets of the path are lost.
const LONG: usize = 1232;

/// The same packet where labels are counted, as in `forward.rs`.
const COUNTED: u64 = 1344;

/// The same in a WireGuard frame: within IPv4 (20), padded to a multiple of 16, within WireGuard
/// (32), UDP (8), IPv4 (20) and Ethernet (14).
const FRAME: usize = (COUNTED as usize + 20).next_multiple_of(16) + 32 + 8 + 20 + 14;

/// One frame in this many is lost, or delayed.
const LOST: usize = 5;
const LATE: usize = 3;

/// A path without a plain link: its source, its relay, its end.
const SECRET: [u8; 3] = [2, 4, 5];

/// The number of frames that were lost between two boards.
type Lost = BTreeMap<(u8, u8), u64>;

/// Disturbs the frames whose boards `ends` returns, while `talk` runs.
fn disturbed(
    wires: &Wires,
    ends: impl Fn(&[u8]) -> Option<(u8, u8)> + Send + 'static,
    talk: impl FnOnce(),
) -> Lost {
    let lost = Arc::new(Mutex::new((0, Lost::new())));
    let counts = Arc::clone(&lost);
    wires.disturb(move |_: Socket, frame| {
        let Some(ends) = ends(frame) else { return FrameAction::Forward };
        let (seen, lost) = &mut *counts.lock().unwrap();
        *seen += 1;
        if *seen % LOST == 0 {
            *lost.entry(ends).or_default() += 1;
            return FrameAction::Drop;
        }
        if *seen % LATE == 0 { FrameAction::Delay } else { FrameAction::Forward }
    });
    talk();
    // Delayed frames are delivered soon.
    std::thread::sleep(std::time::Duration::from_secs(1));
    wires.calm();
    let lost = lost.lock().unwrap().1.clone();
    assert!(!lost.is_empty(), "nothing was lost");
    lost
}

fn say(site: &Site, from: u8, to: &str) {
    for word in 0..WORDS {
        let args =
            json!({ "to": format!("[{to}]:7000"), "mark": format!("lossy-{word}"), "bytes": LONG });
        site.ask(Node::Board(from), "talker", "word", args);
    }
}

/// On the path over plain links, whose counters are compared with those of the wires afterwards.
pub fn plainly(site: &Site, wires: &Wires, path: &[u8; 3], to: &str) -> Lost {
    disturbed(wires, plain, || say(site, path[0], to))
}

/// On a path over WireGuard, whose labels the wires do not show.
pub fn passes(site: &Site, wires: &Wires) {
    let [source, relay, end] = SECRET;
    let forward = |board, verb, args| site.ask(Node::Board(board), "forward", verb, args);
    let asked = json!({ "to": end.to_string(), "via": relay.to_string(), "alone": true });
    let path = path_add(site, source, &asked);
    forward(source, "ping", json!({ "path": path }));
    let node = forward(end, "status", json!({}))["address"].as_str().unwrap().to_owned();
    // The boards are queried one after the other, and both ends probe the MTU.
    quiet(site, &SECRET);
    let before = counts(site);
    let is_long = |frame: &[u8]| link(frame).filter(|_| frame.len() == FRAME);
    let lost = disturbed(wires, is_long, || say(site, source, &node));
    // The packets between two boards since then, for all labels.
    let grown = |board: u8, way: &str, other: u8| {
        let sum = |counts: &Counts| {
            let of = counts.iter().filter(|(it, _)| (it.0, it.1, it.2) == (board, way, other));
            of.fold((0, 0), |sum, (_, count)| (sum.0 + count.0, sum.1 + count.1))
        };
        let (had, has) = (sum(&before), sum(&counts(site)));
        (has.0 - had.0, has.1 - had.1)
    };
    for (from, to) in [(source, relay), (relay, end), (end, relay), (relay, source)] {
        let missing = lost.get(&(from, to)).copied().unwrap_or_default();
        let mut ways = ((0, 0), (0, 0));
        site.wait("each node has what the one before has sent, less what was lost", || {
            ways = (grown(from, "out", to), grown(to, "in", from));
            let (went, came) = ways;
            went.0 >= came.0 && (went.0 - came.0, went.1 - came.1) == (missing, missing * COUNTED)
        });
        println!("{from} to {to}: {ways:?}, {missing} lost on the way");
    }
    assert!(lost.contains_key(&(source, relay)) && lost.contains_key(&(relay, end)), "{lost:?}");
    forward(source, "drop", json!({ "path": path }));
}

/// The counters of all boards of the path.
fn counts(site: &Site) -> Counts {
    SECRET.into_iter().flat_map(|board| counted(site, board)).collect()
}
