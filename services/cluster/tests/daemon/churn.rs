//! A board whose keys change all the time.

use octet_node::map::{MapVersion, SignedMap};
use serde_json::json;

use crate::attacks::{refused, welcome};
use crate::raw::{Client, Link, Node};
use crate::shown::{self, join, shows};
use crate::{Cluster, is_whole};

/// More changes than the burst of a number.
const FLIPS: u64 = 41;

/// Whether `node` is in the map with two keys.
fn has_two(map: &SignedMap, node: &Node) -> bool {
    map.map().member_by_key(&node.public()).is_some_and(|it| it.certificates.len() == 2)
}

/// Connects `node` as a board, which alternately reports one key more and one less, the last time
/// one more. Returns the number of maps that resulted.
fn flip(cluster: &Cluster, node: &Node, number: u8) -> (u64, Link<Client>) {
    let coordinator = &cluster.coordinator;
    let (mut link, _) = node.connect(&cluster.port, number).unwrap();
    link.say(&node.join(number));
    welcome(&link.coordinator_says().unwrap(), number);
    let before = coordinator.map_until(|map| map.map().member_by_key(&node.public()).is_some());
    for flip in 0..FLIPS {
        let cluster = [node.certificate(1)].into_iter();
        let more = (flip % 2 == 0).then(|| node.certificate_of("gate", 1));
        link.say(&json!({"certificates": cluster.chain(more).collect::<Vec<_>>()}));
    }
    // This message is handled after all of them.
    let last = MapVersion { epoch: 1, sequence: 1 << 20 };
    link.say(&json!({ "have": last }));
    coordinator.row_until(number, |row| row["has_map"] == last.sequence);
    let after = coordinator.map_until(|_| true);
    (after.map().version.sequence - before.map().version.sequence, link)
}

#[test]
fn a_board_makes_few_maps() {
    let mut cluster = Cluster::new("first-use", 0);
    // Beyond the burst, one change is allowed per hour.
    cluster.coordinator.change_interval = 3_600_000;
    cluster.coordinator.start();
    cluster.coordinator.holds();
    cluster.coordinator.map_until(|map| is_whole(map, 0));
    let (one, two, port) = (Node::new(), Node::new(), &*cluster.port);
    let (made, mut link) = flip(&cluster, &one, 1);
    assert_eq!(made, 8);
    // The board stays connected, and a new connection does not reset the limit.
    link.say(&json!({"report": {"state": "ready"}}));
    cluster.coordinator.row_until(1, |row| row["report"]["state"] == "ready");
    let mut more = one.join(1);
    more.certificates.as_mut().unwrap().push(one.certificate_of("gate", 2));
    let before = cluster.coordinator.map_until(|_| true);
    welcome(&one.tries(port, 1, &more), 1);
    assert_eq!(cluster.coordinator.map_until(|_| true).text(), before.text());
    // The changes of another board are accepted as usual.
    let mut link = two.connect(port, 2).unwrap().0;
    link.say(&two.join(2));
    welcome(&link.coordinator_says().unwrap(), 2);
    link.say(&json!({"certificates": [two.certificate(1), two.certificate_of("gate", 1)]}));
    cluster.coordinator.map_until(|map| has_two(map, &two));
}

/// Changes above the rate limit are merged, and are in the map later.
#[test]
fn what_came_too_often_comes_later() {
    let mut cluster = Cluster::new("first-use", 0);
    cluster.coordinator.change_interval = 100;
    cluster.coordinator.start();
    cluster.coordinator.holds();
    cluster.coordinator.map_until(|map| is_whole(map, 0));
    let one = Node::new();
    let (_, _link) = flip(&cluster, &one, 1);
    cluster.coordinator.map_until(|map| has_two(map, &one));
}

/// Each recovery from a map that a board presents counts as a change, too.
#[test]
fn a_board_shows_few_maps() {
    let mut cluster = Cluster::new("first-use", 0);
    cluster.coordinator.change_interval = 3_600_000;
    cluster.coordinator.start();
    cluster.coordinator.holds();
    cluster.coordinator.map_until(|map| is_whole(map, 0));
    let (port, two, gone) = (&*cluster.port, Node::new(), Node::new());
    welcome(&two.tries(port, 2, &join(&two, 2)), 2);
    for number in 1..=8 {
        let map = shown::map(&cluster, 1, 100 * number, &two, &gone);
        welcome(&two.tries(port, 2, &shows(&two, 2, map)), 2);
    }
    let before = cluster.coordinator.map_until(|map| map.map().version.sequence > 800);
    let map = shown::map(&cluster, 1, 900, &two, &gone);
    refused(two.tries(port, 2, &shows(&two, 2, map)), "too often");
    assert_eq!(cluster.coordinator.map_until(|_| true).text(), before.text());
    welcome(&two.tries(port, 2, &join(&two, 2)), 2);
}
