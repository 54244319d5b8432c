//! A validator that says one thing and another.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_malachitebft_core_types::NilOrVal;
use octet_coins::{Block, Genesis};
use octet_ledger::consensus::{
    BlockValue, ConsensusFrame, ConsensusProposal, ConsensusVote, VoteSigner,
};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Both to all.
    Double,
    /// One to some, the other to the others.
    Split,
    /// It proposes blocks of a later round, as if others had missed their turns, and says nothing else.
    Round,
}

#[derive(Debug)]
pub struct Liar {
    pub lie: Lie,
    signer: VoteSigner,
    own: PublicKey,
    /// The other block that was proposed in a height and round.
    proposed: BTreeMap<(u64, i64), BlockValue>,
}

impl Liar {
    pub fn new(lie: Lie, key: Arc<PrivateKey>, genesis: &Genesis) -> Self {
        let own = key.public();
        let signer = VoteSigner::new(key, genesis.hash());
        Self { lie, signer, own, proposed: BTreeMap::new() }
    }

    /// Whether the frame is a vote with its key.
    pub fn has_signed(&self, frame: &[u8]) -> bool {
        match ConsensusFrame::from_bytes(frame) {
            Some(ConsensusFrame::Vote(vote)) => PublicKey::from(vote.message.from) == self.own,
            _ => false,
        }
    }

    /// What contradicts a frame.
    pub fn other(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        match ConsensusFrame::from_bytes(frame)? {
            ConsensusFrame::Proposal(proposal, block)
                if PublicKey::from(proposal.message.from) == self.own =>
            {
                let mut block = Block::from_bytes(&block)?;
                if self.lie == Lie::Round {
                    block.round += 2;
                } else {
                    block.transactions.pop()?;
                }
                let value = block.hash().into();
                let message = ConsensusProposal { value, ..proposal.message };
                self.proposed.insert((message.height.0, message.round.as_i64()), value);
                let proposal = self.signer.sign_proposal(message);
                Some(ConsensusFrame::Proposal(proposal, block.to_bytes()).to_bytes())
            }
            ConsensusFrame::Vote(vote)
                if self.lie != Lie::Round && PublicKey::from(vote.message.from) == self.own =>
            {
                let of = (vote.message.height.0, vote.message.round.as_i64());
                let lie = self.proposed.get(&of).copied();
                let value = match vote.message.value {
                    NilOrVal::Nil => NilOrVal::Val(lie.unwrap_or(BlockValue([7; 32]))),
                    NilOrVal::Val(_) => lie.map_or(NilOrVal::Nil, NilOrVal::Val),
                };
                let vote = self.signer.sign_vote(ConsensusVote { value, ..vote.message });
                Some(ConsensusFrame::Vote(vote).to_bytes())
            }
            _ => None,
        }
    }
}
