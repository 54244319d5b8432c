//! cluster end to end over loopback: a coordinator and its boards, each in a process of its own.
//! Each refusal is preceded by a permitted request to the same coordinator, and followed by another
//! one.

#![cfg(test)]

mod attacks;
mod box_status;
mod churn;
mod crowd;
mod drained;
mod host;
mod killed;
mod manager;
mod raw;
mod rogues;
mod shown;
mod stand_in;

use std::net::TcpListener;
use std::sync::Arc;

use host::{Host, settings};
use octet_node::control::{CallError, FailureCode};
use octet_node::key::PrivateKey;
use octet_node::map::SignedMap;
use serde_json::{Value, json};

struct Cluster {
    owner: PrivateKey,
    port: Arc<TcpListener>,
    coordinator: Host,
    boards: Vec<Host>,
}

impl Cluster {
    /// A cluster whose nodes do not run yet.
    fn new(enrol: &str, boards: u8) -> Self {
        let owner = PrivateKey::generate().unwrap();
        let settings = settings(enrol, json!([]), &owner);
        let port = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let host = |number| Host::new(&port, number, &settings);
        let (coordinator, boards) = (host(0), (1..=boards).map(host).collect());
        Self { owner, port, coordinator, boards }
    }

    /// A cluster with a running coordinator.
    fn held(enrol: &str) -> Self {
        let mut cluster = Self::new(enrol, 0);
        cluster.coordinator.start();
        cluster.coordinator.holds();
        cluster.coordinator.map_until(|map| is_whole(map, 0));
        cluster
    }

    /// The final map, once all nodes have it: it has all nodes with all their certificates.
    fn map(&self) -> SignedMap {
        let all = || [0].into_iter().chain(self.boards.iter().map(|board| board.number));
        self.coordinator.map_until(|map| all().all(|number| is_whole(map, number)));
        let has_it = |row: &Value, sequence: &Value| row["has_map"] == *sequence;
        let numbers = || self.boards.iter().map(|board| usize::from(board.number) - 1);
        let shown = self.coordinator.show_until(|shown| {
            let sequence = &shown["sequence"];
            numbers().all(|index| has_it(&shown["boards"][index], sequence))
                && numbers().all(|index| shown["boards"][index]["connected"] == true)
        });
        let sequence = shown["sequence"].as_u64().unwrap();
        self.coordinator.map_until(|map| map.map().version.sequence >= sequence)
    }
}

/// Whether a node is in the map with both its certificates, of which one arrives a little later.
fn is_whole(map: &SignedMap, number: u8) -> bool {
    map.map().member(number).is_some_and(|it| it.certificates.len() == 2)
}

/// The error message of a call.
fn denied(result: Result<Value, CallError>) -> String {
    match result {
        Err(CallError::Failure(failure)) => {
            assert_eq!(failure.code, FailureCode::Denied, "{failure}");
            assert!(!failure.help.is_empty());
            failure.message
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn four_boards_come_to_one_map() {
    let mut cluster = Cluster::new("first-use", 4);
    // Two boards start before the coordinator, in arbitrary order.
    for index in [2, 0] {
        cluster.boards[index].start();
    }
    cluster.coordinator.start();
    cluster.coordinator.holds();
    for index in [3, 1] {
        cluster.boards[index].start();
    }
    let map = cluster.map();
    assert_eq!(map.map().coordinator, cluster.coordinator.node());
    for (board, member) in cluster.boards.iter().zip(&map.map().members[1..]) {
        assert_eq!((member.number, member.node), (board.number, board.node()));
        assert_eq!(member.addresses[0].to_string(), format!("10.20.{}.2", board.number));
        assert_eq!(board.map_until(|_| true).text(), map.text());
        let shown = board.show();
        assert_eq!((&shown["state"], &shown["number"]), (&json!("enrolled"), &json!(board.number)));
        assert_eq!(shown["sequence"], map.map().version.sequence);
    }
    let row = cluster.coordinator.row_until(3, |row| row["report"]["state"] == "ready");
    assert_eq!((&row["state"], &row["by"]), (&json!("enrolled"), &json!("first-use")));

    // The coordinator is killed: all nodes keep the map, and it continues from there.
    cluster.coordinator.kill();
    assert_eq!(cluster.boards[1].map_until(|_| true).text(), map.text());
    cluster.coordinator.start();
    cluster.coordinator.holds();
    assert_eq!(cluster.map().text(), map.text());

    // A board is killed and reconnects: nothing has changed.
    cluster.boards[0].kill();
    cluster.coordinator.row_until(1, |row| row["connected"] == false && row["state"] == "enrolled");
    cluster.boards[0].start();
    assert_eq!(cluster.map().text(), map.text());

    // It has another key of cluster, and all others receive its certificate.
    let before = map.map().version.sequence;
    cluster.boards[0].identity.rotate();
    let epoch = |map: &SignedMap| {
        let board = map.map().member(1).unwrap();
        board.certificate("cluster").unwrap().statement().epoch
    };
    let newer = cluster.boards[2].map_until(|map| epoch(map) == 2);
    assert!(newer.map().version.sequence > before);
}

#[test]
fn an_owner_approves_replaces_and_revokes() {
    let mut cluster = Cluster::new("approve", 2);
    cluster.coordinator.start();
    cluster.coordinator.holds();
    for board in &mut cluster.boards {
        board.start();
    }
    let (coordinator, boards) = (&cluster.coordinator, &cluster.boards);
    let row = coordinator.row_until(1, |row| row["state"] == "pending");
    assert_eq!(row["waiting"]["key"], json!(boards[0].node()));
    boards[0].show_until(|shown| shown["state"].as_str().unwrap().contains("approve"));
    coordinator.ask("approve", json!({"number": "1"})).unwrap();
    boards[0].map_until(|map| map.map().member(1).is_some());
    assert!(boards[0].map_until(|_| true).map().member(2).is_none());
    assert!(denied(coordinator.ask("approve", json!({"number": "3"}))).contains("no key waits"));
    assert!(denied(coordinator.ask("replace", json!({"number": "7"}))).contains("no board 7"));
    assert!(boards[0].ask("approve", json!({"number": "2"})).is_err());

    // Settings that permit the other board are active when the call returns.
    let apply = |enrol: &str, board: Value| {
        let mut sections = coordinator.config.0.lock().unwrap();
        sections["cluster"]["enrol"] = json!(enrol);
        sections["board"] = board;
        drop(sections);
        coordinator.ask("config-apply", json!({})).unwrap();
    };
    apply("first-use", json!([]));
    boards[0].map_until(|map| map.map().member(2).is_some());
    // Settings that forbid it again.
    apply("first-use", json!([{"number": 2, "key": boards[0].node()}]));
    boards[1].show_until(|shown| shown["state"].as_str().unwrap().contains("settings name"));
    let map = coordinator.map_until(|_| true);
    assert!(map.map().member(2).is_none(), "{}", map.text());
    apply("first-use", json!([]));
    cluster.map();

    let revoked = coordinator.ask("revoke", json!({"number": "1"})).unwrap();
    assert_eq!(revoked["revoked"], json!(boards[0].node()));
    let map = boards[1].map_until(|map| map.map().member(1).is_none());
    assert_eq!(map.map().revoked, [boards[0].node()]);
    boards[0].show_until(|shown| shown["state"].as_str().unwrap().contains("revoked"));
    let row = coordinator.row_until(1, |row| row["refused"]["times"].as_u64() > Some(1));
    assert_eq!(row["state"], "revoked");
    assert!(coordinator.has_logged(&["REFUSED", "revoked"]), "{}", coordinator.log());
    assert!(denied(coordinator.ask("revoke", json!({"number": "1"}))).contains("no key"));
}

#[test]
fn without_a_cluster_there_is_nothing_to_do() {
    let cluster = Cluster::held("first-use");
    cluster.coordinator.map_until(|_| true);
    cluster.coordinator.config.0.lock().unwrap().remove("cluster");
    cluster.coordinator.ask("config-apply", json!({})).unwrap();
    cluster.coordinator.show_until(|shown| shown["role"] == "this box is one board");
    assert!(cluster.coordinator.ask("replace", json!({"number": "1"})).is_err());
    cluster.coordinator.config.0.lock().unwrap().insert("cluster".into(), json!({"boards": 4}));
    cluster.coordinator.ask("config-apply", json!({})).unwrap();
    cluster.coordinator.holds();
}
