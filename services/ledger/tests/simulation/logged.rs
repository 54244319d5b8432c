//! What one node logs and sends, without the others.

use std::sync::Arc;
use std::time::Duration;

use arc_malachitebft_core_types::{NilOrVal, Round, VoteType};
use octet_coins::PendingTransactions;
use octet_ledger::consensus::{
    BlockHeight, ConsensusFrame, ConsensusNode, ConsensusProposal, ConsensusSettings,
    ConsensusVote, VoteSigner,
};

use octet_ledger::log::{HeightLog, RECORDS};

use crate::disk::{Disk, Fuse};
use crate::world::World;

/// A node of `world` from nothing, with the fuse and the log of its disks.
fn open(world: &World, at: usize) -> (ConsensusNode, Fuse, Disk) {
    let fuse = Fuse::default();
    let (store, log) = (Disk::new(fuse.clone()), Disk::new(fuse.clone()));
    let settings = ConsensusSettings::new(world.genesis.clone());
    let key = world.nodes[at].key.clone();
    let node = ConsensusNode::open(settings, key, store, Box::new(log.clone()), world.now);
    (node.unwrap(), fuse, log)
}

fn frames(node: &mut ConsensusNode) -> Vec<ConsensusFrame> {
    let frames = node.take_frames().into_iter();
    frames.map(|(_, frame)| ConsensusFrame::from_bytes(&frame).unwrap()).collect()
}

/// The validator that proposes first, and its proposal with a transaction.
fn proposal(world: &mut World) -> (usize, ConsensusFrame) {
    let transaction = world.transaction();
    for at in 0..4 {
        let (mut node, _, _) = open(world, at);
        node.submit(transaction, world.now).unwrap().unwrap();
        let frames = frames(&mut node).into_iter();
        let mut proposals = frames.filter(|it| matches!(it, ConsensusFrame::Proposal(..)));
        if let Some(proposal) = proposals.next() {
            return (at, proposal);
        }
    }
    panic!("nobody proposes")
}

fn is_vote(frame: &ConsensusFrame) -> bool {
    matches!(frame, ConsensusFrame::Vote(_))
}

#[test]
fn what_cannot_be_logged_does_not_leave() {
    let mut world = World::new(40, 4, 0);
    let (proposer, proposal) = proposal(&mut world);
    let at = (proposer + 1) % 4;
    let (peer, bytes) = (world.nodes[proposer].public, proposal.to_bytes());
    // A vote of the proposer begins the height.
    let (mut first, _, _) = open(&world, proposer);
    first.submit(world.submitted[0], world.now).unwrap().unwrap();
    let vote = frames(&mut first).into_iter().find(is_vote).unwrap().to_bytes();
    for operation in 0..4 {
        let (mut node, fuse, log) = open(&world, at);
        node.take_frames();
        fuse.set((operation < 3).then_some(operation));
        let result = node
            .receive(peer, &vote, world.now)
            .and_then(|()| node.receive(peer, &bytes, world.now));
        let sent = frames(&mut node);
        assert_eq!(result.is_ok(), operation == 3);
        assert_eq!(sent.iter().any(is_vote), operation == 3, "{sent:?}");
        assert_eq!(log.synced().len() > RECORDS, operation == 3);
        // It does not go on when the disk does.
        fuse.set(None);
        assert_eq!(node.tick(world.now + Duration::from_secs(1)).is_ok(), operation == 3);
    }
}

/// Time-outs make it vote, so that the log is written.
fn logged(world: &World, at: usize, begin: &[u8], sent: &[Vec<u8>]) -> (usize, bool) {
    let (mut node, _, log) = open(world, at);
    let peer = world.nodes[(at + 1) % 4].public;
    let mut now = world.now;
    for frame in std::iter::once(&begin.to_vec()).chain(sent) {
        node.receive(peer, frame, now).unwrap();
    }
    for _ in 0..20 {
        now = node.deadline().max(now);
        node.tick(now).unwrap();
    }
    let is_for_block = |frame: &ConsensusFrame| match frame {
        ConsensusFrame::Vote(vote) => {
            vote.message.value.is_val() && vote.message.from == world.nodes[at].public.into()
        }
        _ => false,
    };
    (log.bytes().len(), frames(&mut node).iter().any(is_for_block))
}

#[test]
fn a_proposal_is_logged_once_and_only_from_whose_turn_it_is() {
    let mut world = World::new(41, 4, 0);
    let (proposer, proposal) = proposal(&mut world);
    let at = (proposer + 1) % 4;
    let (mut first, _, _) = open(&world, proposer);
    first.submit(world.submitted[0], world.now).unwrap().unwrap();
    let begin = frames(&mut first).into_iter().find(is_vote).unwrap().to_bytes();
    let none = logged(&world, at, &begin, &[]);
    let once = logged(&world, at, &begin, &[proposal.to_bytes()]);
    assert!(once.0 > none.0 && once.1 && !none.1, "{once:?} {none:?}");
    let often = logged(&world, at, &begin, &vec![proposal.to_bytes(); 50]);
    assert_eq!(often, once);
    // A third block of one round adds nothing to the evidence of the second.
    let ConsensusFrame::Proposal(of, block) = &proposal else { panic!() };
    let other = |number: usize, by: usize| {
        let mut pending = PendingTransactions::default();
        let mut block = octet_coins::Block::from_bytes(block).unwrap();
        block.transactions.truncate(0);
        let state = octet_coins::LedgerState::new(&world.genesis);
        for transaction in world.submitted.iter().take(number) {
            let _ = pending.admit(*transaction, &state);
        }
        block.transactions = pending.block(&state, 0).transactions;
        let signer = VoteSigner::new(Arc::clone(&world.nodes[by].key), world.genesis.hash());
        let (value, from) = (block.hash().into(), signer.public());
        let signed = signer.sign_proposal(ConsensusProposal { value, from, ..of.message.clone() });
        ConsensusFrame::Proposal(signed, block.to_bytes()).to_bytes()
    };
    let two = logged(&world, at, &begin, &[proposal.to_bytes(), other(0, proposer)]);
    assert!(two.0 > once.0);
    // Somebody whose turn it is not.
    let stranger = logged(&world, at, &begin, &[other(0, (proposer + 2) % 4)]);
    assert_eq!(stranger, none);
    // Another unit with the key of the one whose turn it is, at that one: replay would take it for its own.
    let signer = VoteSigner::new(Arc::clone(&world.nodes[at].key), world.genesis.hash());
    let (kind, value, from) = (VoteType::Prevote, NilOrVal::Nil, signer.public());
    let vote = ConsensusVote { kind, height: BlockHeight(1), round: Round::ZERO, value, from };
    let begin = ConsensusFrame::Vote(signer.sign_vote(vote)).to_bytes();
    let alone = logged(&world, proposer, &begin, &[]);
    assert_eq!(logged(&world, proposer, &begin, &[other(1, proposer)]), alone);
}

/// A height before the newest of the log was decided. Its votes may be lost, so it is fetched.
#[test]
fn a_node_without_its_blocks_does_not_vote_on_them_again() {
    let mut world = World::new(42, 4, 0);
    for _ in 0..3 {
        world.submit(0);
        world.run(Duration::from_secs(10));
    }
    assert_eq!(world.height(1), 3);
    let signer = VoteSigner::new(Arc::clone(&world.nodes[2].key), world.genesis.hash());
    let vote = |height: u64| {
        let vote = ConsensusVote {
            kind: VoteType::Prevote,
            height: BlockHeight(height),
            round: Round::ZERO,
            value: NilOrVal::Nil,
            from: signer.public(),
        };
        ConsensusFrame::Vote(signer.sign_vote(vote)).to_bytes()
    };
    let (peer, log) = (world.nodes[2].public, world.nodes[1].log.bytes());
    // The file was emptied before height 3 began.
    let emptied = Disk::default();
    HeightLog::open(Box::new(emptied.clone())).unwrap().0.restart(3).unwrap();
    for (log, votes) in [(vec![], true), (log, false), (emptied.bytes(), false)] {
        let settings = ConsensusSettings::new(world.genesis.clone());
        let key = world.nodes[1].key.clone();
        let log = Box::new(Disk::with(log));
        let mut node = ConsensusNode::open(settings, key, Disk::default(), log, world.now).unwrap();
        node.receive(peer, &vote(1), world.now).unwrap();
        assert_eq!(node.is_deciding(), votes);
    }
}

/// The key is used by another unit, too. Its messages are not taken for the node's own.
#[test]
fn a_vote_of_another_unit_with_the_same_key_ends_the_node() {
    let mut world = World::new(44, 4, 0);
    let (proposer, proposal) = proposal(&mut world);
    let at = (proposer + 1) % 4;
    let peer = world.nodes[proposer].public;
    let signer = VoteSigner::new(Arc::clone(&world.nodes[at].key), world.genesis.hash());
    let (mut first, _, _) = open(&world, proposer);
    first.submit(world.submitted[0], world.now).unwrap().unwrap();
    let begin = frames(&mut first).into_iter().find(is_vote).unwrap().to_bytes();
    let (mut node, _, log) = open(&world, at);
    node.receive(peer, &begin, world.now).unwrap();
    let is_own = |frame: &ConsensusFrame| match frame {
        ConsensusFrame::Vote(vote) => vote.message.from == signer.public(),
        _ => false,
    };
    // Before it has voted, another one has. Nothing of it is logged.
    let value = NilOrVal::Nil;
    let (kind, from) = (VoteType::Prevote, signer.public());
    let vote = ConsensusVote { kind, height: BlockHeight(1), round: Round::ZERO, value, from };
    let early = ConsensusFrame::Vote(signer.sign_vote(vote)).to_bytes();
    let before = log.bytes();
    node.receive(peer, &early, world.now).unwrap();
    assert_eq!(log.bytes(), before);
    node.receive(peer, &proposal.to_bytes(), world.now).unwrap();
    let own = frames(&mut node).into_iter().find(is_own).unwrap();
    let ConsensusFrame::Vote(signed) = &own else { panic!() };
    assert!(signed.message.value.is_val());
    // Its own vote comes back, as others pass it on.
    node.receive(peer, &own.to_bytes(), world.now).unwrap();
    let mut forged = early.clone();
    *forged.last_mut().unwrap() ^= 1;
    node.receive(peer, &forged, world.now).unwrap();
    let error = node.receive(peer, &early, world.now).unwrap_err();
    assert!(error.to_string().contains("another unit has the same key"), "{error}");
    for part in ["stop one of the two", "identity revoke ledger", "wallet vote-add"] {
        assert!(error.help().contains(part), "{part}");
    }
}

/// Replay derives the own votes anew. If they are others than those in the log, nothing leaves.
#[test]
fn a_log_that_leads_to_other_votes_than_it_has_is_an_error() {
    let mut world = World::new(43, 4, 0);
    let (proposer, proposal) = proposal(&mut world);
    let at = (proposer + 1) % 4;
    let peer = world.nodes[proposer].public;
    let (mut first, _, _) = open(&world, proposer);
    first.submit(world.submitted[0], world.now).unwrap().unwrap();
    let begin = frames(&mut first).into_iter().find(is_vote).unwrap().to_bytes();
    let (mut node, _, log) = open(&world, at);
    node.receive(peer, &begin, world.now).unwrap();
    node.receive(peer, &proposal.to_bytes(), world.now).unwrap();
    let signer = VoteSigner::new(Arc::clone(&world.nodes[at].key), world.genesis.hash());
    let own = |frame: &ConsensusFrame| match frame {
        ConsensusFrame::Vote(vote) => vote.message.from == signer.public(),
        _ => false,
    };
    let vote = frames(&mut node).into_iter().find(own).unwrap();
    let ConsensusFrame::Vote(signed) = &vote else { panic!() };
    assert!(signed.message.value.is_val());
    let nil = signer.sign_vote(ConsensusVote { value: NilOrVal::Nil, ..signed.message.clone() });
    // In the log, a vote is encoded as in a frame, after the byte of its kind.
    let [vote_bytes, nil] =
        [&vote, &ConsensusFrame::Vote(nil)].map(|frame| frame.to_bytes()[1..].to_vec());
    let (_, records) = HeightLog::open(Box::new(Disk::with(log.bytes()))).unwrap();
    for replacement in [None, Some(&nil)] {
        let disk = Disk::default();
        let (mut log, _) = HeightLog::open(Box::new(disk.clone())).unwrap();
        let mut found = 0;
        for (height, mut record) in records.clone() {
            let place = record.windows(vote_bytes.len()).position(|part| part == vote_bytes);
            found += usize::from(place.is_some());
            if let (Some(place), Some(replacement)) = (place, replacement) {
                record.splice(place..place + vote_bytes.len(), replacement.iter().copied());
            }
            log.append(height, &record).unwrap();
        }
        assert_eq!(found, 1);
        let settings = ConsensusSettings::new(world.genesis.clone());
        let key = world.nodes[at].key.clone();
        let opened = ConsensusNode::open(settings, key, Disk::default(), Box::new(disk), world.now);
        match replacement {
            // The control: the log as it is. What was sent before is sent again, and nothing else.
            None => {
                let sent = frames(&mut opened.unwrap());
                assert!(sent.iter().filter(|frame| own(frame)).all(|frame| *frame == vote));
            }
            Some(_) => {
                let error = opened.err().unwrap().to_string();
                assert!(error.contains("library"), "{error}");
            }
        }
    }
}
