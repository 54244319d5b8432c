//! A box whose router does not run Octet: a board is the coordinator.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;

use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::map::SignedMap;
use octet_node::statement::{Appointment, SignedAppointment};
use serde_json::{Value, json};

use crate::attacks::{refused, welcome};
use crate::host::{Host, address, settings};
use crate::raw::{Node, plain};
use crate::{denied, is_whole};

/// Such a box with four boards.
struct Box {
    owner: PrivateKey,
    boards: Vec<Host>,
}

/// The settings of boards, of which `manager` is the coordinator.
fn roles(manager: u8) -> Value {
    json!([{"number": manager, "role": "manager", "services": ["cache"]}])
}

impl Box {
    /// Creates a box whose coordinator is board `manager`. Its nodes do not run yet.
    fn new(manager: u8) -> Self {
        let owner = PrivateKey::generate().unwrap();
        let settings = Self::settings(manager, &owner);
        let router = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let mut boards: Vec<_> =
            (1..=4).map(|number| Host::new(&router, number, &settings)).collect();
        let port = |host: &Host| (host.number, host.own.local_addr().unwrap().port());
        let managers: Vec<_> = boards.iter().map(port).collect();
        boards.iter_mut().for_each(|host| host.managers.clone_from(&managers));
        Self { owner, boards }
    }

    fn settings(manager: u8, owner: &PrivateKey) -> Value {
        let mut settings = settings("first-use", roles(manager), owner);
        settings["cluster"]["router"] = json!("openwrt");
        settings
    }

    fn board(&self, number: u8) -> &Host {
        &self.boards[usize::from(number) - 1]
    }

    fn start(&mut self, numbers: &[u8]) {
        numbers.iter().for_each(|number| self.boards[usize::from(*number) - 1].start());
    }

    /// The map of `manager`, once it has all certificates of it and of `others`, and these have
    /// received it.
    fn map(&self, manager: u8, others: &[u8]) -> SignedMap {
        let coordinator = self.board(manager);
        coordinator.map_until(|map| [manager].iter().chain(others).all(|it| is_whole(map, *it)));
        let shown = coordinator.show_until(|shown| {
            let row = |number: &u8| &shown["boards"][usize::from(*number) - 1];
            others.iter().all(|number| {
                row(number)["connected"] == true && row(number)["has_map"] == shown["sequence"]
            })
        });
        let sequence = shown["sequence"].as_u64().unwrap();
        coordinator.map_until(|map| map.map().version.sequence >= sequence)
    }

    /// Makes the settings of all nodes name `manager` as the manager.
    fn appoint_by_settings(&self, manager: u8) {
        for host in &self.boards[..3] {
            host.config.0.lock().unwrap()["board"] = roles(manager);
            host.ask("config-apply", json!({})).unwrap();
        }
    }

    fn statement(&self, of: u8, epoch: u64, replaces: u8) -> Value {
        let (owner, coordinator) = (self.owner.public(), self.board(of).node());
        let replaces = Some(self.board(replaces).node());
        let appointment = Appointment { owner, coordinator, epoch, replaces };
        json!({ "statement": SignedAppointment::sign(appointment, &self.owner).unwrap() })
    }
}

fn members(map: &SignedMap) -> Vec<(u8, PublicKey)> {
    map.map().members.iter().map(|member| (member.number, member.node)).collect()
}

#[test]
fn a_board_holds_the_map_and_is_in_it() {
    let mut cluster = Box::new(2);
    // Boards may start before the coordinator.
    cluster.start(&[1, 2, 3]);
    cluster.board(2).holds();
    cluster.board(2).map_until(|map| map.map().members.len() == 3);
    let map = cluster.map(2, &[1, 3]);
    let node = |number| cluster.board(number).node();
    assert_eq!(members(&map), [(1, node(1)), (2, node(2)), (3, node(3))]);
    assert_eq!(map.map().coordinator, node(2));
    assert_eq!(map.map().member(2).unwrap().addresses[0].to_string(), "10.20.2.2");
    for number in [1, 3] {
        assert_eq!(cluster.board(number).map_until(|_| true).text(), map.text());
        let shown = cluster.board(number).show();
        assert_eq!((&shown["state"], &shown["coordinator"]), (&json!("enrolled"), &json!(node(2))));
    }
    let shown = cluster.board(2).show();
    assert_eq!(
        (&shown["number"], &shown["boards"][1]["state"]),
        (&json!(2), &json!("coordinator"))
    );
    assert_eq!(shown["trouble"], Value::Null);

    // The row of the coordinator itself is like the others, with its own report.
    let row = cluster.board(2).row_until(2, |row| row["report"]["state"] == "ready");
    assert_eq!((&row["node"], &row["connected"]), (&json!(node(2)), &json!(true)));
    assert_eq!(row["has_map"], json!(map.map().version.sequence));

    // A stranger claims to be board 2, from its own port and from that of board 2.
    let (coordinator, stranger) = (cluster.board(2), Node::new());
    welcome(&stranger.tries(&coordinator.own, 4, &stranger.join(4)), 4);
    coordinator.map_until(|map| map.map().members.len() == 4);
    let before = cluster.map(2, &[1, 3]);
    refused(stranger.tries(&coordinator.own, 4, &stranger.join(2)), "has the number of board 2");
    refused(stranger.tries(&coordinator.own, 2, &stranger.join(2)), "is board 2 itself");
    let row = coordinator.row_until(2, |row| row["refused"]["times"] == 1);
    assert_eq!((&row["node"], &row["state"]), (&json!(node(2)), &json!("coordinator")));
    assert_eq!(row["refused"]["key"], json!(stranger.public()));
    for verb in ["replace", "revoke"] {
        assert!(
            denied(coordinator.ask(verb, json!({"number": "2"})))
                .contains("is the coordinator itself")
        );
    }
    assert_eq!(coordinator.map_until(|_| true).text(), before.text());

    // Every node refuses settings that name another node for its number.
    let apply = |key: Option<PublicKey>| {
        let mut boards = roles(2);
        boards[0]["key"] = json!(key);
        coordinator.config.0.lock().unwrap()["board"] = boards;
        coordinator.ask("config-apply", json!({}))
    };
    apply(Some(node(2))).unwrap();
    assert!(denied(apply(Some(node(1)))).contains("cannot be the coordinator"));
    let trouble = coordinator.show()["trouble"].clone();
    assert!(trouble.as_str().unwrap().contains("name the key"), "{trouble}");
    apply(None).unwrap();
    assert_eq!(coordinator.map_until(|_| true).text(), before.text());

    // It is killed: all nodes keep the map, and it continues from there.
    cluster.boards[1].kill();
    assert_eq!(cluster.board(3).map_until(|_| true).text(), before.text());
    cluster.start(&[2]);
    cluster.board(2).holds();
    assert_eq!(cluster.map(2, &[1, 3]).text(), before.text());
}

#[test]
fn the_manager_is_drained_like_any_board() {
    let mut cluster = Box::new(2);
    cluster.start(&[2, 1]);
    cluster.board(2).holds();
    cluster.map(2, &[1]);
    assert_eq!(cluster.board(2).init.placed(1), ["cache"]);
    assert_eq!(cluster.board(1).init.placed(1), [""]);
    let drained = cluster.board(2).ask("drain", json!({"number": "2"})).unwrap();
    assert_eq!(drained["node"], json!(cluster.board(2).node()));
    assert_eq!(cluster.board(2).init.placed(2), ["cache", ""]);
    cluster.board(1).map_until(|map| map.map().member(2).unwrap().drained);

    // The status of the box has a row for each board, and none for a router that is not a node.
    let status = |number| cluster.board(number).ask("status", json!({})).unwrap();
    let column = |status: &Value, name: &str| -> Vec<Value> {
        status["nodes"].as_array().unwrap().iter().map(|node| node[name].clone()).collect()
    };
    let own = status(2);
    assert_eq!(column(&own, "number"), [1, 2, 3, 4]);
    assert_eq!(column(&own, "state"), ["enrolled", "drained", "none", "none"]);
    assert_eq!(column(&own, "connected"), [true, true, false, false]);
    let shown = status(1);
    assert_eq!(column(&shown, "state"), ["enrolled", "drained"]);
    assert!(shown["more"].as_str().unwrap().contains("status --box"), "{shown:#}");

    // It stays the coordinator, and drained over a restart, until it is undrained.
    cluster.boards[1].kill();
    cluster.start(&[2, 3]);
    cluster.board(2).holds();
    cluster.board(2).row_until(2, |row| row["state"] == "drained");
    cluster.board(2).map_until(|map| map.map().members.len() == 3);
    assert_eq!(cluster.board(2).init.placed(3), ["cache", "", ""]);
    cluster.board(2).ask("undrain", json!({"number": "2"})).unwrap();
    assert_eq!(cluster.board(2).init.placed(4)[3..], ["cache"]);
    cluster.board(2).row_until(2, |row| row["state"] == "coordinator");
}

/// A router with Octet in a box whose settings describe another router.
#[test]
fn a_router_of_ours_is_nothing_there() {
    let mut cluster = Box::new(1);
    cluster.start(&[1]);
    cluster.board(1).holds();
    let router = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let mut host = Host::new(&router, 0, &Box::settings(1, &cluster.owner));
    host.start();
    let shown = host.show_until(|shown| !shown["role"].as_str().unwrap().contains("yet"));
    assert!(shown["role"].as_str().unwrap().contains("neither the coordinator"), "{shown:#}");
    assert!(host.ask("drain", json!({"number": "1"})).is_err());
    assert_eq!(plain(&router, address(2)).read(&mut [0; 10]).unwrap_or(0), 0);
    // It takes its role as soon as the settings change.
    host.config.0.lock().unwrap()["cluster"] = json!({"boards": 4});
    host.ask("config-apply", json!({})).unwrap();
    host.holds();
}

/// The settings name another board: nodes trust it once an owner has appointed it, and not before.
#[test]
fn another_manager_needs_an_owners_statement() {
    let mut cluster = Box::new(2);
    cluster.start(&[2, 1, 3]);
    cluster.board(2).map_until(|map| map.map().members.len() == 3);
    let before = cluster.map(2, &[1, 3]);
    cluster.board(2).ask("drain", json!({"number": "1"})).unwrap();
    for number in [1, 3] {
        cluster.board(number).map_until(|map| map.map().member(1).unwrap().drained);
    }
    let before = before.map().version.sequence;

    cluster.appoint_by_settings(3);
    let of = |number: u8| cluster.board(number).node();
    let trouble = |shown: &Value| shown["trouble"].as_str().is_some_and(|it| it.contains("stated"));
    cluster.board(3).show_until(trouble);
    // The previous manager, too, requires more than settings.
    for number in [1, 2] {
        let refuses =
            |shown: &Value| shown["state"].as_str().is_some_and(|it| it.contains("REFUSED"));
        cluster.board(number).show_until(refuses);
    }
    for number in [1, 2, 3] {
        let map = cluster.board(number).map_until(|_| true);
        assert_eq!(map.map().coordinator, of(2), "{number}");
        assert!(map.map().version.sequence > before);
    }
    // A missing appointment is no reason to refuse other settings.
    cluster.board(3).config.0.lock().unwrap()["cluster"]["enrol"] = json!("approve");
    cluster.board(3).ask("config-apply", json!({})).unwrap();
    let early = cluster.board(3).ask("drain", json!({"number": "2"}));
    assert!(early.unwrap_err().to_string().contains("no key"));

    assert!(denied(cluster.board(3).ask("adopt", cluster.statement(3, 1, 2))).contains("epoch 1"));
    cluster.board(3).ask("adopt", cluster.statement(3, 2, 2)).unwrap();
    let map = cluster.map(3, &[1, 2]);
    assert_eq!(map.map().version.epoch, 2);
    assert_eq!(members(&map), [(1, of(1)), (2, of(2)), (3, of(3))]);
    assert!(map.map().member(1).unwrap().drained);
    assert_eq!(cluster.board(3).show()["trouble"], Value::Null);
    assert_eq!(cluster.board(2).show()["coordinator"], json!(of(3)));

    // Back to the previous manager: its old registry does not make it the coordinator either.
    cluster.appoint_by_settings(2);
    cluster.board(2).show_until(trouble);
    assert_eq!(cluster.board(2).map_until(|_| true).text(), map.text());
    cluster.board(2).ask("adopt", cluster.statement(2, 3, 3)).unwrap();
    let map = cluster.map(2, &[1, 3]);
    assert_eq!(map.map().version.epoch, 3);
    assert_eq!(members(&map), [(1, of(1)), (2, of(2)), (3, of(3))]);
}
