use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::key::PrivateKey;
use proptest::prelude::*;

use super::*;
use crate::announcement::{Announcement, UNIT};
use crate::graph::{Graph, PathConstraints};

const NOW: u64 = 1_800_000_000;

struct Speaker {
    node: PrivateKey,
    key: PrivateKey,
}

impl Speaker {
    fn new() -> Self {
        Self { node: PrivateKey::generate().unwrap(), key: PrivateKey::generate().unwrap() }
    }

    fn address(&self) -> NodeAddress {
        NodeAddress::of(&self.node.public())
    }

    fn says(&self, epoch: u64, sequence: u64, issued: u64, lifetime: u16) -> SignedAnnouncement {
        self.announces(epoch, Announcement { sequence, issued, lifetime, ..silent() })
    }

    fn links(&self, links: &[(NodeAddress, u32, u16)]) -> SignedAnnouncement {
        let link = |(neighbour, capacity, latency): &(NodeAddress, u32, u16)| {
            let (neighbour, capacity, latency) = (*neighbour, *capacity, *latency);
            AnnouncedLink { neighbour, capacity, latency, loss: 1 }
        };
        self.announces(1, Announcement { links: links.iter().map(link).collect(), ..silent() })
    }

    fn announces(&self, epoch: u64, announcement: Announcement) -> SignedAnnouncement {
        let (node, key) = (self.node.public(), self.key.public());
        let statement = KeyStatement { node, unit: UNIT.parse().unwrap(), key, epoch, issued: 0 };
        let certificate = Certificate::sign(statement, &self.node).unwrap();
        SignedAnnouncement::sign(announcement, certificate, &self.key).unwrap()
    }
}

fn silent() -> Announcement {
    Announcement {
        sequence: 1,
        issued: NOW,
        lifetime: 600,
        onion_key: [1; 32],
        relays: true,
        exit: false,
        price: 0,
        links: Vec::new(),
    }
}

fn topology() -> (Topology, Speaker, Option<NodeAddress>) {
    let own = Speaker::new();
    let from = Some(Speaker::new().address());
    (Topology::new(own.address()), own, from)
}

fn numbered(number: u32) -> NodeAddress {
    let mut octets = [0xfc; 16];
    octets[1..5].copy_from_slice(&number.to_be_bytes());
    octets.try_into().unwrap()
}

#[test]
fn the_newest_counts() {
    let (mut topology, _, from) = topology();
    let node = Speaker::new();
    let mut hear =
        |epoch, sequence, now| topology.insert(node.says(epoch, sequence, now, 600), now, from);
    assert_eq!(hear(1, 5, NOW), AnnouncementResult::New);
    assert_eq!(hear(1, 5, NOW), AnnouncementResult::Known);
    assert_eq!(hear(1, 4, NOW), AnnouncementResult::Older);
    assert_eq!(hear(1, 6, NOW), AnnouncementResult::TooSoon);
    assert_eq!(hear(1, 6, NOW + MIN_INTERVAL), AnnouncementResult::New);
    // A new key restarts the sequence, and the old key's announcements do not count any more.
    assert_eq!(hear(2, 1, NOW + 2 * MIN_INTERVAL), AnnouncementResult::New);
    assert_eq!(hear(1, 7, NOW + 3 * MIN_INTERVAL), AnnouncementResult::Older);
    assert_eq!(topology.get(node.address()).unwrap().epoch(), 2);
}

#[test]
fn what_is_known_is_known_by_its_bytes() {
    let (mut topology, _, from) = topology();
    let node = Speaker::new();
    let (one, other) = (node.says(1, 1, NOW, 600), node.says(1, 2, NOW, 600));
    assert!(!topology.knows(&one.to_bytes()));
    assert_eq!(topology.insert(one.clone(), NOW, from), AnnouncementResult::New);
    assert!(topology.knows(&one.to_bytes()));
    assert!(!topology.knows(&other.to_bytes()));
    assert!(!topology.knows(&[]));
}

#[test]
fn it_counts_for_its_time() {
    let (mut topology, _, from) = topology();
    let node = Speaker::new();
    let mut hear = |issued, now| topology.insert(node.says(1, 1, issued, 600), now, from);
    assert_eq!(hear(NOW + AHEAD + 1, NOW), AnnouncementResult::Ahead);
    assert_eq!(hear(NOW - 600, NOW), AnnouncementResult::Expired);
    assert_eq!(hear(NOW + AHEAD, NOW), AnnouncementResult::New);
    assert!(!topology.expire(NOW + AHEAD + 599));
    assert!(topology.expire(NOW + AHEAD + 600));
    assert!(topology.get(node.address()).is_none());
}

#[test]
fn an_older_one_that_counts_for_longer_is_not_taken_again() {
    let (mut topology, _, from) = topology();
    let node = Speaker::new();
    let (long, short) = (node.says(1, 1, NOW, 3600), node.says(1, 2, NOW + 10, 5));
    assert_eq!(topology.insert(long.clone(), NOW, from), AnnouncementResult::New);
    assert_eq!(topology.insert(short, NOW + 10, from), AnnouncementResult::New);
    assert!(topology.expire(NOW + 20));
    assert_eq!(topology.insert(long.clone(), NOW + 20, from), AnnouncementResult::Older);
    topology.expire(NOW + 3600);
    assert!(topology.marks.is_empty());
    assert_eq!(topology.insert(long, NOW + 3600, from), AnnouncementResult::Expired);
}

#[test]
fn ones_own_is_ones_own() {
    let (mut topology, own, from) = topology();
    assert_eq!(topology.insert(own.says(1, 9, NOW, 600), NOW, from), AnnouncementResult::Own);
    assert!(topology.get(own.address()).is_none());
    assert_eq!(topology.insert(own.says(1, 1, NOW, 600), NOW, None), AnnouncementResult::New);
    assert_eq!(topology.insert(own.says(1, 2, NOW, 600), NOW, None), AnnouncementResult::New);
}

#[test]
fn a_link_counts_if_both_ends_announce_it() {
    let (mut topology, _, from) = topology();
    let (a, b) = (Speaker::new(), Speaker::new());
    topology.insert(a.links(&[(b.address(), 100, 30)]), NOW, from);
    assert_eq!(topology.link(a.address(), b.address()), None);
    topology.insert(b.links(&[(a.address(), 90, 20)]), NOW, from);
    let worse = |neighbour| AnnouncedLink { neighbour, capacity: 90, latency: 30, loss: 1 };
    assert_eq!(topology.link(a.address(), b.address()), Some(worse(b.address())));
    assert_eq!(topology.link(b.address(), a.address()), Some(worse(a.address())));
}

#[test]
fn the_graph_is_that_of_links_that_count() {
    let (mut topology, own, from) = topology();
    let (a, b, c) = (Speaker::new(), Speaker::new(), Speaker::new());
    topology.insert(own.links(&[(a.address(), 100, 30)]), NOW, None);
    let mut links = [(own.address(), 90, 20), (b.address(), 80, 5)];
    links.sort();
    topology.insert(a.links(&links), NOW, from);
    topology.insert(b.links(&[(a.address(), 70, 6)]), NOW, from);
    // Only one end announces it.
    topology.insert(c.links(&[(own.address(), 9, 1)]), NOW, from);
    let graph = Graph::of(&topology);
    let paths =
        |to: &Speaker| graph.paths(own.address(), to.address(), &PathConstraints::default(), 8);
    let found = &paths(&b)[..];
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].hops, [a.address(), b.address()]);
    assert_eq!((found[0].capacity, found[0].length), (70, 30 + 6 + 2 * 10));
    assert!(paths(&c).is_empty());
}

/// The nodes behind one neighbour fill the topology; then they displace each other, and no others.
#[test]
fn a_full_topology_keeps_whom_it_should() {
    let (mut topology, own, from) = topology();
    let (neighbour, quiet) = (Speaker::new(), Speaker::new());
    let other = Some(neighbour.address());
    topology.set_neighbours([neighbour.address()].into());
    assert_eq!(topology.insert(own.says(1, 1, NOW, 1), NOW - 10, None), AnnouncementResult::New);
    assert_eq!(topology.insert(quiet.says(1, 1, NOW, 10), NOW, other), AnnouncementResult::New);
    assert_eq!(topology.insert(neighbour.says(1, 1, NOW, 10), NOW, other), AnnouncementResult::New);
    // Key generation is slow: the bulk is one announcement under many addresses.
    let bulk = Arc::new(Speaker::new().says(1, 1, NOW, 600));
    for number in 0.. {
        if topology.nodes.len() == NODES {
            break;
        }
        let node = Node { signed: bulk.clone(), from, received_at: NOW };
        topology.nodes.insert(numbered(number), node);
    }
    let now = NOW - 5;
    let mut hear = |lifetime, from| {
        let heard = topology.insert(Speaker::new().says(1, 1, NOW, lifetime), now, from);
        (heard, topology.nodes.len())
    };
    assert_eq!(hear(600, from), (AnnouncementResult::TooMany, NODES));
    assert_eq!(hear(601, from), (AnnouncementResult::New, NODES));
    assert_eq!(hear(5, other), (AnnouncementResult::New, NODES));
    for saved in [&own, &neighbour, &quiet] {
        assert!(topology.get(saved.address()).is_some());
    }
    // Expired announcements make room.
    let late = Speaker::new().says(1, 1, NOW + 10, 5);
    assert_eq!(topology.insert(late, NOW + 10, from), AnnouncementResult::New);
    assert!(topology.get(quiet.address()).is_none());
}

/// Three neighbours repeatedly send more than there is room for: the topology becomes stable, and no neighbour
/// takes another's share.
#[test]
fn a_full_topology_comes_to_rest() {
    let mut topology = Topology::with_room(Speaker::new().address(), 10);
    let from: Vec<_> = (0..3).map(|_| Some(Speaker::new().address())).collect();
    let nodes: Vec<_> = (0..40).map(|_| Arc::new(Speaker::new().says(1, 1, NOW, 600))).collect();
    let mut round = |now| {
        let all = nodes.iter().flat_map(|node| from.iter().map(move |from| (node, *from)));
        all.filter(|(node, from)| {
            topology.insert(Arc::clone(node), now, *from) == AnnouncementResult::New
        })
        .count()
    };
    assert!(round(NOW) >= 10);
    round(NOW);
    assert_eq!([round(NOW), round(NOW + 9)], [0, 0]);
    let brought = topology.counts_by_neighbour();
    assert_eq!(brought.values().sum::<usize>(), 10);
    assert!(brought.values().all(|it| (3..=4).contains(it)), "{brought:?}");
}

#[test]
fn what_is_remembered_is_bounded() {
    let (mut topology, _, _) = topology();
    for number in 0..u32::try_from(MARKS * NODES).unwrap() + 100 {
        let until = NOW + u64::from(number);
        topology.mark(numbered(number), Mark { order: (1, 1), until });
    }
    assert_eq!(topology.marks.len(), MARKS * NODES);
    assert_eq!(topology.marks.values().map(|mark| mark.until).min(), Some(NOW + 100));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// In any order of announcements, a stored one is never replaced by an older one, and none is expired.
    #[test]
    fn never_older(
        heard in prop::collection::vec((0usize..3, 0u64..3, 0u64..4, 0u64..20, 1u16..30), 1..40),
    ) {
        let nodes: Vec<_> = (0..3).map(|_| Speaker::new()).collect();
        let (mut topology, _, from) = topology();
        let mut last = [None; 3];
        let mut now = NOW;
        for (node, epoch, sequence, later, lifetime) in heard {
            now += later / 3;
            let signed = nodes[node].says(epoch, sequence, now + later - 10, lifetime);
            let order = Some((epoch, sequence));
            if topology.insert(signed, now, from) == AnnouncementResult::New {
                prop_assert!(order > last[node], "{:?} {:?}", order, last[node]);
                last[node] = order;
            }
            topology.expire(now);
            prop_assert!(topology.iter().all(|it| it.announcement().expires() > now));
            // A node is forgotten only after all of its announcements have expired.
            for (at, speaker) in nodes.iter().enumerate() {
                if !topology.marks.contains_key(&speaker.address()) {
                    last[at] = None;
                }
            }
        }
    }
}
