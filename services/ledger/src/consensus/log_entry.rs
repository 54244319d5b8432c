//! What the state machine must have seen again after a crash, before it may vote.

use arc_malachitebft_core_consensus::{Input, ProposedValue};
use arc_malachitebft_core_types::{
    PolkaCertificate, Round, SignedProposal, SignedVote, Timeout, TimeoutKind, ValueOrigin,
};
use borsh::{BorshDeserialize, BorshSerialize};

use super::types::Bft;

/// An entry of a record of the log. A record is a Borsh vector of heights with entries.
#[derive(Debug, Clone, BorshSerialize, BorshDeserialize)]
pub(super) enum LogEntry {
    Vote(SignedVote<Bft>),
    Proposal(SignedProposal<Bft>),
    Value(ProposedValue<Bft>),
    Polka(PolkaCertificate<Bft>),
    /// 0 for the time-out of the propose step, 1 of the prevote step, 2 of the precommit step.
    Timeout(u8, Round),
    /// A block, before the first value that names it.
    Block(Vec<u8>),
}

impl LogEntry {
    /// The entry of an input for which the state machine asks. Others are not replayed.
    pub(super) fn of(input: Input<Bft>) -> Option<Self> {
        Some(match input {
            Input::Vote(vote) => Self::Vote(vote),
            Input::Proposal(proposal) => Self::Proposal(proposal),
            Input::ProposedValue(value, _) => Self::Value(value),
            Input::PolkaCertificate(certificate) => Self::Polka(certificate),
            Input::TimeoutElapsed(Timeout { kind, round }) => match kind {
                TimeoutKind::Propose => Self::Timeout(0, round),
                TimeoutKind::Prevote => Self::Timeout(1, round),
                TimeoutKind::Precommit => Self::Timeout(2, round),
                TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
            },
            _ => return None,
        })
    }

    /// The input of an entry; `None` for a block.
    pub(super) fn into_input(self) -> Option<Input<Bft>> {
        Some(match self {
            Self::Vote(vote) => Input::Vote(vote),
            Self::Proposal(proposal) => Input::Proposal(proposal),
            Self::Value(value) => Input::ProposedValue(value, ValueOrigin::Consensus),
            Self::Polka(certificate) => Input::PolkaCertificate(certificate),
            Self::Timeout(0, round) => Input::TimeoutElapsed(Timeout::propose(round)),
            Self::Timeout(1, round) => Input::TimeoutElapsed(Timeout::prevote(round)),
            Self::Timeout(_, round) => Input::TimeoutElapsed(Timeout::precommit(round)),
            Self::Block(_) => return None,
        })
    }
}
