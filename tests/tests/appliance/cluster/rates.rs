//! The kernels of a path's hops enforce the rate that its source has requested.

use octet_machine::Node;
use serde_json::{Value, json};

use crate::cluster::adopted::path_add;
use crate::cluster::site::Site;
use crate::cluster::uplink::kill;

const SOURCE: u8 = 1;
const RELAY: u8 = 2;
const END: u8 = 5;

/// The bytes of a connection, in each direction: much more than the burst.
const STREAM: usize = 300_000;

/// In kbit/s: 50 000 bytes per second.
const RATE: u32 = 400;

/// The packets at a board with the label of the only path: received at a link, sent, or above the
/// limit.
fn packets(site: &Site, board: u8, link: &str, way: &str) -> u64 {
    let rows = site.ask(Node::Board(board), "forward", "labels", json!({}));
    let is_it = |row: &&Value| row["link"] == link && row["way"] == way;
    let rows = rows.as_array().unwrap().iter().filter(is_it);
    rows.map(|row| row["packets"].as_u64().unwrap()).sum()
}

pub fn passes(site: &Site) {
    let forward = |verb: &str, args: Value| site.ask(Node::Board(SOURCE), "forward", verb, args);
    let asked = json!({ "to": "5", "via": "2", "alone": true, "rate": RATE });
    let path = path_add(site, SOURCE, &asked);
    assert_eq!(forward("paths", json!({}))[0]["kilobits"], RATE);
    let end = site.ask(Node::Board(END), "forward", "status", json!({}))["address"].clone();
    let to = format!("[{}]:7000", end.as_str().unwrap());
    // A connection still transfers all data.
    let talk = || {
        let args = json!({ "to": to, "mark": "rates", "bytes": STREAM });
        let machine = site.machine(Node::Board(SOURCE));
        let said = machine.call_unit("talker", "tcp", args);
        said.is_ok_and(|it| it["back"] == STREAM && it["same"] == true)
    };
    let above = || packets(site, RELAY, "fl1", "above");
    assert_eq!(above(), 0);
    site.wait("a connection comes through", talk);
    let dropped = above();
    println!("above its rate at the relay: {dropped}");
    assert!(dropped > 0);
    // There may be packets at any time, so the received ones are read before the sent ones.
    let came = packets(site, RELAY, "fl1", "in");
    assert!(came + dropped <= packets(site, SOURCE, "fl2", "out"));
    // Packets above the relay's limit were not forwarded.
    site.wait("what was let has gone on", || {
        packets(site, RELAY, "fl1", "in") == packets(site, RELAY, "fl5", "out")
    });
    // The limit persists over a restart of the daemon, and so does the count of drops.
    kill(site, Node::Board(RELAY), "forward");
    site.wait("the relay knows the path", || {
        let status = site.ask(Node::Board(RELAY), "forward", "status", json!({}));
        status["relayed"] == 1
    });
    assert!(above() >= dropped);
    let dropped = above();
    site.wait("it drops again", || talk() && above() > dropped);
    // Without a limit nothing is dropped.
    forward("rate", json!({ "path": path, "rate": 0 }));
    assert_eq!(forward("paths", json!({}))[0]["kilobits"], Value::Null);
    site.wait("all is let", || {
        let before = above();
        talk() && above() == before
    });
    forward("drop", json!({ "path": path }));
    site.wait("nothing of it is left", || packets(site, RELAY, "fl1", "in") == 0);
}
