//! A program that says something to a node has a path to it, though nobody has asked for one.

use octet_machine::Node;
use serde_json::{Value, json};

use crate::cluster::site::Site;

/// Nobody has this address.
const NOBODY: &str = "[fc00::1]:7000";

fn paths(site: &Site, board: u8) -> Vec<Value> {
    let shown = site.ask(Node::Board(board), "forward", "paths", json!({}));
    shown.as_array().unwrap().clone()
}

/// `board` speaks with who listens at `to`, which is board 5. There is no path before.
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
    // On a busy host it may have seemed silent just now, and another one was asked for.
    let mut all = vec![];
    site.wait("it is in use", || {
        all = paths(site, board);
        all.iter().any(|row| row["in use"] == true)
    });
    println!("unasked: {all:?}");
    // Its name is known without asking anybody, and leads there.
    let shown = site.ask(Node::Board(5), "forward", "status", json!({}));
    let found = site.ask(Node::Board(board), "lan", "lookup", json!({ "name": shown["name"] }));
    assert_eq!(found["addresses"], json!([shown["address"]]));
    // To nobody there is none.
    let ends = |row: &Value| row["hops"].as_str().unwrap().ends_with("board-5");
    assert!(all.iter().all(ends), "{all:?}");
}
