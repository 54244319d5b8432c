//! What a peer may ask of a node, and what it may tell it.

use std::sync::Arc;
use std::time::Duration;

use arc_malachitebft_core_types::{NilOrVal, Round, VoteType};
use octet_ledger::consensus::{
    BlockCertificate, BlockHeight, BlockValue, ConsensusFrame, ConsensusNode, ConsensusSettings,
    ConsensusVote, Equivocation, EquivocationKind, MAX_ANSWER, Recipient, VoteSigner,
};
use octet_ledger::store::{BlockStore, MAX_EVIDENCE};

use crate::disk::Disk;
use crate::world::World;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A node without blocks and without a vote.
fn follower(world: &World) -> ConsensusNode {
    let key = Arc::new(octet_node::key::PrivateKey::from_seed([77; 32]).unwrap());
    let settings = ConsensusSettings::new(world.genesis.clone());
    let (store, log) = (Disk::default(), Box::new(Disk::default()));
    ConsensusNode::open(settings, key, store, log, world.now).unwrap()
}

/// What a node sends to the peer `to` alone.
fn answers(node: &mut ConsensusNode, to: octet_node::control::PublicKey) -> Vec<ConsensusFrame> {
    let frames = node.take_frames().into_iter();
    let own = frames.filter(|(recipient, _)| *recipient == Recipient::One(to));
    own.map(|(_, frame)| ConsensusFrame::from_bytes(&frame).unwrap()).collect()
}

#[test]
fn answers_are_bounded() {
    let mut world = World::new(30, 4, 0);
    for _ in 0..6 {
        for _ in 0..700 {
            world.submit(0);
        }
        world.run(seconds(20));
    }
    assert!(world.height(0) >= 6);
    let (peer, now) = (world.nodes[1].public, world.now);
    let node = world.nodes[0].node.as_mut().unwrap();
    node.take_frames();
    let mut height = 0;
    let mut frames = 0;
    while height < node.state().height() {
        node.receive(peer, &ConsensusFrame::Fetch(height + 1).to_bytes(), now).unwrap();
        let answer = answers(node, peer).remove(0);
        assert!(answer.to_bytes().len() <= MAX_ANSWER + 64);
        let ConsensusFrame::Decided(blocks) = answer else { panic!("{answer:?}") };
        assert!(!blocks.is_empty());
        height += blocks.len() as u64;
        frames += 1;
    }
    assert!(frames > 1);
}

#[test]
fn a_peer_that_asks_too_often_is_not_answered_and_others_are() {
    let mut world = World::new(31, 4, 0);
    world.submit(0);
    world.run(seconds(10));
    let (greedy, other, now) = (world.nodes[1].public, world.nodes[2].public, world.now);
    let node = world.nodes[0].node.as_mut().unwrap();
    node.take_frames();
    let fetch = ConsensusFrame::Fetch(1).to_bytes();
    for _ in 0..5_000 {
        node.receive(greedy, &fetch, now).unwrap();
    }
    assert_eq!(answers(node, greedy).len(), 40);
    node.receive(other, &fetch, now).unwrap();
    assert_eq!(answers(node, other).len(), 1);
    node.receive(greedy, &fetch, now + seconds(10)).unwrap();
    assert_eq!(answers(node, greedy).len(), 1);
}

#[test]
fn blocks_without_the_votes_of_two_thirds_are_not_taken() {
    let mut world = World::new(32, 4, 0);
    world.submit(0);
    world.run(seconds(10));
    let store = world.nodes[0].node.as_ref().unwrap().store();
    let (block, certificate) = store.block(1).unwrap().unwrap();
    let good = BlockCertificate::from_bytes(&certificate).unwrap();
    let forged = |signatures: Vec<_>| BlockCertificate { signatures, ..good.clone() };
    let [one, two] = [good.signatures[0], good.signatures[1]];
    let peers = [world.nodes[0].public, world.nodes[1].public];
    let mut other_block = block.clone();
    let last = other_block.len() - 1;
    other_block[last] ^= 1;
    let lies = [
        (block.clone(), forged(vec![one, two])),
        (block.clone(), forged(vec![one, two, two])),
        (block.clone(), BlockCertificate { round: good.round + 1, ..good.clone() }),
        (block.clone(), BlockCertificate { height: 2, ..good.clone() }),
        (other_block, good.clone()),
    ];
    for (block, certificate) in lies.into_iter().map(|(block, it)| (block, it.to_bytes())) {
        let (mut node, now) = (follower(&world), world.now);
        let status = ConsensusFrame::Status(1).to_bytes();
        node.receive(peers[0], &status, now).unwrap();
        assert_eq!(answers(&mut node, peers[0]), [ConsensusFrame::Fetch(1)]);
        let decided = ConsensusFrame::Decided(vec![(block, certificate)]).to_bytes();
        node.receive(peers[0], &decided, now).unwrap();
        assert_eq!(node.state().height(), 0);
        // The liar is not asked again for now, and somebody else is.
        node.receive(peers[0], &status, now).unwrap();
        assert_eq!(answers(&mut node, peers[0]), []);
        node.receive(peers[1], &status, now).unwrap();
        assert_eq!(answers(&mut node, peers[1]), [ConsensusFrame::Fetch(1)]);
        let truth = (world.nodes[0].node.as_ref().unwrap().store().block(1)).unwrap().unwrap();
        let truth = ConsensusFrame::Decided(vec![truth]).to_bytes();
        // Nobody else was asked.
        node.receive(peers[0], &truth, now).unwrap();
        assert_eq!(node.state().height(), 0);
        node.receive(peers[1], &truth, now).unwrap();
        assert_eq!(node.state().height(), 1);
    }
}

#[test]
fn who_answers_nothing_is_replaced() {
    let world = World::new(33, 4, 0);
    let mut node = follower(&world);
    let (silent, other) = (world.nodes[0].public, world.nodes[1].public);
    let status = ConsensusFrame::Status(u64::MAX).to_bytes();
    node.receive(silent, &status, world.now).unwrap();
    assert_eq!(answers(&mut node, silent), [ConsensusFrame::Fetch(1)]);
    node.receive(other, &status, world.now).unwrap();
    assert_eq!(answers(&mut node, other), []);
    node.receive(other, &status, world.now + seconds(6)).unwrap();
    assert_eq!(answers(&mut node, other), [ConsensusFrame::Fetch(1)]);
}

#[test]
fn evidence_is_kept_once_and_up_to_a_bound_for_each_validator() {
    let world = World::new(34, 4, 0);
    let disk = Disk::default();
    let (mut store, _) = BlockStore::open(disk.clone(), &world.genesis).unwrap();
    let one = |of: usize, height: u64| Equivocation {
        validator: world.nodes[of].public.into(),
        height,
        round: 0,
        kind: EquivocationKind::Prevote,
        messages: vec![1, 2, 3],
    };
    store.add_evidence(&[one(0, 1)]).unwrap();
    assert_eq!(store.evidence().unwrap(), [one(0, 1)]);
    let written = disk.written();
    store.add_evidence(&[one(0, 1)]).unwrap();
    assert_eq!(disk.written(), written);
    for height in 0..100 {
        store.add_evidence(&[one(0, height)]).unwrap();
    }
    assert_eq!(store.evidence().unwrap().len(), MAX_EVIDENCE);
    store.add_evidence(&[one(1, 1)]).unwrap();
    assert_eq!(store.evidence().unwrap().len(), MAX_EVIDENCE + 1);
}

#[test]
fn only_a_vote_of_a_validator_begins_the_next_height() {
    let mut world = World::new(35, 4, 0);
    world.run(seconds(2));
    let now = world.now;
    let genesis = world.genesis.hash();
    let signers: Vec<_> =
        world.nodes.iter().map(|node| VoteSigner::new(node.key.clone(), genesis)).collect();
    let vote = |of: usize, height: u64, round: u32| {
        let vote = ConsensusVote {
            kind: VoteType::Prevote,
            height: BlockHeight(height),
            round: Round::new(round),
            value: NilOrVal::Val(BlockValue([1; 32])),
            from: signers[of].public(),
        };
        ConsensusFrame::Vote(signers[of].sign_vote(vote)).to_bytes()
    };
    let peer = world.nodes[1].public;
    let node = world.nodes[0].node.as_mut().unwrap();
    // Far heights begin nothing.
    node.receive(peer, &vote(1, 2, 0), now).unwrap();
    node.receive(peer, &vote(1, 900, 0), now).unwrap();
    assert!(!node.is_deciding());
    let stranger = VoteSigner::new(
        Arc::new(octet_node::key::PrivateKey::from_seed([66; 32]).unwrap()),
        genesis,
    );
    let of_stranger = stranger.sign_vote(ConsensusVote {
        kind: VoteType::Prevote,
        height: BlockHeight(1),
        round: Round::ZERO,
        value: NilOrVal::Nil,
        from: stranger.public(),
    });
    node.receive(peer, &ConsensusFrame::Vote(of_stranger).to_bytes(), now).unwrap();
    assert!(!node.is_deciding());
    // Nor does a vote that another one signed.
    let forged = signers[2].sign_vote(ConsensusVote {
        kind: VoteType::Prevote,
        height: BlockHeight(1),
        round: Round::ZERO,
        value: NilOrVal::Nil,
        from: signers[1].public(),
    });
    node.receive(peer, &ConsensusFrame::Vote(forged).to_bytes(), now).unwrap();
    assert!(!node.is_deciding());
    // A validator's vote begins the next height.
    node.receive(peer, &vote(1, 1, 0), now).unwrap();
    assert!(node.is_deciding());
}
