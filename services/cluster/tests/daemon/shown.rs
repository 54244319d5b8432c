//! Maps that boards present to the coordinator: one that its disk has lost, and those of an
//! attacker.

use octet_cluster::message::Join;
use octet_node::digest::sha256;
use octet_node::key::PrivateKey;
use octet_node::map::{Map, MapVersion, Member, SignedMap};
use octet_node::statement::{Appointment, SignedAppointment};
use serde_json::{Value, json};

use crate::attacks::{refused, welcome};
use crate::raw::Node;
use crate::{Cluster, is_whole};

/// A map that lists the coordinator and `stays` at port 2, revokes `gone`, and is signed with the
/// coordinator's key with epoch `key_epoch`, which was stolen.
pub fn map(
    cluster: &Cluster,
    key_epoch: u64,
    sequence: u64,
    stays: &Node,
    gone: &Node,
) -> SignedMap {
    let (key, coordinator) = (PrivateKey::generate().unwrap(), &cluster.coordinator);
    let certificate = coordinator.identity.certify("cluster", key.public(), key_epoch);
    let member = |number, node, certificate| {
        let (addresses, certificates) = (vec![], vec![certificate]);
        Member { number, node, addresses, certificates, record: None, drained: false }
    };
    let members = vec![
        member(0, coordinator.node(), certificate.clone()),
        member(2, stays.public(), stays.certificate(2)),
    ];
    let version = MapVersion { epoch: 1, sequence };
    let map = Map::new(coordinator.node(), version, members, vec![gone.public()]);
    SignedMap::sign(map, certificate, &key).unwrap()
}

/// The join of `node` with its key of epoch 2.
pub fn join(node: &Node, number: u8) -> Join {
    let certificate = node.certificate(2);
    let certificates = Some(vec![certificate.clone()]);
    Join { certificate, certificates, ..node.join(number) }
}

/// The same join, which presents `map`.
pub fn shows(node: &Node, number: u8, map: SignedMap) -> Join {
    Join { map: Some(map), ..join(node, number) }
}

#[test]
fn a_stolen_old_key_revokes_nobody() {
    let cluster = Cluster::held("first-use");
    let (coordinator, port) = (&cluster.coordinator, &*cluster.port);
    let (one, two) = (Node::new(), Node::new());
    coordinator.identity.rotate();
    welcome(&one.tries(port, 1, &join(&one, 1)), 1);
    welcome(&two.tries(port, 2, &join(&two, 2)), 2);
    let epoch = |map: &SignedMap| {
        map.map().member(0).and_then(|it| it.certificate("cluster")).map(|it| it.body().epoch)
    };
    let before = coordinator
        .map_until(|map| map.map().members.len() == 3 && is_whole(map, 0) && epoch(map) == Some(2));
    let sequence = before.map().version.sequence;
    let stays = |what: &str| {
        assert_eq!(coordinator.map_until(|_| true).text(), before.text(), "{what}");
        welcome(&one.tries(port, 1, &join(&one, 1)), 1);
    };

    // Signed with the replaced key, up to the highest number.
    for (key_epoch, sequence) in
        [(1, sequence + 1), (1, u64::MAX), (2, u64::MAX), (2, sequence + (1 << 32) + 1)]
    {
        let forged = map(&cluster, key_epoch, sequence, &two, &one);
        welcome(&two.tries(port, 2, &shows(&two, 2, forged)), 2);
        stays(&format!("key {key_epoch}, number {sequence}"));
    }
    assert!(coordinator.has_logged(&[
        "not adopted",
        "its coordinator's key number 1",
        "number 2 was"
    ]));
    // Presented by a node that it does not list at that port, and by a listed one with an outdated
    // key.
    let next = map(&cluster, 2, sequence + 1, &two, &one);
    welcome(&one.tries(port, 1, &shows(&one, 1, next.clone())), 1);
    stays("who is not named");
    let old = Join { certificate: two.certificate(1), ..shows(&two, 2, next.clone()) };
    refused(two.tries(port, 2, &old), "number 2 was seen before");
    stays("who has an old key");

    // Presented by the node that is listed there, with its current key.
    welcome(&two.tries(port, 2, &shows(&two, 2, next)), 2);
    refused(one.tries(port, 1, &join(&one, 1)), "revoked");
    let after = coordinator.map_until(|map| !map.map().revoked.is_empty());
    assert_eq!(after.map().revoked, [one.public()]);
}

/// A registry that once has accepted such a number: no map is made until an owner starts a new
/// epoch.
#[test]
fn after_the_last_number_an_owner_begins_again() {
    let mut cluster = Cluster::held("first-use");
    cluster.coordinator.kill();
    let book = cluster.coordinator.state().join("book");
    let text = std::fs::read_to_string(&book).unwrap();
    let mut json: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    json["version"]["sequence"] = json!(u64::MAX);
    let json = json.to_string();
    std::fs::write(&book, format!("{json}\n{}\n", sha256(json.as_bytes()))).unwrap();
    cluster.coordinator.start();
    let (coordinator, owner, one) = (&cluster.coordinator, &cluster.owner, Node::new());
    assert!(
        coordinator.has_logged(&["stays as it is", "the highest number"]),
        "{}",
        coordinator.log()
    );
    let replaced = coordinator.ask("replace", json!({"number": "1"})).unwrap_err();
    assert!(replaced.to_string().contains("highest number"), "{replaced}");
    refused(one.tries(&cluster.port, 1, &one.join(1)), "highest number");
    let appointment = Appointment {
        owner: owner.public(),
        coordinator: coordinator.node(),
        epoch: 2,
        replaces: None,
    };
    let statement = SignedAppointment::sign(appointment, owner).unwrap();
    coordinator.ask("adopt", json!({ "statement": statement })).unwrap();
    welcome(&one.tries(&cluster.port, 1, &one.join(1)), 1);
    let map = coordinator.map_until(|map| map.map().member(1).is_some());
    assert_eq!((map.map().version.epoch, map.map().version.sequence < 9), (2, true));
}
