//! Agreement on blocks among validators of which less than a third may lie (Tendermint, by the state machine of
//! Malachite).
//!
//! [`ConsensusNode`] is driven from outside: it has no clock, socket or thread.

mod candidates;
mod catch_up;
mod certificate;
mod early;
mod error;
mod evidence;
mod frame;
mod host;
mod log_entry;
mod node;
mod settings;
mod signing;
mod types;

pub use certificate::BlockCertificate;
pub use error::ConsensusError;
pub use evidence::{Equivocation, EquivocationKind};
pub use frame::{ConsensusFrame, MAX_ANSWER, MAX_FRAME};
pub use host::{OutgoingFrame, Recipient};
pub use node::ConsensusNode;
pub use settings::{ConsensusSettings, ConsensusTimeouts};
pub use signing::{VoteSigner, is_vote};
pub use types::{
    Bft, BlockHeight, BlockValue, ConsensusProposal, ConsensusVote, Ed25519Votes, ValidatorKey,
    VoteSignature, Voter, Voters,
};
