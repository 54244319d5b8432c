//! Nodes with false identities are refused and reported; all others keep working.

use octet_control::file::LocalFile;
use octet_machine::{Node, Socket};
use octet_tests::{DiskFile, Owner};
use serde_json::{Value, json};

use crate::cluster::kept::{Kept, PLACES, lines};
use crate::cluster::site::text;

/// All cases, on a complete box. `old` is an earlier copy of the router's disk; the box's owner is
/// `anna`, with `key`.
pub fn are_told_of(kept: &Kept, owner: &Owner, key: &str, old: DiskFile) {
    let site = &kept.site;
    let keys = site.wait_whole(&PLACES);
    // The blank board below is another node, too.
    swapped(kept);

    // A blank board at a known port is refused as another node until an owner permits the
    // replacement.
    kept.power_off(Node::Board(2));
    site.power_on(Node::Board(2));
    site.wait("the new key is told of", || site.refusal(2).is_some());
    assert_eq!(site.row(2)["node"], keys[&2]);
    site.ask(Node::Router, "cluster", "replace", json!({ "number": "2" }));
    // It waits for an owner's approval, like every board here.
    site.wait("it is there", || others(kept, 2).iter().any(|row| row["is"] == "waiting"));
    site.ask(Node::Router, "cluster", "approve", json!({ "number": "2" }));
    let replaced = site.wait_whole(&PLACES);
    assert_ne!(replaced[&2], keys[&2]);

    // A revoked board is still refused.
    site.ask(Node::Router, "cluster", "revoke", json!({ "number": "3" }));
    site.wait("it is revoked", || site.row(3)["state"] == "revoked");
    site.wait("it is not let in again", || site.refusal(3).is_some());
    assert_eq!(site.wait_whole(&PLACES[..2]), site.wait_whole(&PLACES[..2]));

    // A router with an old disk and an old map: the boards keep the newer map, and the router
    // recovers from theirs.
    let newest = sequence(kept);
    kept.power_off(Node::Router);
    site.power_on_with(Node::Router, &old);
    site.wait_ready(Node::Router);
    site.wait("it knows of the revoked one", || site.row(3)["state"] == "revoked");
    let learned = site.wait_whole(&PLACES[..2]);
    assert_eq!(learned[&2], replaced[&2]);
    assert!(sequence(kept) >= newest, "{} after {newest}", sequence(kept));

    another_router(kept, owner, &learned.into_iter().collect::<Vec<_>>());
    pinned(kept, key);
}

/// Two boards that are swapped while they are off: each is at the other's port.
fn swapped(kept: &Kept) {
    let site = &kept.site;
    let keys = site.wait_whole(&PLACES);
    kept.power_off(Node::Board(1));
    kept.power_off(Node::Board(2));
    site.cluster.plug(Socket::Router(1), Socket::Board(2)).unwrap();
    site.cluster.plug(Socket::Router(2), Socket::Board(1)).unwrap();
    kept.power_on(Node::Board(1));
    kept.power_on(Node::Board(2));
    for number in [1, 2] {
        site.wait("the wrong key is told of", || site.refusal(number).is_some());
        assert_eq!(site.row(number)["node"], keys[&number]);
        // The previous connection times out after half a minute.
        site.wait("the right one is missed", || site.row(number)["connected"] == false);
        println!("board {number}: {:?}", site.refusal(number));
    }
    assert_eq!(site.wait_whole(&PLACES[2..])[&3], keys[&3], "the third is not touched");
    // Back at their own ports.
    site.cluster.unplug(Socket::Router(1)).unwrap();
    site.cluster.plug(Socket::Router(2), Socket::Board(2)).unwrap();
    site.cluster.plug(Socket::Router(1), Socket::Board(1)).unwrap();
    assert_eq!(site.wait_whole(&PLACES), keys);
}

/// Another router: the boards have pinned their coordinator, and trust no other without an owner's
/// appointment.
fn another_router(kept: &Kept, owner: &Owner, boards: &[(u8, Value)]) {
    let site = &kept.site;
    let old = site.ask(Node::Router, "cluster", "show", json!({}))["node"].clone();
    kept.power_off(Node::Router);
    site.power_on(Node::Router);
    site.wait_ready(Node::Router);
    let shown = || site.ask(Node::Router, "cluster", "show", json!({}));
    site.wait("it has a name", || shown()["node"].is_string());
    let new = shown()["node"].clone();
    assert_ne!(new, old);
    site.wait("board 1 does not follow it", || {
        let shown = site.ask(Node::Board(1), "cluster", "show", json!({}));
        let state = shown["state"].as_str().unwrap();
        shown["coordinator"] == old
            && state.contains("not connected")
            && state.contains("coordinator")
    });
    let (new, old) = (new.as_str().unwrap(), old.as_str().unwrap());
    let words = ["sign-coordinator", new, "--epoch", "2", "--replaces", old];
    let statement = owner.ask("anna", &words).stdout.trim().to_owned();
    site.ask(Node::Router, "cluster", "adopt", json!({ "statement": statement }));
    let taken: Vec<_> = site.wait_whole(&PLACES[..2]).into_iter().collect();
    assert_eq!(taken, boards);
}

/// An owner names the keys: a board with another key is disconnected at once, and the others stay.
fn pinned(kept: &Kept, owner: &str) {
    let site = &kept.site;
    let keys = site.wait_whole(&PLACES[..2]);
    let lines = lines(owner).replace("approve", "pinned");
    let board = |number: u8, key: &Value| format!("[[board]]\nnumber = {number}\nkey = {key}\n");
    // A key of no node here.
    let other = Owner::new().keygen("nobody");
    let apply = |boards: &str| {
        let text = text(4, &format!("{lines}{boards}"));
        let mut file = LocalFile::Memory(text.into_bytes());
        let machine = site.machine(Node::Router);
        machine.send_file_with("config", "apply", json!({}), "file", &mut file).unwrap();
        site.ask(Node::Router, "config", "confirm", json!({}));
    };
    apply(&(board(1, &keys[&1]) + &board(2, &other.into())));
    site.wait("another key is named", || site.row(2)["state"] != "enrolled");
    assert_eq!(site.wait_whole(&PLACES[..1])[&1], keys[&1]);
    apply(&(board(1, &keys[&1]) + &board(2, &keys[&2])));
    assert_eq!(site.wait_whole(&PLACES[..2]), keys);
}

fn sequence(kept: &Kept) -> u64 {
    let shown = kept.site.ask(Node::Router, "cluster", "show", json!({}));
    shown["sequence"].as_u64().unwrap()
}

fn others(kept: &Kept, number: u8) -> Vec<Value> {
    let shown = kept.site.ask(Node::Router, "cluster", "show", json!({}));
    let all = shown["others"].as_array().unwrap().iter();
    all.filter(|row| row["board"] == number).cloned().collect()
}
