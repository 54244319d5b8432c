//! Malicious neighbours. Each test first shows that the honest case works.

use std::collections::BTreeMap;

use fastrand::Rng;
use octet_forward::control::{Id, LONGEST, LinkMessage};
use octet_forward::engine::PathState;
use octet_forward::label::Label;
use octet_forward::onion::{PathFailure, Reason};

use crate::net::{self, Fate, Net};

/// The number of messages per kind: many more in the long variant.
pub fn each() -> usize {
    if std::env::var_os("OCTET_SOAK").is_some() { 10_000 } else { 200 }
}

/// The messages that went from one node to the other.
fn sent(net: &Net, from: usize, to: usize) -> Vec<LinkMessage> {
    net.sent.iter().filter(|it| (it.0, it.1) == (from, to)).map(|it| it.2.clone()).collect()
}

#[test]
fn a_set_up_counts_once() {
    let mut net = Net::chain(3);
    let path = net.request_path(0, &[1, 2]).unwrap();
    net.run();
    assert_eq!(net.state(0, path), Some(PathState::Up));
    let Some(LinkMessage::SetUp { onion, reverse_label, .. }) = sent(&net, 0, 1).pop() else {
        panic!()
    };
    net.drop_path(0, path);
    net.run();
    assert!(net.is_clean(1));
    for number in 0..100 {
        net.handle_message(
            0,
            1,
            LinkMessage::SetUp { id: Id(number), reverse_label, onion: onion.clone() },
        );
        net.run();
        assert!(net.is_clean(1) && net.is_clean(2), "{number}");
    }
    // It is still refused as too old after its id was forgotten.
    net.tick(3600);
    net.handle_message(0, 1, LinkMessage::SetUp { id: Id(1000), reverse_label, onion });
    net.run();
    assert!(net.is_clean(1) && net.is_clean(2));
}

/// A node with a path of its own through a relay cannot change another's; nor can the relay in the
/// middle.
#[test]
fn nobody_else_tears_down() {
    let mut net = Net::chain(4);
    let path = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    let Some(LinkMessage::SetUp { id: at_2, .. }) = sent(&net, 1, 2).pop() else { panic!() };
    // Node 1 is the previous hop; it has seen changes of this path and of others.
    net.tick(300);
    let Some(LinkMessage::Change { sealed, .. }) = sent(&net, 1, 2).pop() else { panic!() };
    let other = net.request_path(1, &[2, 3]).unwrap();
    net.run();
    net.drop_path(1, other);
    net.run();
    let Some(LinkMessage::Change { sealed: tear_down, .. }) = sent(&net, 1, 2).pop() else {
        panic!()
    };
    for sealed in [sealed, tear_down] {
        net.handle_message(1, 2, LinkMessage::Change { id: at_2, sealed });
        net.run();
        assert!(net.carry(0, path).is_ok());
    }
    // Only the source can drop it.
    net.drop_path(0, path);
    net.run();
    assert!((0..4).all(|node| net.is_clean(node)));
}

/// An unrequested answer, or one over another link than the request, changes nothing.
#[test]
fn answers_come_from_who_was_asked() {
    let mut net = Net::chain(4);
    net.link(1, 3);
    let path = net.request_path(0, &[1, 2]).unwrap();
    net.run();
    let Some(LinkMessage::Answer { id, onion, .. }) = sent(&net, 2, 1).pop() else { panic!() };
    let lie = LinkMessage::Answer { id, label: Label::new(4711), onion };
    for from in [3, 2, 0] {
        net.handle_message(from, 1, lie.clone());
        net.run();
        assert_eq!(net.carry(0, path).map(|it| it.0), Ok(2));
    }
}

/// Each label is accounted as one path: a neighbour that assigns it twice gets no second path.
#[test]
fn one_label_is_one_path() {
    let mut net = Net::chain(4);
    let path = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    let Some(LinkMessage::SetUp { reverse_label: given, .. }) = sent(&net, 0, 1).pop() else {
        panic!()
    };
    net.fate = Box::new(move |from, to, message| match message {
        LinkMessage::SetUp { id, onion, .. } if (from, to) == (0, 1) => {
            Fate::Is(LinkMessage::SetUp { id: *id, reverse_label: given, onion: onion.clone() })
        }
        _ => Fate::Passes,
    });
    let other = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    assert_eq!(net.state(0, other), Some(PathState::Pending), "nobody answers");
    net.tick(20);
    // The next hop assigns a label for the second time; the relay or the source detects it.
    for (from, to) in [(2, 1), (1, 0)] {
        let Some(LinkMessage::Answer { label: given, .. }) = sent(&net, from, to).pop() else {
            panic!()
        };
        net.fate = Box::new(move |it, of, message| match message {
            LinkMessage::Answer { id, onion, .. } if (it, of) == (from, to) => {
                Fate::Is(LinkMessage::Answer { id: *id, label: given, onion: onion.clone() })
            }
            _ => Fate::Passes,
        });
        let other = net.request_path(0, &[1, 2, 3]).unwrap();
        net.run();
        assert!(matches!(net.state(0, other), Some(PathState::Failed(_))), "{from}");
        net.drop_path(0, other);
        net.run();
        net.fate = Box::new(|_, _, _| Fate::Passes);
    }
    assert!(net.carry(0, path).is_ok());
    net.drop_path(0, path);
    for _ in 0..2 {
        net.tick(3600);
    }
    assert!((0..4).all(|node| net.is_clean(node)));
}

/// How a set-up was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Made {
    /// A valid one by an honest node.
    Well,
    Again,
    /// It is truncated.
    Cut,
    /// One bit of the sealed part is flipped.
    Flipped,
    /// It has trailing bytes.
    Longer,
    /// Its path returns to the source.
    Looping,
    /// It is sealed for another node.
    Another,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Became {
    Path,
    /// Node 1 refuses it without forwarding it.
    RefusedAtOnce,
    Refused,
    Unreadable,
    /// It is no valid message, or is not answered.
    Nothing,
}

impl Made {
    const ALL: [Self; 7] = [
        Self::Well,
        Self::Again,
        Self::Cut,
        Self::Flipped,
        Self::Longer,
        Self::Looping,
        Self::Another,
    ];

    fn wanted(self) -> Became {
        match self {
            Self::Well => Became::Path,
            Self::Again => Became::RefusedAtOnce,
            Self::Looping => Became::Refused,
            Self::Flipped | Self::Another => Became::Unreadable,
            Self::Cut | Self::Longer => Became::Nothing,
        }
    }

    /// Makes a set-up of node 0 for node 1, of any kind but `Well`.
    fn make(self, net: &mut Net, before: &LinkMessage, rng: &mut Rng) -> Vec<u8> {
        let new = |net: &mut Net| net.craft(0, &[1, 2, 3], net::key).to_bytes();
        match self {
            Self::Well | Self::Again => {
                let LinkMessage::SetUp { onion, .. } = before.clone() else { panic!() };
                // With a label in use the node would not read any further.
                let reverse_label = Label::new(rng.u32(16..1 << 20)).unwrap();
                LinkMessage::SetUp { id: Id(rng.u64(..)), reverse_label, onion }.to_bytes()
            }
            Self::Cut => {
                let mut bytes = new(net);
                bytes.truncate(rng.usize(..bytes.len()));
                bytes
            }
            Self::Flipped => {
                let mut bytes = new(net);
                let at = rng.usize(14..bytes.len());
                bytes[at] ^= 1 << rng.u8(..8);
                bytes
            }
            Self::Longer => {
                let mut bytes = new(net);
                bytes.extend((0..rng.usize(1..2 * LONGEST)).map(|_| rng.u8(..)));
                bytes
            }
            Self::Looping => {
                let hops: [&[usize]; 2] = [&[1, 2, 1], &[1, 2, 3, 2]];
                net.craft(0, hops[rng.usize(..2)], net::key).to_bytes()
            }
            Self::Another => net.craft(0, &[1, 2, 3], |hop| net::key(hop % 3 + 1)).to_bytes(),
        }
    }
}

/// Sends a message from node 0 to node 1. Returns node 1's reaction.
fn becomes(net: &mut Net, bytes: &[u8]) -> Became {
    net.sent.clear();
    let Some(message) = LinkMessage::from_bytes(bytes) else { return Became::Nothing };
    net.handle_message(0, 1, message);
    net.run();
    match sent(net, 1, 0).pop() {
        Some(LinkMessage::Answer { label: Some(_), .. }) => Became::Path,
        Some(LinkMessage::Answer { .. }) if sent(net, 1, 2).is_empty() => Became::RefusedAtOnce,
        Some(LinkMessage::Answer { .. }) => Became::Refused,
        Some(LinkMessage::Unreadable(_)) => Became::Unreadable,
        _ => Became::Nothing,
    }
}

/// Node 4 is honest, and node 0 is malicious; nodes 1, 2 and 3 relay for both.
fn with_two() -> Net {
    let mut net = Net::new(5, 7);
    for (one, other) in [(0, 1), (4, 1), (1, 2), (2, 3)] {
        net.link(one, other);
    }
    net
}

#[test]
fn set_ups_of_all_kinds() {
    let (mut net, mut rng) = (with_two(), Rng::with_seed(8));
    let path = net.request_path(4, &[1, 2, 3]).unwrap();
    net.run();
    let end = net.end_at(3).unwrap();
    assert_eq!(net.carry(4, path), Ok((3, end)));
    // The repeated set-up is valid the first time.
    let before = net.craft(0, &[1, 2, 3], net::key);
    assert_eq!(becomes(&mut net, &before.to_bytes()), Became::Path);
    let paths = net.relayed(1);
    let mut counts = BTreeMap::<_, usize>::new();
    let mut kinds: Vec<_> = Made::ALL.iter().flat_map(|it| vec![*it; each()]).collect();
    rng.shuffle(&mut kinds);
    for (at, made) in kinds.into_iter().enumerate() {
        let became = if made == Made::Well {
            // Its random port may be in use at the end: the source then asks again.
            let stands = (0..3).any(|_| {
                let other = net.request_path(4, &[1, 2, 3]).unwrap();
                net.run();
                let carries = net.carry(4, other).is_ok();
                net.drop_path(4, other);
                net.run();
                carries
            });
            if stands { Became::Path } else { Became::Nothing }
        } else {
            let bytes = made.make(&mut net, &before, &mut rng);
            becomes(&mut net, &bytes)
        };
        *counts.entry((made, became)).or_default() += 1;
        // A node reads 64 set-ups per second.
        if at % 32 == 31 {
            net.tick(1);
        }
    }
    println!("set-ups: {counts:?}");
    let wanted: BTreeMap<_, _> = Made::ALL.iter().map(|it| ((*it, it.wanted()), each())).collect();
    assert_eq!(counts, wanted);
    // The invalid set-ups created no path, and the honest path still works. The neighbour's own
    // path exists until it expires.
    assert_eq!(net.carry(4, path), Ok((3, end)));
    assert!(net.relayed(1) <= paths);
    net.drop_path(4, path);
    net.tick(3600);
    assert!((0..5).all(|node| net.is_clean(node)));
}

/// A flood within one second: 64 set-ups are read, and none of another neighbour's is dropped.
#[test]
fn a_flood_of_set_ups() {
    let mut net = with_two();
    let path = net.request_path(4, &[1, 2, 3]).unwrap();
    net.run();
    net.tick(1);
    let mut counts = BTreeMap::<_, usize>::new();
    let good = net.craft(0, &[1, 2, 3], net::key);
    let LinkMessage::SetUp { onion, .. } = good else { panic!() };
    for number in 0..each() {
        let reverse_label = Label::new(1000 + number as u32).unwrap();
        let message =
            LinkMessage::SetUp { id: Id(number as u64), reverse_label, onion: onion.clone() };
        *counts.entry(becomes(&mut net, &message.to_bytes())).or_default() += 1;
    }
    println!("a flood: {counts:?}");
    let wanted = [(Became::Path, 1), (Became::RefusedAtOnce, 63), (Became::Nothing, each() - 64)];
    assert_eq!(counts, wanted.into());
    let other = net.request_path(4, &[1, 2, 3]).unwrap();
    net.run();
    assert!(net.carry(4, path).is_ok() && net.carry(4, other).is_ok());
}

/// A relay reports a wrong label to the previous hop: an invented one, or that of another path.
#[test]
fn a_relay_lies_about_its_label() {
    let mut net = with_two();
    let path = net.request_path(4, &[1, 2]).unwrap();
    net.run();
    let Some(LinkMessage::Answer { label: Some(of_path), .. }) = sent(&net, 1, 4).pop() else {
        panic!()
    };
    let honest = net.carry(4, path);
    assert!(honest.is_ok());
    // Two paths cannot share a label, so that is detected at once; an invented label is not.
    for (lie, state) in [
        (Label::new(4711).unwrap(), PathState::Up),
        (of_path, PathState::Failed(PathFailure::Broken(0))),
    ] {
        net.fate = Box::new(move |from, to, message| match message.clone() {
            LinkMessage::Answer { id, label: Some(_), onion } if (from, to) == (1, 4) => {
                Fate::Is(LinkMessage::Answer { id, label: Some(lie), onion })
            }
            _ => Fate::Passes,
        });
        let other = net.request_path(4, &[1, 2, 3]).unwrap();
        net.run();
        assert_eq!(net.state(4, other), Some(state));
        assert!(net.carry(4, other).is_err());
        assert_eq!(net.carry(4, path), honest);
        net.fate = Box::new(|_, _, _| Fate::Passes);
        net.drop_path(4, other);
        net.run();
    }
    assert_eq!(net.carry(4, path), honest);
}

/// A relay cannot refresh a path for its silent source: replayed changes have no effect.
#[test]
fn nobody_else_keeps_on() {
    let mut net = with_two();
    let path = net.request_path(4, &[1, 2, 3]).unwrap();
    net.run();
    net.tick(200);
    let changes: Vec<_> = sent(&net, 1, 2);
    let changes: Vec<_> =
        changes.into_iter().filter(|it| matches!(it, LinkMessage::Change { .. })).collect();
    assert_eq!(changes.len(), 1);
    net.tick(300);
    assert!(net.carry(4, path).is_ok());
    // From now on the source is silent, and node 1 repeats the changes that it has received.
    net.fate = Box::new(|from, _, _| if from == 4 { Fate::Lost } else { Fate::Passes });
    for _ in 0..10 {
        net.tick(60);
        for (from, to) in [(1, 2), (0, 1)] {
            net.handle_message(from, to, changes[0].clone());
            net.run();
        }
    }
    assert!((0..4).all(|node| net.is_clean(node)));
}

/// A neighbour tries all labels: only those assigned to it are forwarded.
#[test]
fn all_labels_are_guessed() {
    let mut net = with_two();
    let path = net.request_path(4, &[1, 2, 3]).unwrap();
    net.run();
    net.request_path(4, &[1]).unwrap();
    net.request_path(2, &[1, 4]).unwrap();
    net.run();
    let given = net.standing(1);
    for (from, own) in [(0, 0), (2, 2), (4, 3)] {
        let all = (0..1 << 20).filter_map(Label::new);
        let admitted: Vec<_> = all.filter(|label| net.admits(1, from, *label)).collect();
        println!("of 2^20 labels from {from}: {} admitted", admitted.len());
        assert_eq!(admitted.len(), own, "{from}");
        assert!(admitted.iter().all(|label| given.contains(&(from, *label))));
    }
    assert_eq!(given.len(), 5);
    assert!(net.carry(4, path).is_ok());
}

/// A loop is refused at the node that closes it; without the loop the same nodes form a path.
#[test]
fn a_loop_is_refused_where_it_closes() {
    let mut net = with_two();
    let path = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    assert_eq!(net.state(0, path), Some(PathState::Up));
    let looping = net.request_path(0, &[1, 2, 3, 2]).unwrap();
    net.run();
    let at_3 = PathState::Failed(PathFailure::Refused(2, Reason::NoLink));
    assert_eq!(net.state(0, looping), Some(at_3));
}

/// All nodes that learn of a revocation drop paths that end at the revoked node; other paths stay.
#[test]
fn who_is_revoked_has_no_path() {
    let mut net = with_two();
    let [of_0, of_4] = [0, 4].map(|source| {
        let path = net.request_path(source, &[1, 2, 3]).unwrap();
        net.run();
        path
    });
    let end_of_0 = net.carry(0, of_0).unwrap().1;
    let end_of_4 = net.carry(4, of_4).unwrap().1;
    net.set_peer(3, end_of_0, 0);
    net.set_peer(3, end_of_4, 4);
    assert_eq!(net.carry(3, end_of_0), Ok((0, of_0)));
    net.revoke_node(3, 0);
    assert!(net.carry(3, end_of_0).is_err() && net.carry(0, of_0).is_err());
    assert_eq!(net.carry(3, end_of_4), Ok((4, of_4)));
    // A path to it is torn down at all of its hops.
    net.set_peer(4, of_4, 3);
    net.revoke_node(4, 3);
    net.run();
    assert!(net.carry(4, of_4).is_err() && net.is_clean(3));
}

/// Path ends are devices, whose number is limited: no neighbour can use up those of others, nor can
/// all of them use up the node's own.
#[test]
fn ends_are_shared() {
    const BUSY: [usize; 4] = [1, 2, 3, 4];
    let mut net = Net::new(6, 11);
    for other in [1, 2, 3, 4, 5] {
        net.link(0, other);
    }
    let stand = |net: &mut Net, node: usize, asked: usize| {
        let paths: Vec<_> = (0..asked)
            .map(|_| {
                let path = net.request_path(node, &[0]).unwrap();
                net.run();
                // The limit of set-ups per second.
                net.tick(1);
                path
            })
            .collect();
        paths.into_iter().filter(|path| net.state(node, *path) == Some(PathState::Up)).count()
    };
    let all = BUSY.map(|node| stand(&mut net, node, 150));
    assert_eq!(all, [128, 128, 128, 0]);
    assert_eq!(stand(&mut net, 5, 1), 0);
    // The node's own paths still get devices.
    let own = net.request_path(0, &[5]).unwrap();
    net.run();
    assert_eq!(net.state(0, own), Some(PathState::Up));
}

/// A peer that does not introduce itself loses its device soon.
#[test]
fn an_end_without_an_introduction_goes() {
    let mut net = Net::chain(2);
    net.introduces = false;
    let path = net.request_path(0, &[1]).unwrap();
    net.run();
    let there = net.carry(0, path).unwrap().1;
    net.tick(29);
    assert_eq!(net.carry(0, path), Ok((1, there)));
    net.tick(1);
    assert!(net.carry(0, path).is_err() && net.is_clean(1));
    net.introduces = true;
    let path = net.request_path(0, &[1]).unwrap();
    net.run();
    net.tick(60);
    assert!(net.carry(0, path).is_ok());
}
