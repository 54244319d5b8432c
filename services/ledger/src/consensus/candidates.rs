//! The blocks that were proposed at the height at hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use octet_coins::{Block, LedgerState, PendingTransactions};

use super::types::{BlockValue, ConsensusProposal};

/// The number of blocks from which those of early rounds are forgotten: at most 12 MiB with the largest blocks.
const MAX_BLOCKS: usize = 48;

/// How many proposals of a round are looked at. A second one is evidence; a third adds nothing.
const MAX_PROPOSALS: usize = 2;

#[derive(Debug)]
pub(super) struct CandidateBlock {
    pub(super) bytes: Vec<u8>,
    pub(super) round: u32,
    /// The state after the block; `None` if it cannot follow.
    pub(super) next: Option<Arc<LedgerState>>,
}

#[derive(Debug, Default)]
pub(super) struct Candidates {
    blocks: BTreeMap<BlockValue, CandidateBlock>,
    proposals: Vec<ConsensusProposal>,
}

impl Candidates {
    /// Decodes a block, judges it once, and keeps it. `None`: it is no block. The signatures of transactions in
    /// `pending` were verified when they came.
    pub(super) fn admit(
        &mut self,
        bytes: &[u8],
        state: &LedgerState,
        pending: &PendingTransactions,
    ) -> Option<BlockValue> {
        let block = Block::from_bytes(bytes)?;
        let value = block.hash().into();
        self.blocks.entry(value).or_insert_with(|| CandidateBlock {
            bytes: block.to_bytes(),
            round: block.round,
            next: state.check_with(&block, pending).ok().map(Arc::new),
        });
        Some(value)
    }

    pub(super) fn get(&self, value: &BlockValue) -> Option<&CandidateBlock> {
        self.blocks.get(value)
    }

    /// Whether a proposal is new, and one of the first of its round. The state machine logs a proposal each time it is
    /// given it, so it is given each once.
    pub(super) fn is_new(&self, proposal: &ConsensusProposal) -> bool {
        let same = self.proposals.iter().filter(|other| other.round == proposal.round);
        same.clone().count() < MAX_PROPOSALS && same.clone().all(|other| other != proposal)
    }

    pub(super) fn note(&mut self, proposal: ConsensusProposal) {
        self.proposals.push(proposal);
    }

    /// Forgets blocks of early rounds, but none that the state machine may still decide by its own votes.
    pub(super) fn trim(&mut self, needed: &[BlockValue]) {
        while self.blocks.len() > MAX_BLOCKS {
            let others = self.blocks.iter().filter(|(value, _)| !needed.contains(value));
            let Some((value, _)) = others.min_by_key(|(_, block)| block.round) else { return };
            let value = *value;
            self.blocks.remove(&value);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
