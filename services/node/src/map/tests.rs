use super::*;
use crate::certificate::KeyStatement;
use crate::key::{Domain, PrivateKey};
use crate::record::Seat;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A node with its `cluster` key.
struct Node {
    node: PrivateKey,
    key: PrivateKey,
}

impl Node {
    fn new() -> Self {
        Self { node: PrivateKey::generate().unwrap(), key: PrivateKey::generate().unwrap() }
    }

    fn certificate(&self, unit: &str) -> Certificate {
        let (node, key) = (self.node.public(), self.key.public());
        let statement =
            KeyStatement { node, unit: unit.parse().unwrap(), key, epoch: 2, issued: 1 };
        Certificate::sign(statement, &self.node).unwrap()
    }

    fn member(&self, number: u8) -> Member {
        Member {
            number,
            node: self.node.public(),
            addresses: vec!["10.20.1.2".parse().unwrap()],
            certificates: vec![self.certificate("cluster"), self.certificate("gate")],
            record: None,
            drained: false,
        }
    }
}

/// The public key of this seed.
fn public(seed: u8) -> PublicKey {
    PrivateKey::from_seed([seed; 32]).unwrap().public()
}

fn box_of(coordinator: &Node, board: &Node) -> Map {
    let version = MapVersion { epoch: 1, sequence: 7 };
    let revoked = vec![PublicKey::new([9; 32])];
    Map::new(
        coordinator.node.public(),
        version,
        vec![coordinator.member(0), board.member(1)],
        revoked,
    )
}

#[test]
fn every_changed_byte_is_seen() {
    let (coordinator, board) = (Node::new(), Node::new());
    let map = box_of(&coordinator, &board);
    let signed =
        SignedMap::sign(map.clone(), coordinator.certificate("cluster"), &coordinator.key).unwrap();
    assert_eq!((signed.map(), signed.key_epoch()), (&map, 2));
    let json = serde_json::to_string(&signed).unwrap();
    assert_eq!(serde_json::from_str::<SignedMap>(&json).unwrap(), signed);
    for at in 0..json.len() {
        let mut changed = json.clone().into_bytes();
        changed[at] ^= 1;
        // A changed text that still parses has the same meaning, such as `\/` for `/`.
        if let Ok(read) = serde_json::from_slice::<SignedMap>(&changed) {
            assert_eq!(read, signed, "byte {at}");
        }
    }
}

#[test]
fn only_by_the_key_that_its_coordinator_certifies() {
    let (coordinator, board) = (Node::new(), Node::new());
    let map = box_of(&coordinator, &board);
    let sign =
        |map: &Map, certificate, key: &PrivateKey| SignedMap::sign(map.clone(), certificate, key);
    assert!(sign(&map, coordinator.certificate("cluster"), &coordinator.key).is_ok());
    let (node, other) = (coordinator.node.public(), board.node.public());
    let wrong = sign(&map, coordinator.certificate("gate"), &coordinator.key);
    assert_eq!(wrong, Err(InvalidMap::Uncertified(node)));
    let wrong = sign(&map, coordinator.certificate("cluster"), &board.key);
    assert_eq!(wrong, Err(InvalidMap::Forged(node)));
    // A board that is in the map and signs as a coordinator.
    let wrong = sign(&map, board.certificate("cluster"), &board.key);
    assert_eq!(wrong, Err(InvalidMap::Uncertified(node)));
    // The same text in another domain.
    let signed = sign(&map, coordinator.certificate("cluster"), &coordinator.key).unwrap();
    let mut raw: Value = serde_json::to_value(&signed).unwrap();
    let signature = coordinator.key.sign(Domain::Command, signed.text().as_bytes());
    use base64::Engine;
    raw["signature"] = json!(base64::engine::general_purpose::STANDARD.encode(signature));
    assert!(serde_json::from_value::<SignedMap>(raw).unwrap_err().to_string().contains("signed"));
    assert_ne!(node, other);
}

#[test]
fn a_map_that_cannot_be_is_not_signed() {
    let (coordinator, board) = (Node::new(), Node::new());
    let map = box_of(&coordinator, &board);
    let check = |change: &dyn Fn(&mut Map)| {
        let mut map = map.clone();
        change(&mut map);
        map.check()
    };
    assert_eq!(check(&|_| {}), Ok(()));
    let wrong: [&dyn Fn(&mut Map); 12] = [
        &|map| map.members.reverse(),
        &|map| map.members[1].number = 0,
        &|map| map.members[1].number = 33,
        &|map| map.members[1].node = map.members[0].node,
        &|map| map.coordinator = PublicKey::new([8; 32]),
        &|map| map.revoked.push(map.members[1].node),
        &|map| map.revoked.push(map.revoked[0]),
        &|map| map.revoked = (0..=255u8).chain([0]).map(|n| PublicKey::new([n; 32])).collect(),
        &|map| map.members[1].certificates.reverse(),
        &|map| map.members[1].certificates = map.members[0].certificates.clone(),
        &|map| map.members[1].addresses = vec!["::1".parse().unwrap(); 5],
        &|map| {
            let owner = PrivateKey::generate().unwrap();
            let (coordinator, node) = (map.coordinator, map.members[1].node);
            let seat = Seat { owner: owner.public(), coordinator, number: 2, node };
            map.members[1].record = Some(SeatRecord::sign(seat, &owner).unwrap());
        },
    ];
    for (index, change) in wrong.iter().enumerate() {
        assert!(check(change).is_err(), "{index}");
    }
    for text in [
        json!({"format": 2, "coordinator": map.coordinator, "version": map.version, "members": [], "revoked": []}),
        json!({"format": 1, "coordinator": map.coordinator, "version": map.version, "members": [], "revoked": [], "x": 1}),
    ] {
        assert!(serde_json::from_value::<Map>(text.clone()).is_err(), "{text}");
    }
}

#[test]
fn the_epoch_ranks_above_the_sequence() {
    let version = |epoch, sequence| MapVersion { epoch, sequence };
    assert!(version(2, 1) > version(1, 9) && version(1, 9) > version(1, 8));
}

/// A map of maximum size within all bounds fits.
#[test]
fn the_largest_box_fits() {
    let nodes: Vec<Node> = (0..=HIGHEST).map(|_| Node::new()).collect();
    let long = |index| format!("a-unit-with-a-rather-long-name{index:02}");
    let members = nodes.iter().zip(0..).map(|(node, number)| {
        let seat = Seat {
            owner: node.key.public(),
            coordinator: nodes[0].node.public(),
            number,
            node: node.node.public(),
        };
        Member {
            certificates: (0..MAX_CERTIFICATES).map(|at| node.certificate(&long(at))).collect(),
            addresses: vec![
                "fd6f:6374:6574:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
                MAX_ADDRESSES
            ],
            record: Some(SeatRecord::sign(seat, &node.key).unwrap()),
            drained: true,
            ..node.member(number)
        }
    });
    let revoked = (0..MAX_REVOKED).map(|n| public(n as u8)).collect();
    let version = MapVersion { epoch: u64::MAX, sequence: u64::MAX };
    let map = Map::new(nodes[0].node.public(), version, members.collect(), revoked);
    let signed = SignedMap::sign(map, nodes[0].certificate("cluster"), &nodes[0].key).unwrap();
    let json = serde_json::to_string(&signed).unwrap();
    assert!(json.len() < octet_control::MAX_PAYLOAD / 2, "{}", json.len());
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC*") {
        let _ = serde_json::from_str::<Map>(&text);
        let _ = serde_json::from_str::<SignedMap>(&text);
        let _ = serde_json::from_value::<SignedMap>(json!({"map": text, "certificate": "", "signature": ""}));
    }

    /// For near-valid field values, the encoding round-trips, and checked rules hold.
    #[test]
    fn a_check_comes_back(
        numbers in prop::collection::vec(0u8..40, 0..5), keys in prop::collection::vec(0u8..4, 5),
        revoked in prop::collection::vec(0u8..8, 0..4), coordinator in 0u8..4,
    ) {
        let members: Vec<_> = numbers.iter().zip(&keys).map(|(&number, &node)| Member {
            number, node: public(node), addresses: vec![], certificates: vec![], record: None,
            drained: number % 2 == 1,
        }).collect();
        let revoked = revoked.into_iter().map(public).collect();
        let map = Map::new(public(coordinator), MapVersion::default(), members, revoked);
        if map.check().is_ok() {
            for member in &map.members {
                prop_assert_eq!(map.member_by_key(&member.node), Some(member));
                prop_assert_eq!(map.member(member.number), Some(member));
                prop_assert!(!map.revoked.contains(&member.node));
            }
        }
        let json = serde_json::to_string(&map).unwrap();
        prop_assert_eq!(serde_json::from_str::<Map>(&json).unwrap(), map);
    }
}
