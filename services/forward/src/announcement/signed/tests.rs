use octet_node::certificate::KeyStatement;
use proptest::prelude::*;

use super::*;
use crate::announcement::{AnnouncedLink, LIFETIME, LINKS};

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
            KeyStatement { node, unit: unit.parse().unwrap(), key, epoch: 1, issued: 0 };
        Certificate::sign(statement, &self.node).unwrap()
    }

    fn sign(&self, announcement: Announcement) -> Result<SignedAnnouncement, InvalidAnnouncement> {
        SignedAnnouncement::sign(announcement, self.certificate(UNIT), &self.key)
    }
}

fn link(number: u8) -> AnnouncedLink {
    let mut octets = [number; 16];
    octets[0] = 0xfc;
    AnnouncedLink {
        neighbour: octets.try_into().unwrap(),
        capacity: 100_000,
        latency: 150,
        loss: 2,
    }
}

fn announcement(links: u8) -> Announcement {
    Announcement {
        sequence: 7,
        issued: 1_800_000_000,
        lifetime: 600,
        onion_key: [9; 32],
        relays: true,
        exit: false,
        price: 40,
        links: (0..links).map(link).collect(),
    }
}

#[test]
fn every_changed_bit_is_seen() {
    let node = Node::new();
    let whole = node.sign(announcement(3)).unwrap();
    assert_eq!(whole.address(), NodeAddress::of(&node.node.public()));
    let bytes = whole.to_bytes();
    assert_eq!(SignedAnnouncement::from_bytes(&bytes), Ok(whole));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(SignedAnnouncement::from_bytes(&changed).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(SignedAnnouncement::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(SignedAnnouncement::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
}

#[test]
fn the_longest_fits() {
    let links = u8::try_from(LINKS).unwrap();
    let node = Node::new();
    let bytes = node.sign(announcement(links)).unwrap().to_bytes();
    assert!(bytes.len() <= LONGEST, "{}", bytes.len());
    let read = SignedAnnouncement::from_bytes(&bytes).unwrap();
    assert_eq!(read.announcement(), &announcement(links));
    assert_eq!(read.announcement().link(link(31).neighbour), Some(&link(31)));
    assert_eq!(read.announcement().link(link(32).neighbour), None);
    assert!(node.sign(announcement(links + 1)).is_err());
}

#[test]
fn only_the_nodes_key_for_forward_signs() {
    let (node, other) = (Node::new(), Node::new());
    assert!(node.sign(announcement(1)).is_ok());
    let signed = |certificate, key| SignedAnnouncement::sign(announcement(1), certificate, key);
    let forged = Err(InvalidAnnouncement::Forged);
    assert_eq!(signed(node.certificate(UNIT), &other.key), forged);
    assert_eq!(signed(node.certificate(UNIT), &node.node), forged);
    let uncertified = Err(InvalidAnnouncement::Uncertified);
    assert_eq!(signed(node.certificate("cluster"), &node.key), uncertified);
}

#[test]
fn what_cannot_be_is_not_said() {
    let node = Node::new();
    let own = NodeAddress::of(&node.node.public());
    let refused = |change: &dyn Fn(&mut Announcement)| {
        let mut changed = announcement(2);
        assert!(node.sign(changed.clone()).is_ok());
        change(&mut changed);
        matches!(node.sign(changed), Err(InvalidAnnouncement::Wrong(_)))
    };
    assert!(refused(&|it| it.lifetime = 0));
    assert!(refused(&|it| it.lifetime = LIFETIME + 1));
    assert!(refused(&|it| it.links.reverse()));
    assert!(refused(&|it| it.links[1] = it.links[0]));
    assert!(refused(&|it| {
        it.links[0].neighbour = own;
        it.links.sort_by_key(|link| link.neighbour);
    }));
}

proptest! {
    /// Each accepted announcement re-encodes to the same bytes.
    #[test]
    fn one_encoding(
        head in prop::collection::vec(any::<u8>(), 54), flags in 0u8..6,
        links in prop::collection::vec(any::<[u8; 22]>(), 0..34), rest in 0usize..3,
    ) {
        let mut bytes = head;
        bytes.insert(50, flags);
        bytes.push(u8::try_from(links.len()).unwrap());
        for link in &links {
            bytes.push(0xfc);
            bytes.extend_from_slice(link);
        }
        bytes.extend_from_slice(&vec![0; rest]);
        let mut fields = Fields(&bytes);
        if let Some(announcement) = Announcement::read(&mut fields) {
            let mut out = Vec::new();
            announcement.put(&mut out);
            prop_assert_eq!([&out, fields.0].concat(), bytes);
        } else {
            prop_assert!(flags > 3 || links.len() > LINKS);
        }
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
        prop_assert!(SignedAnnouncement::from_bytes(&bytes).is_err());
    }
}
