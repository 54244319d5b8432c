//! A client that floods the resolver affects only itself.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use octet_machine::Node;
use octet_machine::panel::peer::{Datagram, Peer};
use serde_json::json;

use crate::cluster::question;
use crate::cluster::site::{Site, address};
use crate::cluster::uplink::{ELSEWHERE, OURS, resolve, router};

/// The queries per second of the flood, and the number of names that another client resolves
/// meanwhile.
const FLOOD: u32 = 10_000;
const NAMES: usize = 20;

/// The number of attempts per name: on a busy host a guest may time out, by its own clock, before
/// it was scheduled.
const TRIES: u32 = 25;

/// The test's board sends 10 000 queries per second, each for another name; `board` gets all its
/// answers.
pub fn passes(site: &Site, board: Node, peer: &Peer) {
    let counted = || {
        let shown = site.ask(Node::Router, "lan", "show", json!({}));
        shown["names"]["counted"]["limited"].as_u64().unwrap()
    };
    // A guest's clock runs fast under load, so its timeouts are short, and unanswered queries are
    // repeated.
    let again = AtomicU32::new(0);
    let resolves = |name: &str| {
        let machine = site.machine(board);
        for _ in 0..TRIES {
            match machine.call_unit("lan", "lookup", json!({ "name": name })) {
                Ok(said) => {
                    return assert_eq!(said["addresses"][0], ELSEWHERE.to_string(), "{name}");
                }
                Err(error) => println!("{name}: {error}"),
            }
            again.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(200));
        }
        for node in [Node::Router, board] {
            println!("{node}: {}", site.ask(node, "lan", "show", json!({}))["names"]);
        }
        panic!("{name}: no answer to {TRIES} questions");
    };
    resolves("before.example");
    let before = counted();
    let began = Instant::now();
    let asked = std::thread::scope(|scope| {
        // Twenty names may be resolved before the limit is reached: it is a flood once something is
        // dropped.
        let other = scope.spawn(|| {
            site.wait("something is dropped", || counted() > before);
            (0..NAMES).for_each(|nth| resolves(&format!("www{nth}.example")));
        });
        let mut count = 0u32;
        while !other.is_finished() {
            let payload = question::question(count as u16, &format!("x{count}.example"));
            let (from, to) = ((address(OURS), 5354), (router(), 53));
            peer.send(&Datagram { from, to, payload }).unwrap();
            count += 1;
            let due = began + Duration::from_secs(1) * count / FLOOD;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        other.join().unwrap_or_else(|panic| resume_unwind(panic));
        count
    });
    let took = began.elapsed();
    // On a busy host the router's card receives fewer queries than were sent: the others wait
    // before it.
    let came = || {
        let shown = site.ask(Node::Router, "netd", "show", json!({ "links": true }));
        let name = format!("eth{OURS}");
        let link = |it: &&serde_json::Value| it["name"] == name;
        shown["links"].as_array().unwrap().iter().find(link).unwrap()["received"].as_u64().unwrap()
    };
    let mut seen = came();
    site.wait("the flood is over", || {
        let before = std::mem::replace(&mut seen, came());
        std::thread::sleep(Duration::from_millis(500));
        seen - before < 100
    });
    let limited = counted() - before;
    let again = again.into_inner();
    println!(
        "{asked} questions in {took:?}, {limited} of them dropped by lan; the other board asked {again} times again"
    );
    // The flooding board itself is served again, once it sends less.
    assert_eq!(resolve(peer, "after.example"), (0, Some(ELSEWHERE)));
}
