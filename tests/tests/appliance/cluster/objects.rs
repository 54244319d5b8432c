//! Objects go from board to board over the router, and are there when the board is gone that had them first.

use octet_machine::Node;
use octet_tests::{Bytes, DiskFile, USED, shipped};
use serde_json::{Value, json};

use crate::cluster::site::{Site, text};

/// What lets boards ask each other for objects.
const LINES: &str =
    "[[policy]]\nfrom = \"boards\"\nto = \"boards\"\nprotocol = \"udp\"\nports = [4433]\n";

/// The boards.
const PLACES: [(Node, u8); 3] = [(Node::Board(1), 1), (Node::Board(2), 2), (Node::Board(3), 3)];

/// Asks `node` for the object until it is there: others may not have a key yet, or not be in the map.
fn wait_for(site: &Site, node: Node, hash: &Value, size: usize) {
    site.wait(&format!("{node} has it"), || {
        let got = site.machine(node).call_unit("cache", "get", json!({ "hash": hash }));
        if let Err(error) = &got {
            println!("{node}: {error}");
        }
        got.is_ok_and(|got| got["size"] == size)
    });
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn an_object_outlives_the_board_that_had_it_first() {
    let site = Site::new(4, &text(4, LINES));
    let disks = [(); 3].map(|()| DiskFile::flashed(&shipped(), USED));
    site.power_on(Node::Router);
    for ((node, _), disk) in PLACES.iter().zip(&disks) {
        site.power_on_with(*node, disk);
    }
    for node in [Node::Router].into_iter().chain(PLACES.map(|(node, _)| node)) {
        site.wait_ready(node);
    }
    site.wait_whole(&PLACES);
    let bytes: Vec<u8> = (0..1_000_003usize).map(|at| (at * at / 251 + at) as u8).collect();
    let machine = site.machine(Node::Board(1));
    let added = machine.send_file("cache", "add", "file", &mut Bytes(bytes.clone())).unwrap();
    drop(machine);
    wait_for(&site, Node::Board(2), &added["hash"], bytes.len());
    site.cluster.cut_power(Node::Board(1)).unwrap();
    wait_for(&site, Node::Board(3), &added["hash"], bytes.len());
    let stats = site.ask(Node::Board(3), "cache", "stats", json!({}));
    println!("{stats}");
    let nodes = stats["nodes"].as_array().unwrap();
    let second = nodes.iter().find(|row| row["board"] == 2).unwrap();
    assert_eq!(second["gave"], 1, "{stats}");
}
