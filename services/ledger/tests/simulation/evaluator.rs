//! Judges what nodes did, by their frames and stores. It shares no code with the library but the decoding of frames and
//! transactions.

use std::collections::{BTreeMap, BTreeSet};

use arc_malachitebft_core_types::{NilOrVal, VoteType};
use octet_coins::Block;
use octet_ledger::consensus::{ConsensusFrame, ConsensusVote, EquivocationKind};
use octet_ledger::store::BlockStore;
use octet_node::control::PublicKey;
use octet_node::key::{Domain, verify};

type VoteOf = (PublicKey, u64, i64, bool);

/// What honest nodes said and decided.
#[derive(Debug, Clone, Default)]
pub struct Evaluator {
    votes: BTreeMap<VoteOf, Option<[u8; 32]>>,
    decided: BTreeMap<u64, [u8; 32]>,
}

impl Evaluator {
    /// Looks at a frame that the honest node `from` sent. Returns whether it contradicts an earlier one.
    pub fn is_contradiction(&mut self, from: PublicKey, frame: &[u8]) -> bool {
        let Some(ConsensusFrame::Vote(vote)) = ConsensusFrame::from_bytes(frame) else {
            return false;
        };
        let ConsensusVote { kind, height, round, value, from: by } = vote.message;
        if PublicKey::from(by) != from {
            return false;
        }
        let is_prevote = kind == VoteType::Prevote;
        let value = match value {
            NilOrVal::Nil => None,
            NilOrVal::Val(value) => Some(value.0),
        };
        let of = (from, height.0, round.as_i64(), is_prevote);
        *self.votes.entry(of).or_insert(value) != value
    }

    /// The newest block of a node.
    pub fn decided(&mut self, height: u64, block: [u8; 32]) {
        if height > 0 {
            let other = self.decided.entry(height).or_insert(block);
            assert_eq!(*other, block, "two blocks at height {height}");
        }
    }

    pub fn height(&self) -> u64 {
        self.decided.keys().next_back().copied().unwrap_or(0)
    }

    /// Walks all blocks of a store, and returns how many transactions they have.
    pub fn walk(
        &mut self,
        store: &BlockStore,
        genesis: [u8; 32],
        validators: &[PublicKey],
    ) -> usize {
        let (mut parent, mut transactions) = (genesis, BTreeSet::new());
        let mut count = 0;
        for height in 1.. {
            let Some((bytes, certificate)) = store.block(height).unwrap() else {
                assert!(store.block(height + 1).unwrap().is_none(), "a gap at {height}");
                return count;
            };
            let block = Block::from_bytes(&bytes).unwrap();
            assert_eq!((block.height, block.parent.0), (height, parent));
            parent = block.hash().0;
            // The block tells whose turns were missed. It was made in a round that came.
            let round = u32::from_be_bytes(certificate[8..12].try_into().unwrap());
            assert!(block.round <= round, "the block of {height} is of a round that never was");
            self.decided(height, parent);
            check_certificate(&certificate, &genesis, height, &parent, validators);
            for transaction in &block.transactions {
                assert!(transactions.insert(transaction.to_bytes()), "twice at {height}");
                count += 1;
            }
        }
        unreachable!()
    }

    /// Evidence of a store: whom it is against.
    pub fn accused(store: &BlockStore) -> BTreeSet<(PublicKey, EquivocationKind)> {
        let all = store.evidence().unwrap();
        let ids: BTreeSet<_> = all.iter().map(octet_ledger::consensus::Equivocation::id).collect();
        assert_eq!(ids.len(), all.len());
        all.into_iter().map(|one| (one.validator.into(), one.kind)).collect()
    }
}

fn check_certificate(
    certificate: &[u8],
    genesis: &[u8; 32],
    height: u64,
    block: &[u8; 32],
    validators: &[PublicKey],
) {
    let number = height.to_be_bytes();
    assert_eq!((&certificate[..8], &certificate[12..44]), (&number[..], &block[..]));
    let round = &certificate[8..12];
    let signed = [genesis, &[2][..], &number, round, &[1], block].concat();
    let mut voted = BTreeSet::new();
    for one in certificate[46..].chunks(96) {
        let key = PublicKey::new(one[..32].try_into().unwrap());
        assert!(validators.contains(&key) && verify(&key, Domain::Vote, &signed, &one[32..]));
        voted.insert(key);
    }
    assert!(voted.len() * 3 > validators.len() * 2, "{} of {}", voted.len(), validators.len());
}
