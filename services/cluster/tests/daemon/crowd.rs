//! Boards that connect and never complete the hello.

use octet_cluster::message::FromCoordinator;

use crate::Cluster;
use crate::attacks::welcome;
use crate::host::address;
use crate::raw::{Node, plain};

/// As many boards as there are permits for long joins.
const CROWD: std::ops::Range<u8> = 11..19;

/// The header of a frame of one mebibyte.
const LONG: &[u8] = b"OCT1\0\x10\0\0";

#[test]
fn each_number_has_a_part_of_its_own() {
    let cluster = Cluster::held("first-use");
    let (port, one, two) = (&*cluster.port, Node::new(), Node::new());
    // They send nothing.
    let silent: Vec<_> = CROWD.map(|number| plain(port, address(number))).collect();
    welcome(&one.tries(port, 1, &one.join(1)), 1);
    drop(silent);
    // They start to send a long join.
    let crowd = CROWD.map(|number| {
        let mut link = one.connect(port, number).unwrap().0;
        link.bytes(LONG);
        link
    });
    let mut crowd: Vec<_> = crowd.collect();
    welcome(&one.tries(port, 1, &one.join(1)), 1);
    // Another long join waits until one of them disconnects.
    let (mut link, _) = two.connect(port, 2).unwrap();
    let mut long = serde_json::to_vec(&two.join(2)).unwrap();
    long.resize(100 << 10, b' ');
    let mut frame = vec![];
    octet_node::control::encode(&long, &mut frame).unwrap();
    link.bytes(&frame);
    welcome(&one.tries(port, 1, &one.join(1)), 1);
    cluster.coordinator.row_until(1, |row| row["state"] == "enrolled");
    let row = cluster.coordinator.row_until(2, |_| true);
    assert_eq!(row["state"], "none", "it waits");
    crowd.pop();
    assert_eq!(link.coordinator_says(), Some(FromCoordinator::Welcome { number: 2 }));
}
