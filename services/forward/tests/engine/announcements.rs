//! Announcements of malicious neighbours, handled as in the daemon: it checks whether the
//! announcement is known, decodes it, and passes it to the topology.

use std::collections::BTreeMap;

use fastrand::Rng;
use octet_forward::announcement::{AnnouncedLink, Announcement, LONGEST, SignedAnnouncement, UNIT};
use octet_forward::topology::{AnnouncementResult, Topology};
use octet_node::address::NodeAddress;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::key::PrivateKey;

use crate::hostile::each;

const NOW: u64 = 1_800_000_000;

struct Speaker {
    node: PrivateKey,
    key: PrivateKey,
    certificate: Certificate,
}

impl Speaker {
    fn new() -> Self {
        let (node, key) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let unit = UNIT.parse().unwrap();
        let of = KeyStatement { node: node.public(), unit, key: key.public(), epoch: 1, issued: 0 };
        let certificate = Certificate::sign(of, &node).unwrap();
        Self { node, key, certificate }
    }

    fn address(&self) -> NodeAddress {
        NodeAddress::of(&self.node.public())
    }

    fn says(&self, sequence: u64, issued: u64) -> SignedAnnouncement {
        let other = NodeAddress::of(&self.key.public());
        let link = AnnouncedLink { neighbour: other, capacity: 0, latency: 7, loss: 0 };
        let announcement = Announcement {
            sequence,
            issued,
            lifetime: 3600,
            onion_key: [1; 32],
            relays: true,
            exit: false,
            price: 0,
            links: vec![link],
        };
        SignedAnnouncement::sign(announcement, self.certificate.clone(), &self.key).unwrap()
    }
}

/// How an announcement was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Made {
    Well,
    Again,
    Older,
    Cut,
    Flipped,
    Longer,
    /// It returns to its origin.
    Looping,
    Another,
    /// A second announcement of its origin within the minimum interval.
    TooSoon,
}

/// The result; `None` if the announcement is dropped before decoding, or cannot be decoded.
type Became = Option<AnnouncementResult>;

impl Made {
    const ALL: [Self; 9] = [
        Self::Well,
        Self::Again,
        Self::Older,
        Self::Cut,
        Self::Flipped,
        Self::Longer,
        Self::Looping,
        Self::Another,
        Self::TooSoon,
    ];

    fn wanted(self) -> Became {
        match self {
            Self::Well => Some(AnnouncementResult::New),
            Self::Older => Some(AnnouncementResult::Older),
            Self::Looping => Some(AnnouncementResult::Own),
            Self::TooSoon => Some(AnnouncementResult::TooSoon),
            Self::Again | Self::Cut | Self::Flipped | Self::Longer | Self::Another => None,
        }
    }
}

fn hear(topology: &mut Topology, bytes: &[u8], now: u64, from: NodeAddress) -> Became {
    if topology.knows(bytes) {
        return None;
    }
    let signed = SignedAnnouncement::from_bytes(bytes).ok()?;
    Some(topology.insert(signed, now, Some(from)))
}

#[test]
fn announcements_of_all_kinds() {
    let mut rng = Rng::with_seed(9);
    let (own, hostile, victim) = (Speaker::new(), Speaker::new(), Speaker::new());
    let (from, mut now) = (hostile.address(), NOW);
    let mut topology = Topology::with_room(own.address(), 64);
    let mut sequence = 10;
    let good = victim.says(sequence, NOW).to_bytes();
    assert_eq!(hear(&mut topology, &good, now, from), Some(AnnouncementResult::New));
    let mut kinds: Vec<_> = Made::ALL.iter().flat_map(|it| vec![*it; each()]).collect();
    rng.shuffle(&mut kinds);
    let mut counts = BTreeMap::<_, usize>::new();
    let mut known = good;
    for made in kinds {
        let mut next = victim.says(sequence + 1, now + 2).to_bytes();
        let bytes = match made {
            Made::Well => {
                // The minimum interval after the previous announcement.
                now += 2;
                sequence += 1;
                known = next.clone();
                next
            }
            Made::Again => known.clone(),
            Made::Older => victim.says(sequence - 1, now).to_bytes(),
            Made::Cut => {
                next.truncate(rng.usize(..next.len()));
                next
            }
            Made::Flipped => {
                let at = rng.usize(..next.len());
                next[at] ^= 1 << rng.u8(..8);
                next
            }
            Made::Longer => {
                next.extend((0..rng.usize(1..2 * LONGEST)).map(|_| rng.u8(..)));
                next
            }
            Made::Looping => own.says(sequence, now).to_bytes(),
            Made::Another => {
                let says = victim.says(sequence + 1, now).announcement().clone();
                let certificate = victim.certificate.clone();
                let signed = SignedAnnouncement::sign(says, certificate, &hostile.key);
                assert!(signed.is_err());
                // The origin never signs such bytes: the signature is by another key.
                let (length, foreign) = (next.len(), hostile.says(sequence, now).to_bytes());
                next[length - 64..].copy_from_slice(&foreign[foreign.len() - 64..]);
                next
            }
            Made::TooSoon => next,
        };
        *counts.entry((made, hear(&mut topology, &bytes, now, from))).or_default() += 1;
    }
    println!("announcements: {counts:?}");
    let wanted: BTreeMap<_, _> = Made::ALL.iter().map(|it| ((*it, it.wanted()), each())).collect();
    assert_eq!(counts, wanted);
    assert_eq!(topology.get(victim.address()).map(SignedAnnouncement::to_bytes), Some(known));
    assert_eq!(topology.iter().count(), 1);
}

/// A neighbour announces any number of invented nodes: they displace no nodes that another
/// neighbour has announced, and the memory is bounded.
#[test]
fn a_flood_of_nodes() {
    const ROOM: usize = 64;
    let (own, hostile, friend) = (Speaker::new(), Speaker::new(), Speaker::new());
    let mut topology = Topology::with_room(own.address(), ROOM);
    topology.set_neighbours([hostile.address(), friend.address()].into());
    let nodes: Vec<_> = (0..20).map(|_| Speaker::new()).collect();
    for node in nodes.iter().chain([&friend]) {
        let bytes = node.says(1, NOW).to_bytes();
        assert_eq!(
            hear(&mut topology, &bytes, NOW, friend.address()),
            Some(AnnouncementResult::New)
        );
    }
    let mut counts = BTreeMap::<_, usize>::new();
    for _ in 0..each() {
        let bytes = Speaker::new().says(1, NOW).to_bytes();
        let became = hear(&mut topology, &bytes, NOW, hostile.address());
        *counts.entry(became).or_default() += 1;
    }
    println!("a flood: {counts:?}");
    let taken = ROOM - 21;
    let wanted = [
        (Some(AnnouncementResult::New), taken),
        (Some(AnnouncementResult::TooMany), each() - taken),
    ];
    assert_eq!(counts, wanted.into());
    assert_eq!(topology.iter().count(), ROOM);
    for node in nodes.iter().chain([&friend]) {
        assert!(topology.get(node.address()).is_some());
    }
}
