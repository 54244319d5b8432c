//! Messages of the height after the one at hand. They wait here, a few of each validator: the state machine would keep
//! them unverified, in places that one validator could fill for all.

use std::collections::BTreeMap;

use super::frame::ConsensusFrame;
use super::types::ValidatorKey;

/// How many votes of a validator wait: the prevote and the precommit of some rounds.
const MAX_VOTES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct EarlyFrames(BTreeMap<ValidatorKey, EarlyOfOne>);

#[derive(Debug, Default)]
struct EarlyOfOne {
    votes: Vec<ConsensusFrame>,
    proposal: Option<ConsensusFrame>,
}

impl EarlyFrames {
    /// Keeps a verified frame of `validator`, if there is room for it.
    pub(super) fn keep(&mut self, validator: ValidatorKey, frame: ConsensusFrame) {
        let own = self.0.entry(validator).or_default();
        match frame {
            ConsensusFrame::Proposal(..) => {
                own.proposal.get_or_insert(frame);
            }
            frame if own.votes.len() < MAX_VOTES && !own.votes.contains(&frame) => {
                own.votes.push(frame);
            }
            _ => {}
        }
    }

    /// All frames, proposals first.
    pub(super) fn take(&mut self) -> Vec<ConsensusFrame> {
        let (mut frames, mut votes) = (vec![], vec![]);
        for (_, own) in std::mem::take(&mut self.0) {
            frames.extend(own.proposal);
            votes.extend(own.votes);
        }
        frames.append(&mut votes);
        frames
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arc_malachitebft_core_types::{NilOrVal, Round, VoteType};
    use octet_coins::BlockHash;
    use octet_node::key::PrivateKey;

    use super::super::signing::VoteSigner;
    use super::super::types::{BlockHeight, ConsensusVote};
    use super::*;

    #[test]
    fn one_validator_leaves_room_for_others() {
        let vote = |of: u8, round: u32| {
            let key = Arc::new(PrivateKey::from_seed([of; 32]).unwrap());
            let signer = VoteSigner::new(key, BlockHash([0; 32]));
            let from = signer.public();
            let (kind, height) = (VoteType::Prevote, BlockHeight(1));
            let (round, value) = (Round::new(round), NilOrVal::Nil);
            let vote = signer.sign_vote(ConsensusVote { kind, height, round, value, from });
            (from, ConsensusFrame::Vote(vote))
        };
        let mut early = EarlyFrames::default();
        for round in 0..100 {
            let (from, frame) = vote(1, round);
            early.keep(from, frame.clone());
            early.keep(from, frame);
        }
        let (other, frame) = vote(2, 0);
        early.keep(other, frame.clone());
        let frames = early.take();
        assert_eq!(frames.len(), MAX_VOTES + 1);
        assert!(frames.contains(&frame) && frames.contains(&vote(1, 7).1));
        assert!(early.take().is_empty());
    }
}
