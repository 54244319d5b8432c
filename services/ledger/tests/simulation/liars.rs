//! One validator lies.

use std::collections::BTreeSet;
use std::time::Duration;

use arc_malachitebft_core_types::{NilOrVal, Round, VoteType};
use octet_ledger::consensus::EquivocationKind::{Precommit, Prevote, Proposal};
use octet_ledger::consensus::{BlockHeight, ConsensusFrame, ConsensusVote, VoteSigner};

use crate::liar::Lie;
use crate::seeds;
use crate::world::{Faults, World};

fn lie(seed: u64, lie: Lie, faults: Faults) -> World {
    let mut world = World::new(seed, 4, 0);
    world.lies(3, lie);
    world.faults = faults;
    for _ in 0..12 {
        let at = world.rng.usize(..4);
        world.submit(at);
        let at = world.rng.usize(..4);
        world.submit(at);
        world.run(Duration::from_secs(5));
    }
    world
}

#[test]
fn a_liar_is_found_out_by_all() {
    for seed in seeds(4) {
        for kind in [Lie::Double, Lie::Split] {
            let mut world = lie(seed, kind, Faults { delay: 20, ..Faults::default() });
            world.heal();
            let liar = BTreeSet::from([world.nodes[3].public]);
            assert_eq!(world.contradictions, 0, "seed {seed} {kind:?}");
            for at in 0..3 {
                assert_eq!(world.accused(at), liar, "seed {seed} {kind:?} {at}");
                let all = [Prevote, Precommit, Proposal].into();
                assert_eq!(world.evidence(at), all, "seed {seed} {kind:?} {at}");
            }
        }
    }
}

#[test]
fn honest_nodes_agree_beside_a_liar_whatever_fails() {
    let (crashes, cuts) = (30, true);
    let faults = Faults { lost: 20, doubled: 20, delay: 200, crashes, cuts, ..Faults::default() };
    for seed in seeds(8) {
        let kind = if seed % 2 == 0 { Lie::Double } else { Lie::Split };
        let mut world = lie(1000 + seed, kind, faults.clone());
        world.heal();
        assert_eq!(world.contradictions, 0, "seed {seed}");
        for at in 0..3 {
            let mut accused = world.accused(at);
            accused.remove(&world.nodes[3].public);
            assert!(accused.is_empty(), "seed {seed}");
        }
    }
}

/// What comes after the decision, while nothing waits, is evidence as well.
#[test]
fn a_contradiction_after_the_decision_is_found_out_by_all() {
    seeds(8).for_each(contradict_late);
}

fn contradict_late(seed: u64) {
    let mut world = World::new(3000 + seed, 4, 0);
    world.submit(0);
    world.run(Duration::from_secs(10));
    assert_eq!(world.height(0), 1);
    let signer = VoteSigner::new(world.nodes[3].key.clone(), world.genesis.hash());
    let vote = signer.sign_vote(ConsensusVote {
        kind: VoteType::Precommit,
        height: BlockHeight(1),
        round: Round::ZERO,
        value: NilOrVal::Nil,
        from: signer.public(),
    });
    // It would end when others pass the vote on.
    world.stop(3, false);
    let (from, now) = (world.nodes[3].public, world.now);
    let node = world.nodes[0].node.as_mut().unwrap();
    node.receive(from, &ConsensusFrame::Vote(vote).to_bytes(), now).unwrap();
    // The next height ends the time in which it counts.
    world.run(Duration::from_secs(5));
    world.submit(0);
    world.run(Duration::from_secs(10));
    assert_eq!(world.height(0), 2);
    for at in 0..3 {
        assert_eq!(world.accused(at), BTreeSet::from([from]), "seed {seed} {at}");
    }
}

/// Nobody votes for a block that says others had missed their turns.
#[test]
fn a_block_of_a_round_that_never_was_is_not_decided() {
    for seed in seeds(3) {
        let mut world = lie(2000 + seed, Lie::Round, Faults { delay: 20, ..Faults::default() });
        world.heal();
        for at in 0..4 {
            assert_eq!(world.transactions(at), world.submitted.len());
        }
    }
}

/// A liar that repeats itself forever neither fills logs nor evidence.
#[test]
fn a_repeated_contradiction_is_logged_once() {
    let mut world = World::new(9, 4, 0);
    world.lies(3, Lie::Double);
    // Two are away, so the height never ends and votes are repeated.
    world.stop(1, false);
    world.stop(2, false);
    world.submit(0);
    world.run(Duration::from_secs(120));
    let before = world.nodes[0].log.written();
    assert!(before > 28);
    world.run(Duration::from_secs(3600));
    assert_eq!(world.nodes[0].log.written(), before);
}
