//! Two nodes on each side of a network that is cut.

mod observer;
mod relay;

use std::collections::BTreeMap;

use octet_ledger::consensus::ConsensusFrame;

use crate::blocks;
use crate::node::{HANG, Nodes, V4, V6, validator};
use observer::observe;
use relay::Relay;

/// The sides.
const SIDES: [[usize; 2]; 2] = [[0, 1], [2, 3]];

#[test]
fn two_and_two_decide_nothing_and_agree_when_they_hear_each_other_again() {
    // QUIC finds the shortest path by itself. From IPv4 to IPv6 there is none but the relays.
    let side = |at| if SIDES[0].contains(&at) { V4 } else { V6 };
    let mut nodes = Nodes::at([0, 1, 2, 3].map(side));
    // Those of the first side connect to the others through relays; the others wait for it.
    let mut relays = vec![];
    for near in SIDES[0] {
        for far in SIDES[1] {
            let relay = Relay::start(nodes.listen[far]);
            nodes.peers[near][far] = Some(relay.address);
            nodes.peers[far][near] = None;
            relays.push(relay);
        }
    }
    (0..4).for_each(|at| nodes.spawn(at));
    // Each side alone is too few: so this is decided through the relays.
    nodes.pay(1);
    nodes.wait_for(1);

    let frames = observe(nodes.listen);
    relays.iter().for_each(|relay| relay.cut(true));
    nodes.pay(2);
    let height = nodes.height() + 1;
    // Each node has voted for the next height, and says it again, since it goes no further.
    let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
    while (0..4).any(|at| votes.get(&at).is_none_or(|count| *count < 3)) {
        let (from, frame) = frames.recv_timeout(HANG).unwrap();
        let Some(ConsensusFrame::Vote(vote)) = ConsensusFrame::from_bytes(&frame) else { continue };
        let vote = vote.message;
        assert!(vote.height.0 <= height, "{vote:?}");
        if vote.height.0 == height && vote.from == validator(from).into() {
            *votes.entry(from).or_default() += 1;
        }
    }
    assert!(nodes.newest().iter().all(|state| state.height < height));

    relays.iter().for_each(|relay| relay.cut(false));
    nodes.wait_for(2);
    (0..4).for_each(|at| nodes.kill(at));
    let first = blocks(&nodes, 0);
    assert_eq!(first.1, 2);
    for at in 1..4 {
        assert_eq!(blocks(&nodes, at), first);
    }
}
