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
