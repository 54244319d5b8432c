//! What nodes of a ledger send to each other.

use arc_malachitebft_core_types::{PolkaCertificate, RoundCertificate, SignedProposal, SignedVote};
use borsh::{BorshDeserialize, BorshSerialize};

use super::types::Bft;

/// The maximum size of a frame in bytes.
pub const MAX_FRAME: usize = 1 << 20;

/// The maximum size of an answer to [`Fetch`](ConsensusFrame::Fetch) in bytes, unless its first block alone is larger.
pub const MAX_ANSWER: usize = 256 << 10;

/// The size of the smallest block with its certificate in [`Decided`](ConsensusFrame::Decided), in bytes.
const MIN_DECIDED: usize = 4 + 80 + 4 + 46;

/// A frame. Its encoding is Borsh.
#[derive(Debug, Clone, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum ConsensusFrame {
    Vote(SignedVote<Bft>),
    /// A proposal and its block. The state machine knows the block by its hash only.
    Proposal(SignedProposal<Bft>, Vec<u8>),
    /// Two thirds prevoted for a block.
    Polka(PolkaCertificate<Bft>),
    /// A round may be entered.
    Round(RoundCertificate<Bft>),
    /// A transaction that waits for a block.
    Transaction(Vec<u8>),
    /// The height of the sender's newest block.
    Status(u64),
    /// Asks for blocks from this height on.
    Fetch(u64),
    /// Blocks in order, each with its [`BlockCertificate`](super::BlockCertificate).
    Decided(Vec<(Vec<u8>, Vec<u8>)>),
}

impl ConsensusFrame {
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes a frame. What it returns has a round wherever the state machine takes one for granted.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_FRAME {
            return None;
        }
        if let [7, count @ ..] = bytes {
            // Empty ones would take many times as much memory as they are long.
            let count = u32::from_le_bytes(*count.first_chunk()?) as usize;
            if count > bytes.len() / MIN_DECIDED {
                return None;
            }
        }
        let frame: Self = borsh::from_slice(bytes).ok()?;
        let round = match &frame {
            Self::Vote(vote) => vote.message.round,
            Self::Proposal(proposal, _) => proposal.message.round,
            Self::Polka(certificate) => certificate.round,
            Self::Round(certificate) => certificate.round,
            _ => return Some(frame),
        };
        round.is_defined().then_some(frame)
    }
}

/// Encodes into memory, where Borsh fails only for lengths of more than 32 bits.
pub(crate) fn encode(what: &impl BorshSerialize) -> Vec<u8> {
    borsh::to_vec(what).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_has_a_maximum_size() {
        let frame = |bytes: usize| ConsensusFrame::Transaction(vec![7; bytes]);
        let largest = frame(MAX_FRAME - 5);
        assert_eq!(ConsensusFrame::from_bytes(&largest.to_bytes()), Some(largest));
        assert_eq!(ConsensusFrame::from_bytes(&frame(MAX_FRAME - 4).to_bytes()), None);
    }

    #[test]
    fn blocks_in_a_frame_have_a_minimum_size() {
        let frame = |certificate: usize| {
            let pair = (vec![1; 80], vec![2; certificate]);
            ConsensusFrame::Decided(vec![pair.clone(), pair]).to_bytes()
        };
        assert!(ConsensusFrame::from_bytes(&frame(46)).is_some());
        assert!(ConsensusFrame::from_bytes(&frame(40)).is_none());
        let empty = ConsensusFrame::Decided(vec![]);
        assert_eq!(ConsensusFrame::from_bytes(&empty.to_bytes()), Some(empty));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(kind in 0u8..9, mut bytes: Vec<u8>) {
            bytes.insert(0, kind);
            if let Some(frame) = ConsensusFrame::from_bytes(&bytes) {
                prop_assert_eq!(frame.to_bytes(), bytes);
            }
        }

        #[test]
        fn a_length_is_no_promise(kind in 4u8..9, length: u32, rest in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = [&[kind][..], &length.to_le_bytes(), &rest].concat();
            if let Some(frame) = ConsensusFrame::from_bytes(&bytes) {
                prop_assert_eq!(frame.to_bytes(), bytes);
            }
        }
    }
}
