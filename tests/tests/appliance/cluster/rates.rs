//! A path carries what its source has asked for, and no more: the kernels of its hops see to it.

use octet_machine::Node;
use serde_json::{Value, json};

use crate::cluster::adopted::path_add;
use crate::cluster::site::Site;
use crate::cluster::uplink::kill;

const SOURCE: u8 = 1;
const RELAY: u8 = 2;
const END: u8 = 5;

/// What is said by a connection, each way: much more than what may come at once.
const STREAM: usize = 300_000;

/// kbit/s: 50 000 bytes in a second.
const RATE: u32 = 400;

/// Packets at a board with the label of the one path that is there: what has come by a link, has gone, or was too
/// much.
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
    // A connection comes through all the same, whole.
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
    // Something may go by at any time: what has come is asked before what was sent.
    let came = packets(site, RELAY, "fl1", "in");
    assert!(came + dropped <= packets(site, SOURCE, "fl2", "out"));
    // What is too much for the relay has not gone on.
    site.wait("what was let has gone on", || {
        packets(site, RELAY, "fl1", "in") == packets(site, RELAY, "fl5", "out")
    });
    // So it is when the daemon there comes back; what was dropped is counted still.
    kill(site, Node::Board(RELAY), "forward");
    site.wait("the relay knows the path", || {
        let status = site.ask(Node::Board(RELAY), "forward", "status", json!({}));
        status["relayed"] == 1
    });
    assert!(above() >= dropped);
    let dropped = above();
    site.wait("it drops again", || talk() && above() > dropped);
    // Without a bound nothing is dropped.
    forward("rate", json!({ "path": path, "rate": 0 }));
    assert_eq!(forward("paths", json!({}))[0]["kilobits"], Value::Null);
    site.wait("all is let", || {
        let before = above();
        talk() && above() == before
    });
    forward("drop", json!({ "path": path }));
    site.wait("nothing of it is left", || packets(site, RELAY, "fl1", "in") == 0);
}
