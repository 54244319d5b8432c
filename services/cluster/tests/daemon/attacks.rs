//! Boards with false identities.

use std::net::Ipv4Addr;

use octet_cluster::message::{FromCoordinator, Join};
use octet_node::map::MapVersion;
use serde_json::json;

use crate::Cluster;
use crate::raw::{Node, plain};

pub fn refused(answer: FromCoordinator, part: &str) {
    match answer {
        FromCoordinator::Refused { reason } => assert!(reason.contains(part), "{reason}"),
        other => panic!("{other:?}"),
    }
}

pub fn welcome(answer: &FromCoordinator, number: u8) {
    assert_eq!(*answer, FromCoordinator::Welcome { number });
}

#[test]
fn a_board_is_one_number() {
    let cluster = Cluster::held("first-use");
    let (coordinator, port) = (&cluster.coordinator, &*cluster.port);
    let (one, two, stranger) = (Node::new(), Node::new(), Node::new());
    welcome(&one.tries(port, 1, &one.join(1)), 1);
    welcome(&two.tries(port, 2, &two.join(2)), 2);
    let map = coordinator.map_until(|map| map.map().members.len() == 3);

    // It claims another number.
    refused(one.tries(port, 1, &one.join(2)), "has the number of board 2");
    refused(stranger.tries(port, 3, &stranger.join(1)), "has the number of board 1");
    let row = coordinator.row_until(3, |row| row["refused"]["times"] == 1);
    assert_eq!(
        (&row["state"], &row["refused"]["key"]),
        (&json!("refused"), &json!(stranger.public()))
    );
    // An unknown key at the port of an enrolled board.
    refused(stranger.tries(port, 1, &stranger.join(1)), "cluster replace 1");
    // Two boards whose ports are swapped.
    refused(one.tries(port, 2, &one.join(2)), "it is board 1");
    refused(two.tries(port, 1, &two.join(1)), "it is board 2");
    let row = coordinator
        .row_until(1, |row| row["refused"]["why"].as_str().unwrap_or("").contains("board 2"));
    assert_eq!(row["refused"]["key"], json!(two.public()));
    assert!(coordinator.has_logged(&["REFUSED", &two.public().to_string(), "board 1"]));
    // The registry is unchanged, and the genuine boards are admitted.
    welcome(&one.tries(port, 1, &one.join(1)), 1);
    welcome(&two.tries(port, 2, &two.join(2)), 2);
    assert_eq!(coordinator.map_until(|_| true).text(), map.text());
    assert_eq!(coordinator.row_until(1, |row| row["refused"].is_null())["state"], "enrolled");

    // One other key is accepted, once.
    coordinator.ask("replace", json!({"number": "1"})).unwrap();
    welcome(&stranger.tries(port, 1, &stranger.join(1)), 1);
    refused(one.tries(port, 1, &one.join(1)), "cluster replace 1");
    let map = coordinator.map_until(|map| map.map().member_by_key(&stranger.public()).is_some());
    assert!(map.map().member_by_key(&one.public()).is_none());
    coordinator.ask("revoke", json!({"number": "1"})).unwrap();
    refused(stranger.tries(port, 1, &stranger.join(1)), "revoked");
    refused(stranger.tries(port, 4, &stranger.join(4)), "revoked");
    refused(one.tries(port, 1, &one.join(1)), "cluster replace 1");
}

#[test]
fn what_was_replaced_does_not_count() {
    let cluster = Cluster::held("first-use");
    let (port, one, two) = (&*cluster.port, Node::new(), Node::new());
    let with = |epoch| {
        let certificate = one.certificate(epoch);
        Join { certificates: Some(vec![certificate.clone()]), certificate, ..one.join(1) }
    };
    welcome(&one.tries(port, 1, &with(2)), 1);
    refused(one.tries(port, 1, &with(1)), "number 2 was seen before");
    welcome(&one.tries(port, 1, &with(2)), 1);
    // The certificate of another board, without its private key.
    refused(two.tries(port, 2, &one.join(2)), "not its own");
    let mixed = Join { certificates: Some(vec![one.certificate(1)]), ..two.join(2) };
    refused(two.tries(port, 2, &mixed), "another's");
    welcome(&two.tries(port, 2, &two.join(2)), 2);
}

#[test]
fn a_new_connection_takes_the_place_of_the_old_one() {
    let cluster = Cluster::held("first-use");
    let (port, one, stranger) = (&*cluster.port, Node::new(), Node::new());
    let (mut first, _) = one.connect(port, 1).unwrap();
    first.say(&one.join(1));
    welcome(&first.coordinator_says().unwrap(), 1);
    let Some(FromCoordinator::Map(map)) = first.coordinator_says() else {
        panic!("there is a map")
    };
    // A refused board does not replace the connection of the enrolled one.
    refused(stranger.tries(port, 1, &stranger.join(1)), "cluster replace");
    cluster
        .coordinator
        .row_until(1, |row| row["connected"] == true && row["refused"]["times"] == 1);
    first.say(&json!({"have": map.map().version}));
    cluster.coordinator.row_until(1, |row| row["has_map"] == map.map().version.sequence);
    let (mut second, _) = one.connect(port, 1).unwrap();
    second.say(&one.join(1));
    welcome(&second.coordinator_says().unwrap(), 1);
    first.ends();
    let Some(FromCoordinator::Map(again)) = second.coordinator_says() else {
        panic!("there is a map")
    };
    assert_eq!(again.text(), map.text());
}

#[test]
fn garbage_costs_only_who_sends_it() {
    let cluster = Cluster::held("first-use");
    let (port, one, two) = (&*cluster.port, Node::new(), Node::new());
    let (mut there, _) = two.connect(port, 2).unwrap();
    there.say(&two.join(2));
    welcome(&there.coordinator_says().unwrap(), 2);
    let join = serde_json::to_value(one.join(1)).unwrap();
    let mut strange = join.clone();
    strange["x"] = json!(1);
    let version = MapVersion { epoch: 1, sequence: 1 };
    // Before the hello.
    for bytes in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        b"OCT1\xff\xff\xff\xff",
        b"OCT1\0\0\0\x02{}",
        b"OCT1\0\0\0\x01\xff",
    ] {
        let (mut link, _) = one.connect(port, 1).unwrap();
        link.bytes(bytes);
        link.ends();
    }
    for value in [strange, json!([]), json!({"have": version})] {
        let (mut link, _) = one.connect(port, 1).unwrap();
        link.say(&value);
        link.ends();
    }
    // After the hello.
    let long = json!({"report": {"text": "x".repeat(17 << 10)}});
    for value in
        [json!({"welcome": {"number": 1}}), json!("ping"), json!({"certificates": 7}), long]
    {
        let (mut link, _) = one.connect(port, 1).unwrap();
        link.say(&one.join(1));
        welcome(&link.coordinator_says().unwrap(), 1);
        link.say(&value);
        link.ends();
    }
    // A connection without TLS, and one from an address that is not a board's.
    let mut link = plain(port, crate::host::address(1));
    std::io::Write::write_all(&mut link, b"OCT1\0\0\0\x02{}").unwrap();
    let mut rest = vec![];
    let _ = std::io::Read::read_to_end(&mut link, &mut rest);
    let mut link = plain(port, Ipv4Addr::LOCALHOST);
    assert!(matches!(std::io::Read::read(&mut link, &mut [0]), Ok(0) | Err(_)));
    // The connected board is still connected, and receives new maps.
    welcome(&one.tries(port, 1, &one.join(1)), 1);
    let found = std::iter::from_fn(|| there.coordinator_says()).any(|message| match message {
        FromCoordinator::Map(map) => map.map().member_by_key(&one.public()).is_some(),
        _ => false,
    });
    assert!(found);
}
