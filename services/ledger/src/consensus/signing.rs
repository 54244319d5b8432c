//! Signatures of votes and proposals. What is signed begins with the hash of the genesis, so that it holds on one
//! ledger only. Its encoding is written here by hand, because auditors read it as well; numbers are big-endian:
//!
//! - vote: genesis (32 bytes), 1 for a prevote or 2 for a precommit, height (8), round (4), 0 for no block or 1 and
//!   the hash of the block (32);
//! - proposal: genesis (32), height (8), round (4), hash of the block (32), 0 for a new block or 1 and the earlier
//!   round (4).

use std::sync::Arc;

use arc_malachitebft_core_types::{NilOrVal, Round, SignedMessage, VoteType};
use octet_coins::BlockHash;
use octet_node::key::{Domain, PrivateKey, verify};

use super::types::{Bft, ConsensusProposal, ConsensusVote, ValidatorKey, VoteSignature};

/// Signs with one validator's key, and verifies, on one ledger.
#[derive(Debug, Clone)]
pub struct VoteSigner {
    key: Arc<PrivateKey>,
    genesis: BlockHash,
}

impl VoteSigner {
    pub fn new(key: Arc<PrivateKey>, genesis: BlockHash) -> Self {
        Self { key, genesis }
    }

    pub fn public(&self) -> ValidatorKey {
        self.key.public().into()
    }

    pub fn sign_vote(&self, vote: ConsensusVote) -> SignedMessage<Bft, ConsensusVote> {
        let signature = self.key.sign(Domain::Vote, &vote_bytes(&self.genesis, &vote));
        SignedMessage::new(vote, VoteSignature(signature))
    }

    pub fn sign_proposal(
        &self,
        proposal: ConsensusProposal,
    ) -> SignedMessage<Bft, ConsensusProposal> {
        let signature = self.key.sign(Domain::Proposal, &proposal_bytes(&self.genesis, &proposal));
        SignedMessage::new(proposal, VoteSignature(signature))
    }

    pub fn is_vote(&self, vote: &SignedMessage<Bft, ConsensusVote>) -> bool {
        is_vote(&self.genesis, vote)
    }

    pub fn is_proposal(&self, proposal: &SignedMessage<Bft, ConsensusProposal>) -> bool {
        let bytes = proposal_bytes(&self.genesis, &proposal.message);
        verify(&proposal.message.from.into(), Domain::Proposal, &bytes, &proposal.signature.0)
    }

    pub fn genesis(&self) -> &BlockHash {
        &self.genesis
    }
}

/// Whether a vote is by whom it says, on the ledger of `genesis`.
pub fn is_vote(genesis: &BlockHash, vote: &SignedMessage<Bft, ConsensusVote>) -> bool {
    let bytes = vote_bytes(genesis, &vote.message);
    verify(&vote.message.from.into(), Domain::Vote, &bytes, &vote.signature.0)
}

fn vote_bytes(genesis: &BlockHash, vote: &ConsensusVote) -> Vec<u8> {
    let mut out = genesis.0.to_vec();
    out.push(match vote.kind {
        VoteType::Prevote => 1,
        VoteType::Precommit => 2,
    });
    out.extend_from_slice(&vote.height.0.to_be_bytes());
    out.extend_from_slice(&number(vote.round).to_be_bytes());
    match &vote.value {
        NilOrVal::Nil => out.push(0),
        NilOrVal::Val(value) => {
            out.push(1);
            out.extend_from_slice(&value.0);
        }
    }
    out
}

fn proposal_bytes(genesis: &BlockHash, proposal: &ConsensusProposal) -> Vec<u8> {
    let mut out = genesis.0.to_vec();
    out.extend_from_slice(&proposal.height.0.to_be_bytes());
    out.extend_from_slice(&number(proposal.round).to_be_bytes());
    out.extend_from_slice(&proposal.value.0);
    match proposal.valid_round {
        Round::Nil => out.push(0),
        Round::Some(round) => {
            out.push(1);
            out.extend_from_slice(&round.to_be_bytes());
        }
    }
    out
}

/// Messages without a round are dropped before their signatures are looked at (`ConsensusFrame::from_bytes`).
fn number(round: Round) -> u32 {
    round.as_u32().unwrap_or(u32::MAX)
}
