//! Power cuts, disks that lose data, and silent peers.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};

use octet_cluster::message::{FromBoard, FromCoordinator, Join};
use octet_node::map::{MapVersion, SignedMap};
use serde_json::json;

use crate::raw::{Node, plain};
use crate::{Cluster, is_whole};

/// All maps that the coordinator sends to a board until it is killed. The first one is signalled to
/// `begins`.
fn maps(node: &Node, cluster: &Cluster, number: u8, begins: Sender<()>) -> Vec<SignedMap> {
    let (mut link, _) = node.connect(&cluster.port, number).unwrap();
    link.say(&node.join(number));
    let says = std::iter::from_fn(|| link.coordinator_says());
    let maps = says.filter_map(|message| match message {
        FromCoordinator::Map(map) => Some(*map),
        _ => None,
    });
    let tell = |_: &SignedMap| {
        // The test waits for the first one only.
        let _ = begins.send(());
    };
    maps.inspect(tell).collect()
}

/// The coordinator is killed repeatedly during changes: there are never two maps with one number,
/// and no map that was sent is lost.
#[test]
fn killed_at_any_moment() {
    let mut cluster = Cluster::held("first-use");
    let (watcher, mut given) = (Node::new(), BTreeMap::<MapVersion, SignedMap>::new());
    for round in 0..10u64 {
        let seen = std::thread::scope(|scope| {
            let shared = &cluster;
            let (begins, begun) = channel();
            let watching = scope.spawn(|| maps(&watcher, shared, 1, begins));
            begun.recv().unwrap();
            let changing = scope.spawn(move || {
                // The round determines the number of changes; the kill interrupts the next one.
                for _ in 0..=round {
                    let _ = shared.coordinator.ask("replace", json!({"number": "2"}));
                    let other = Node::new();
                    let Ok((mut link, _)) = other.connect(&shared.port, 2) else { return };
                    link.say(&other.join(2));
                    link.coordinator_says();
                }
            });
            changing.join().unwrap();
            let _ = shared.coordinator.ask("replace", json!({"number": "2"}));
            let other = Node::new();
            if let Ok((mut link, _)) = other.connect(&shared.port, 2) {
                link.say(&other.join(2));
            }
            shared.coordinator.kill_now();
            watching.join().unwrap()
        });
        cluster.coordinator.reap();
        let last = given.keys().next_back().copied();
        for map in seen {
            let version = map.map().version;
            assert!(last.is_none_or(|last| version >= last), "{version:?} after {last:?}");
            let before = given.insert(version, map.clone());
            assert!(before.is_none_or(|before| before.text() == map.text()), "{version:?}");
        }
        cluster.coordinator.start();
        cluster.coordinator.holds();
        let now = cluster.coordinator.map_until(|_| true);
        if let Some((version, map)) = given.last_key_value() {
            assert!(now.map().version >= *version);
            assert!(now.map().version > *version || now.text() == map.text());
        }
    }
    assert!(given.len() > 20, "{}", given.len());
}

/// The coordinator's disk is restored from an earlier copy: it recovers the lost state from a
/// board.
#[test]
fn a_disk_that_was_put_back() {
    let mut cluster = Cluster::held("first-use");
    let (one, two) = (Node::new(), Node::new());
    let welcome = |number| FromCoordinator::Welcome { number };
    assert_eq!(one.tries(&cluster.port, 1, &one.join(1)), welcome(1));
    cluster.coordinator.map_until(|map| map.map().member(1).is_some());
    let state = cluster.coordinator.state();
    let files =
        ["book", "map"].map(|name| (state.join(name), std::fs::read(state.join(name)).unwrap()));
    assert_eq!(two.tries(&cluster.port, 2, &two.join(2)), welcome(2));
    cluster.coordinator.ask("revoke", json!({"number": "1"})).unwrap();
    let newest = cluster.coordinator.map_until(|map| !map.map().revoked.is_empty());
    cluster.coordinator.kill();
    for (path, bytes) in &files {
        std::fs::write(path, bytes).unwrap();
    }
    cluster.coordinator.start();
    cluster.coordinator.holds();
    assert_eq!(one.tries(&cluster.port, 1, &one.join(1)), welcome(1));
    let shows = Join { map: Some(newest.clone()), ..two.join(2) };
    assert_eq!(two.tries(&cluster.port, 2, &shows), welcome(2));
    let is_newer = |map: &SignedMap| map.map().version > newest.map().version;
    let map = cluster.coordinator.map_until(|map| is_newer(map) && is_whole(map, 0));
    assert_eq!((map.map().member(1), &map.map().revoked[..]), (None, &[one.public()][..]));
    assert!(matches!(one.tries(&cluster.port, 1, &one.join(1)), FromCoordinator::Refused { .. }));

    // A damaged registry admits no board, and logs that; the map is still available.
    cluster.coordinator.kill();
    std::fs::write(&files[0].0, "nothing").unwrap();
    cluster.coordinator.start();
    assert!(cluster.coordinator.has_logged(&["no board is enrolled", "book", "damaged"]));
    cluster
        .coordinator
        .show_until(|shown| shown["role"].as_str().unwrap().contains("cannot be read"));
    assert_eq!(cluster.coordinator.map_until(|_| true).text(), map.text());
    // A lost registry is recovered from the map.
    cluster.coordinator.kill();
    std::fs::remove_file(&files[0].0).unwrap();
    cluster.coordinator.start();
    cluster.coordinator.holds();
    assert_eq!(two.tries(&cluster.port, 2, &two.join(2)), welcome(2));
    assert!(matches!(one.tries(&cluster.port, 1, &one.join(1)), FromCoordinator::Refused { .. }));
    assert_eq!(cluster.coordinator.map_until(|_| true).map(), map.map());
}

/// A board whose own file is damaged trusts no coordinator without an owner's appointment.
#[test]
fn a_board_that_does_not_know_whom_it_believed() {
    let mut cluster = Cluster::new("first-use", 1);
    let (one, version) = (Node::new(), MapVersion { epoch: 1, sequence: 7 });
    cluster.boards[0].start();
    let (mut link, _) = one.hold(&cluster.port, version, None).unwrap();
    link.say(&FromCoordinator::Map(Box::new(one.map(version))));
    assert_eq!(link.board_says(), Some(FromBoard::Have(version)));
    cluster.boards[0].kill();
    std::fs::write(cluster.boards[0].state().join("map"), "nothing").unwrap();
    cluster.boards[0].start();
    let (_, join) = one.hold(&cluster.port, version, None).unwrap();
    assert_eq!(join, None);
    let shown = cluster.boards[0].show_until(|shown| shown["state"] != "not connected yet");
    assert!(shown["trouble"].as_str().unwrap().contains("damaged"), "{shown}");
}

#[test]
fn who_is_silent_is_gone() {
    let mut cluster = Cluster::new("first-use", 1);
    cluster.coordinator.silence = 300;
    cluster.coordinator.start();
    cluster.coordinator.holds();
    let (one, number) = (Node::new(), 2);
    let (mut link, _) = one.connect(&cluster.port, number).unwrap();
    link.say(&one.join(number));
    assert_eq!(link.coordinator_says(), Some(FromCoordinator::Welcome { number }));
    link.ends();
    assert!(cluster.coordinator.has_logged(&["board 2", "it timed out"]));
    // A board that does not even send a hello.
    cluster.coordinator.kill();
    cluster.coordinator.handshake = 300;
    cluster.coordinator.start();
    cluster.coordinator.holds();
    let mut link = plain(&cluster.port, crate::host::address(number));
    assert_eq!(std::io::Read::read(&mut link, &mut [0]).unwrap_or(0), 0);
    assert!(cluster.coordinator.has_logged(&["board 2", "the handshake timed out"]));
    cluster.coordinator.kill();
    // A coordinator that is silent towards a board, which reconnects.
    cluster.boards[0].silence = 300;
    cluster.boards[0].start();
    for _ in 0..2 {
        let version = MapVersion { epoch: 1, sequence: 1 };
        let (mut link, join) = one.hold(&cluster.port, version, None).unwrap();
        assert!(join.is_some());
        while link.board_says().is_some() {}
    }
}
