//! Drained boards, on which no unit is scheduled.

use octet_node::control::FailureCode;
use octet_node::key::PrivateKey;
use octet_node::record::{Seat, SeatRecord};
use serde_json::{Value, json};

use crate::{Cluster, denied};

fn number(number: u8) -> Value {
    json!({ "number": number.to_string() })
}

#[test]
fn what_is_placed_on_a_board_follows_settings_and_drain() {
    let mut cluster = Cluster::new("first-use", 2);
    let services = |names: &[&str]| json!([{"number": 1, "services": names}]);
    for host in cluster.boards.iter().chain([&cluster.coordinator]) {
        host.config.0.lock().unwrap()["board"] = services(&["cache", "web"]);
    }
    cluster.coordinator.start();
    cluster.coordinator.holds();
    cluster.boards.iter_mut().for_each(crate::Host::start);
    cluster.map();
    let (coordinator, board) = (&cluster.coordinator, &cluster.boards[0]);
    assert_eq!(board.init.placed(1), ["cache,web"]);
    assert_eq!(cluster.boards[1].init.placed(1), [""]);

    // The drained board stops its scheduled units, and all nodes see the state.
    let drained = coordinator.ask("drain", number(1)).unwrap();
    assert_eq!((&drained["drained"], &drained["node"]), (&json!(true), &json!(board.node())));
    assert_eq!(board.init.placed(2), ["cache,web", ""]);
    let map = cluster.boards[1].map_until(|map| map.map().member(1).unwrap().drained);
    assert!(!map.map().member(2).unwrap().drained);
    coordinator.row_until(1, |row| row["state"] == "drained");
    let shown = cluster.boards[1].ask("status", json!({})).unwrap();
    assert_eq!(shown["nodes"][1]["state"], "drained");
    // The state persists over a restart of both, and changes of the settings do not affect it.
    cluster.coordinator.kill();
    cluster.coordinator.start();
    cluster.coordinator.holds();
    cluster.boards[0].kill();
    cluster.boards[0].start();
    cluster.map();
    let (coordinator, board) = (&cluster.coordinator, &cluster.boards[0]);
    assert_eq!(board.init.placed(3), ["cache,web", "", ""]);
    board.config.0.lock().unwrap()["board"] = services(&["web"]);
    board.ask("config-apply", json!({})).unwrap();
    coordinator.ask("undrain", number(1)).unwrap();
    assert_eq!(board.init.placed(4)[3..], ["web"]);
    board.config.0.lock().unwrap()["board"] = services(&["cache"]);
    board.ask("config-apply", json!({})).unwrap();
    assert_eq!(board.init.placed(5)[3..], ["web", "cache"]);

    // A number without a board, a board without a key, and a node that is not the coordinator.
    assert!(denied(coordinator.ask("drain", number(9))).contains("no board 9"));
    assert!(denied(coordinator.ask("drain", number(3))).contains("no key"));
    assert!(board.ask("drain", number(1)).is_err());
    // The other board was called once, and the router never.
    assert_eq!(cluster.boards[1].init.placed(1), [""]);
    assert!(coordinator.init.placed(0).is_empty());
}

/// A PID 1 that does not know the verb, or does not permit it to this unit: the problem is logged
/// once, and everything else works.
#[test]
fn a_pid_1_that_places_nothing() {
    let mut cluster = Cluster::new("first-use", 1);
    cluster.coordinator.start();
    cluster.coordinator.holds();
    for (times, code) in [(1, FailureCode::NotFound), (2, FailureCode::Denied)] {
        cluster.boards[0].init.refuse(Some(code));
        cluster.boards[0].start();
        assert!(cluster.boards[0].has_logged_often(&["PID 1 rejects", "not here"], times));
        cluster.map();
        cluster.boards[0].kill();
    }
    let log = cluster.boards[0].log();
    assert_eq!(log.matches("PID 1 rejects").count(), 2, "{log}");
    assert_eq!(cluster.boards[0].init.placed(2).len(), 2);
    // A PID 1 that is busy is called again.
    cluster.boards[0].init.refuse(Some(FailureCode::Busy));
    cluster.boards[0].start();
    cluster.boards[0].init.placed(4);
    cluster.boards[0].init.refuse(None);
    assert!(cluster.boards[0].has_logged(&["placed here: nothing"]));
}

/// An owner's record of an enrolled board is in the map.
#[test]
fn an_owner_vouches_for_a_board() {
    let mut cluster = Cluster::new("first-use", 1);
    cluster.coordinator.start();
    cluster.coordinator.holds();
    cluster.boards[0].start();
    cluster.map();
    let (coordinator, board) = (&cluster.coordinator, &cluster.boards[0]);
    let record = |owner: &PrivateKey, node| {
        let seat = Seat { owner: owner.public(), coordinator: coordinator.node(), number: 1, node };
        let record = SeatRecord::sign(seat, owner).unwrap();
        coordinator.ask("record", json!({ "number": "1", "record": record }))
    };
    let said = record(&cluster.owner, board.node()).unwrap();
    assert_eq!(said["node"], json!(board.node()));
    let map = board.map_until(|map| map.map().member(1).unwrap().record.is_some());
    let seat = *map.map().member(1).unwrap().record.as_ref().unwrap().body();
    assert_eq!((seat.owner, seat.node), (cluster.owner.public(), board.node()));
    assert!(denied(record(&cluster.owner, coordinator.node())).contains("another key"));
    let stranger = PrivateKey::generate().unwrap();
    assert!(denied(record(&stranger, board.node())).contains("does not own"));
    assert!(coordinator.ask("record", json!({ "number": "1", "record": "nonsense" })).is_err());
}
