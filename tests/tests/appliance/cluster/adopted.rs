//! Paths stay up while the daemons that set them up are killed and restarted.

use std::collections::BTreeMap;

use octet_machine::Node;
use serde_json::{Value, json};

use crate::cluster::site::Site;
use crate::cluster::uplink::kill;

/// The rx and tx counters of a board, by link, direction and label.
type Counts = BTreeMap<(String, String, u64), u64>;

fn counts(site: &Site, board: u8) -> Counts {
    let rows = site.ask(Node::Board(board), "forward", "labels", json!({}));
    let of = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let key = (text("link"), text("way"), row["label"].as_u64().unwrap());
        (key, row["packets"].as_u64().unwrap())
    };
    rows.as_array().unwrap().iter().map(of).collect()
}

/// Adds the path `asked` at `source`, with retries: a daemon that was killed has a new onion key,
/// which the others learn a little later.
pub fn path_add(site: &Site, source: u8, asked: &Value) -> Value {
    let machine = site.machine(Node::Board(source));
    let mut path = Value::Null;
    site.wait(&format!("board {source} makes a path"), || {
        let made = machine.call_unit("forward", "path-add", asked.clone());
        path = made.map_or(Value::Null, |made| made["path"].clone());
        !path.is_null()
    });
    path
}

/// Drops the route that begins at `source`.
pub fn drop_way(site: &Site, source: u8) {
    let ask = |verb: &str, args: Value| {
        site.machine(Node::Board(source)).call_unit("forward", verb, args).ok()
    };
    // On a busy host the path may have timed out, and another one may have replaced it.
    site.wait("it is dropped", || {
        let paths = ask("paths", json!({}));
        paths.is_some_and(|rows| ask("drop", json!({ "to": rows[0]["to"] })).is_some())
    });
}

/// Kills each daemon on a path from the first of `boards` through the others to the last one:
/// packets pass meanwhile, the labels are unchanged afterwards, and their counters continue.
pub fn passes(site: &Site, path: &Value, boards: &[u8]) {
    let [source, relays @ .., _] = boards else { panic!("{boards:?}") };
    let ping = || site.ask(Node::Board(*source), "forward", "ping", json!({"path": path}));
    ping();
    let before: Vec<_> = boards.iter().map(|board| counts(site, *board)).collect();
    let relayed = || -> Vec<_> {
        let status = |board: &u8| site.ask(Node::Board(*board), "forward", "status", json!({}));
        boards[1..].iter().map(|board| status(board)["relayed"].clone()).collect()
    };
    let relayed_before = relayed();
    for relay in relays {
        let machine = site.machine(Node::Board(*relay));
        machine.call("signal", json!({"unit": "forward", "signal": "KILL"})).unwrap();
        ping();
    }
    for board in boards {
        kill(site, Node::Board(*board), "forward");
    }
    // A daemon that has not recovered its paths yet misses a teardown.
    site.wait("all know the path again", || {
        let paths = site.ask(Node::Board(*source), "forward", "paths", json!({}));
        let own = paths.as_array().unwrap().iter().find(|row| row["path"] == *path).cloned();
        own.is_some_and(|row| row["state"] == "up") && relayed() == relayed_before
    });
    ping();
    for (board, before) in boards.iter().zip(before) {
        let now = counts(site, *board);
        println!("board {board}: {before:?} -> {now:?}");
        assert_eq!(now.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        assert!(before.iter().all(|(key, count)| now[key] > *count), "board {board}");
    }
    // The path still belongs to the source.
    site.ask(Node::Board(*source), "forward", "drop", json!({"path": path}));
    let mut left = vec![];
    site.wait("nothing of it is left", || {
        let is_left = |board: &&u8| !counts(site, **board).is_empty();
        let now: Vec<_> = boards.iter().filter(is_left).collect();
        if now != left {
            println!("something is left at boards {now:?}");
            for board in &now {
                let lines = site.machine(Node::Board(**board)).logs("forward").unwrap();
                println!(
                    "board {board}: {:?} {}",
                    counts(site, **board),
                    site.ask(Node::Board(**board), "forward", "status", json!({}))
                );
                println!("{}", lines[lines.len().saturating_sub(30)..].join("\n  "));
            }
        }
        left = now;
        left.is_empty()
    });
}
