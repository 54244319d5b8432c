//! False coordinators, and a new genuine one.

use octet_cluster::message::{FromBoard, FromCoordinator};
use octet_node::key::PrivateKey;
use octet_node::map::MapVersion;
use octet_node::statement::{Appointment, SignedAppointment};
use serde_json::json;

use crate::host::{Host, settings};
use crate::raw::Node;
use crate::{Cluster, denied};

fn appoint(owner: &PrivateKey, coordinator: &Node, epoch: u64) -> SignedAppointment {
    let appointment = Appointment {
        owner: owner.public(),
        coordinator: coordinator.public(),
        epoch,
        replaces: None,
    };
    SignedAppointment::sign(appointment, owner).unwrap()
}

#[test]
fn a_board_believes_the_coordinator_that_it_knows() {
    let mut cluster = Cluster::new("first-use", 1);
    let (one, version) = (Node::new(), |epoch, sequence| MapVersion { epoch, sequence });
    let port = &*cluster.port;
    cluster.boards[0].start();
    let board = &cluster.boards[0];
    // The board pins the first coordinator that it meets, and reports its map.
    let (mut link, join) = one.hold(port, version(1, 7), None).unwrap();
    assert_eq!(join.unwrap().number, Some(1));
    link.say(&FromCoordinator::Welcome { number: 1 });
    link.say(&FromCoordinator::Map(Box::new(one.map(version(1, 7)))));
    assert_eq!(link.board_says(), Some(FromBoard::Have(version(1, 7))));
    link.say(&FromCoordinator::Map(Box::new(one.map(version(1, 8)))));
    assert_eq!(link.board_says(), Some(FromBoard::Have(version(1, 8))));
    let kept = board.map_until(|_| true);

    // The same coordinator sends an old map again, and a map that another node has signed.
    let other = Node::new();
    for (map, part) in [
        (one.map(version(1, 7)), "an old one is shown again"),
        (other.map(version(1, 9)), "not the coordinator"),
    ] {
        link.say(&FromCoordinator::Map(Box::new(map)));
        link.ends();
        assert!(board.has_logged(&["REFUSED", part]), "{}", board.log());
        assert_eq!(board.map_until(|_| true), kept);
        (link, _) = one.hold(port, version(1, 8), None).unwrap();
        link.say(&FromCoordinator::Map(Box::new(kept.clone())));
        assert_eq!(link.board_says(), Some(FromBoard::Have(version(1, 8))));
    }
    drop(link);

    // Another coordinator: without an appointment, with one by a stranger, with one of another
    // node, and with an old one.
    let stranger = PrivateKey::generate().unwrap();
    let owner = &cluster.owner;
    for (epoch, statement, part) in [
        (1, None, "octetctl sign-coordinator"),
        (2, None, "octetctl sign-coordinator"),
        (2, Some(appoint(&stranger, &other, 2)), "no owner of this box"),
        (2, Some(appoint(owner, &one, 2)), "about another node"),
        (2, Some(appoint(owner, &other, 3)), "another epoch"),
        (1, Some(appoint(owner, &other, 1)), "knows of epoch 1"),
    ] {
        let (_, join) = other.hold(port, version(epoch, 9), statement).unwrap();
        assert_eq!(join, None, "it says nothing to it");
        assert!(board.has_logged(&["REFUSED", part]), "{part}: {}", board.log());
        assert_eq!(board.map_until(|_| true), kept);
    }
    // With an owner's appointment it is trusted, and the previous one is not any more.
    let (mut link, join) =
        other.hold(port, version(2, 1), Some(appoint(owner, &other, 2))).unwrap();
    assert_eq!(join.unwrap().map, Some(kept));
    link.say(&FromCoordinator::Map(Box::new(other.map(version(2, 1)))));
    assert_eq!(link.board_says(), Some(FromBoard::Have(version(2, 1))));
    drop(link);
    let (_, join) = one.hold(port, version(1, 9), None).unwrap();
    assert_eq!(join, None);
    // The same holds after a restart.
    cluster.boards[0].kill();
    cluster.boards[0].start();
    let (_, join) = one.hold(&cluster.port, version(1, 9), None).unwrap();
    assert_eq!(join, None);
    let (_, join) = other.hold(&cluster.port, version(2, 1), None).unwrap();
    assert!(join.is_some());
}

/// A router with another key replaces a lost one. The box is complete again without an operation on
/// any board, although the settings require approval of each key.
#[test]
fn a_new_coordinator_has_the_boards_of_the_old_one() {
    let mut cluster = Cluster::new("approve", 3);
    cluster.coordinator.start();
    cluster.coordinator.holds();
    for board in &mut cluster.boards {
        board.start();
        let number = board.number;
        cluster.coordinator.row_until(number, |row| row["state"] == "pending");
        cluster.coordinator.ask("approve", json!({"number": number.to_string()})).unwrap();
    }
    let map = cluster.map();
    assert_eq!(map.map().members.len(), 4);
    // One of them is off meanwhile.
    let mut off = cluster.boards.pop().unwrap();
    off.kill();
    let settings = settings("approve", json!([]), &cluster.owner);
    let mut new = Host::new(&cluster.port, 0, &settings);
    cluster.coordinator.kill();
    new.start();
    new.holds();
    let board = &cluster.boards[0];
    let new_key = new.node().to_string();
    assert!(board.has_logged(&["REFUSED", &new_key, "sign-coordinator"]), "{}", board.log());

    let (owner, coordinator) = (cluster.owner.public(), new.node());
    let replaces = Some(map.map().coordinator);
    let sign = |key: &PrivateKey, epoch| {
        let appointment = Appointment { owner: key.public(), coordinator, epoch, replaces };
        json!({"statement": SignedAppointment::sign(appointment, key).unwrap()})
    };
    assert!(
        denied(new.ask("adopt", sign(&PrivateKey::generate().unwrap(), 2)))
            .contains("does not own")
    );
    assert!(denied(new.ask("adopt", sign(&cluster.owner, 1))).contains("of epoch 1"));
    assert!(new.ask("adopt", json!({"statement": "x"})).is_err());
    new.ask("adopt", sign(&cluster.owner, 2)).unwrap();
    assert_eq!(owner, cluster.owner.public());
    let taken = cluster.boards[1]
        .map_until(|map| map.map().version.epoch == 2 && map.map().members.len() == 4);
    for member in &map.map().members[1..] {
        assert_eq!(taken.map().member(member.number).unwrap().node, member.node);
    }
    assert_eq!(new.row_until(3, |_| true)["by"], "taken-over");
    off.start();
    new.row_until(3, |row| row["connected"] == true);
    // The old coordinator returns, and no board trusts it.
    new.kill();
    cluster.coordinator.start();
    let old = cluster.coordinator.node().to_string();
    assert!(off.has_logged(&["REFUSED", &old]), "{}", off.log());
    cluster.coordinator.kill();
    new.start();
    new.holds();
    new.row_until(3, |row| row["connected"] == true);
}
