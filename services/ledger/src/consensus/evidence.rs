//! Evidence that a validator contradicted itself.

use arc_malachitebft_core_types::{SignedMessage, SignedProposal, SignedVote, VoteType};
use borsh::BorshSerialize;
use octet_node::bytes::Fields;

use super::frame::encode;
use super::types::{Bft, ConsensusProposal, ConsensusVote, ValidatorKey};

/// What a validator said twice, differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EquivocationKind {
    Prevote = 1,
    Precommit = 2,
    Proposal = 3,
}

/// Two messages of a validator of which an honest one signs at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    pub validator: ValidatorKey,
    pub height: u64,
    pub round: u32,
    pub kind: EquivocationKind,
    /// Both signed messages in Borsh, one after the other.
    pub messages: Vec<u8>,
}

impl Equivocation {
    /// What makes it the same evidence: the validator (32 bytes), height (8), round (4) and kind (1). One pair for
    /// these proves all that more pairs would.
    pub fn id(&self) -> Vec<u8> {
        let mut id = self.validator.0.to_vec();
        id.extend_from_slice(&self.height.to_be_bytes());
        id.extend_from_slice(&self.round.to_be_bytes());
        id.push(self.kind as u8);
        id
    }

    /// Decodes a row of the store.
    pub fn from_row(id: &[u8], messages: &[u8]) -> Option<Self> {
        let mut fields = Fields(id);
        let (validator, height) = (ValidatorKey(fields.array()?), fields.u64()?);
        let round = fields.u32()?;
        let kind = match fields.u8()? {
            1 => EquivocationKind::Prevote,
            2 => EquivocationKind::Precommit,
            3 => EquivocationKind::Proposal,
            _ => return None,
        };
        Some(Self { validator, height, round, kind, messages: messages.to_vec() })
    }

    pub(super) fn of_votes((one, other): &(SignedVote<Bft>, SignedVote<Bft>)) -> Self {
        let ConsensusVote { kind, height, round, from, .. } = &one.message;
        let kind = match kind {
            VoteType::Prevote => EquivocationKind::Prevote,
            VoteType::Precommit => EquivocationKind::Precommit,
        };
        let round = round.as_u32().unwrap_or(0);
        Self { validator: *from, height: height.0, round, kind, messages: pair(one, other) }
    }

    pub(super) fn of_proposals((one, other): &(SignedProposal<Bft>, SignedProposal<Bft>)) -> Self {
        let ConsensusProposal { height, round, from, .. } = &one.message;
        let (kind, round) = (EquivocationKind::Proposal, round.as_u32().unwrap_or(0));
        Self { validator: *from, height: height.0, round, kind, messages: pair(one, other) }
    }
}

fn pair<M: BorshSerialize>(one: &SignedMessage<Bft, M>, other: &SignedMessage<Bft, M>) -> Vec<u8>
where
    SignedMessage<Bft, M>: BorshSerialize,
{
    [encode(one), encode(other)].concat()
}
