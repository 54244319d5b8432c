//! A program that sends a packet to a node gets a path to it automatically.

use octet_machine::Node;
use serde_json::{Value, json};

use crate::cluster::adopted::{drop_way, path_add};
use crate::cluster::site::Site;

const END: u8 = 5;

const NOBODY: &str = "[fc00::1]:7000";

fn paths(site: &Site, board: u8) -> Vec<Value> {
    let shown = site.ask(Node::Board(board), "forward", "paths", json!({}));
    shown.as_array().unwrap().clone()
}

fn is_any_in_use(rows: &[Value]) -> bool {
    rows.iter().any(|row| row["active"] == true)
}

/// `board` communicates with the service at `to`, which is at the end. There was no path between
/// them before.
pub fn passes(site: &Site, board: u8, to: &str) {
    assert_eq!(paths(site, board), [] as [Value; 0]);
    let machine = site.machine(Node::Board(board));
    let said = |how: &str, to: &str, bytes: usize| {
        machine.call_unit("talker", how, json!({ "to": to, "mark": "unasked", "bytes": bytes }))
    };
    said("word", NOBODY, 100).unwrap();
    site.wait("a connection comes about", || {
        said("tcp", to, 1000).is_ok_and(|it| it["back"] == 1000 && it["same"] == true)
    });
    // On a busy host a path may have timed out just now, and been replaced. The end may also have
    // started a path to `board` by sending packets itself; both sides then use that one.
    let mut all = vec![];
    site.wait("one is in use", || {
        all = paths(site, board);
        is_any_in_use(&all) || is_any_in_use(&paths(site, END))
    });
    println!("unasked: {all:?}");
    // The node's name resolves without a query, to its address.
    let shown = site.ask(Node::Board(END), "forward", "status", json!({}));
    let found = site.ask(Node::Board(board), "lan", "lookup", json!({ "name": shown["name"] }));
    assert_eq!(found["addresses"], json!([shown["address"]]));
    // There is no path to the unknown node.
    let ends = |row: &Value| row["to"] == "board-5";
    assert!(all.iter().all(ends), "{all:?}");
    one_that_was_asked_for_goes_before(site, board, to);
}

/// The end requests a path to `board`, which has an automatic path to the end: both use the
/// requested one, as long as it exists.
fn one_that_was_asked_for_goes_before(site: &Site, board: u8, to: &str) {
    let mut before = [vec![], vec![]];
    let mut used = || {
        let now = [END, board].map(|at| paths(site, at));
        if now != before {
            println!("unasked: {END}: {:?}, {board}: {:?}", now[0], now[1]);
            before.clone_from(&now);
        }
        now.map(|rows| is_any_in_use(&rows))
    };
    path_add(site, END, &json!({ "to": board.to_string(), "via": "2" }));
    site.wait("both take what was asked for", || used() == [true, false]);
    drop_way(site, END);
    // Usually that is the path of `board`. But if the end's own path was the automatic one, it was
    // dropped just now, and a new one starts with the next packet.
    let args = json!({ "to": to, "mark": "unasked", "bytes": 100 });
    let say = || site.ask(Node::Board(board), "talker", "word", args.clone());
    site.wait("one that began by itself is in use", || {
        used().contains(&true) || {
            say();
            false
        }
    });
}
