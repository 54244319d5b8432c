//! What a node does with a frame.

use octet_coins::{InvalidTransaction, SignedTransaction};
use octet_node::control::PublicKey;
use octet_node::limits::RateDecision;

use super::{ConsensusError, ConsensusFrame, ConsensusNode, Input, Recipient, ValidatorKey};
use crate::consensus::frame::MAX_ANSWER;
use crate::consensus::types::{Bft, BlockHeight};
use arc_malachitebft_core_types::{SignedVote, ValueOrigin};

/// For which height a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeightOf {
    /// The one at hand, or the one that ended, of which evidence may come late.
    Newest,
    Next,
    /// Not needed: who is far behind fetches blocks.
    Other,
}

impl ConsensusNode {
    pub(super) fn take(
        &mut self,
        from: PublicKey,
        frame: ConsensusFrame,
    ) -> Result<(), ConsensusError> {
        let now = self.host.now;
        let height = self.host.state.height();
        match frame {
            ConsensusFrame::Transaction(bytes) => {
                if let Some(transaction) = SignedTransaction::from_bytes(&bytes) {
                    // Whoever sent an invalid one may have another newest block.
                    let _ = self.admit(transaction);
                }
            }
            ConsensusFrame::Status(theirs) => {
                self.catch_up.note_height(from, theirs);
                self.fetch(Some(from));
            }
            ConsensusFrame::Fetch(first) => {
                if self.fetches.check(from, now) == RateDecision::Allowed {
                    self.answer(from, first)?;
                }
            }
            ConsensusFrame::Decided(blocks) => {
                let is_expected = self.host.fetched.is_empty();
                let blocks = self.catch_up.answer(from, blocks, height, now);
                if let Some(blocks) = blocks.filter(|_| is_expected) {
                    self.host.fetched.extend(blocks);
                }
            }
            frame => self.take_consensus(frame)?,
        }
        Ok(())
    }

    /// A vote with this node's key, which it has already: others pass it on. If it has not signed it, another unit has
    /// its key; that vote is not logged, because replay would take it for one of its own.
    fn take_own_vote(&self, vote: &SignedVote<Bft>) -> Result<(), ConsensusError> {
        let of = &vote.message;
        let is_other = of.height == self.core.height()
            && self.core.driver.votes().conflicting_vote(vote).is_some()
            && self.host.signer.is_vote(vote);
        if is_other { Err(ConsensusError::KeyElsewhere(of.height.0)) } else { Ok(()) }
    }

    pub(super) fn take_consensus(&mut self, frame: ConsensusFrame) -> Result<(), ConsensusError> {
        if !self.is_validator() {
            return Ok(());
        }
        match frame {
            ConsensusFrame::Vote(vote) => {
                let of = &vote.message;
                let is_at_hand = of.height == self.core.height();
                if of.from == self.host.signer.public() {
                    return self.take_own_vote(&vote);
                }
                // The state machine would verify and log the same contradiction each time it is repeated.
                let is_repeated = self.core.driver.votes().conflicting_vote(&vote).is_some()
                    && !self.core.can_record_equivocation(&vote);
                if is_at_hand && is_repeated {
                    return Ok(());
                }
                match self.height_of(of.height) {
                    HeightOf::Newest => self.host.inputs.push_back(Input::Vote(vote)),
                    HeightOf::Next if self.lists(&of.from) && self.host.signer.is_vote(&vote) => {
                        self.keep(of.from, ConsensusFrame::Vote(vote));
                    }
                    _ => {}
                }
            }
            ConsensusFrame::Proposal(proposal, block) => {
                let of = &proposal.message;
                let place = self.height_of(of.height);
                // The node has its own proposals.
                if of.from == self.host.signer.public()
                    || place == HeightOf::Other
                    || !self.lists(&of.from)
                    || !self.host.signer.is_proposal(&proposal)
                {
                    return Ok(());
                }
                if place == HeightOf::Next {
                    self.keep(of.from, ConsensusFrame::Proposal(proposal, block));
                    return Ok(());
                }
                let is_turn = of.height == self.core.height()
                    && *self.core.get_proposer(of.height, of.round) == of.from;
                let is_soon = of.round.as_i64() <= self.core.round().as_i64() + 2;
                let is_new = self.host.candidates.is_new(of);
                if self.host.is_ended || !is_turn || !is_soon || !is_new {
                    return Ok(());
                }
                let value =
                    self.host.candidates.admit(&block, &self.host.state, &self.host.pending);
                if value != Some(of.value) {
                    return Ok(());
                }
                let first = self.host.candidates.get(&of.value).map(|block| block.round);
                // The block says whose turns were missed, so its round must be the one in which it was made.
                if of.valid_round.is_nil() && first != of.round.as_u32() {
                    return Ok(());
                }
                self.host.candidates.note(of.clone());
                self.host.judge(of.value, of.round, of.from, ValueOrigin::Consensus);
                self.host.inputs.push_back(Input::Proposal(proposal));
            }
            ConsensusFrame::Polka(certificate) if self.is_deciding() => {
                self.host.inputs.push_back(Input::PolkaCertificate(certificate));
            }
            ConsensusFrame::Round(certificate) if self.is_deciding() => {
                self.host.inputs.push_back(Input::RoundCertificate(certificate));
            }
            _ => {}
        }
        self.drive()
    }

    fn height_of(&self, height: BlockHeight) -> HeightOf {
        let newest = self.host.state.height() + u64::from(!self.host.is_ended);
        match height.0.checked_sub(newest) {
            Some(0) => HeightOf::Newest,
            Some(1) => HeightOf::Next,
            _ => HeightOf::Other,
        }
    }

    fn lists(&self, key: &ValidatorKey) -> bool {
        let key: PublicKey = (*key).into();
        self.host.state.validators().iter().any(|one| one.key == key)
    }

    /// Keeps a message of the next height. Its sender has begun it.
    fn keep(&mut self, from: ValidatorKey, frame: ConsensusFrame) {
        self.is_wanted |= self.host.is_ended;
        self.early.keep(from, frame);
    }

    pub(super) fn admit(
        &mut self,
        transaction: SignedTransaction,
    ) -> Result<bool, InvalidTransaction> {
        let bytes = transaction.to_bytes();
        let is_new = self.host.pending.admit(transaction, &self.host.state)?;
        if is_new {
            self.host.send(Recipient::Everyone, &ConsensusFrame::Transaction(bytes));
            self.find_work();
        }
        Ok(is_new)
    }

    pub(super) fn find_work(&mut self) {
        let state = &self.host.state;
        self.work_height = state.height();
        self.has_work = state.is_counting() || !self.host.pending.is_empty();
    }

    pub(super) fn send_status(&mut self) {
        let status = ConsensusFrame::Status(self.host.state.height());
        self.host.send(Recipient::Everyone, &status);
    }

    /// Asks for blocks, if others have them and this node does not come to decide them itself.
    pub(super) fn fetch(&mut self, preferred: Option<PublicKey>) {
        let (now, height) = (self.host.now, self.host.state.height());
        let stalls = self.began.is_none_or(|began| now >= began + self.settings.timeouts.vote);
        let is_late = !self.is_validator() || stalls;
        if !self.host.fetched.is_empty() {
            return;
        }
        let beyond = if is_late { height } else { height + 1 };
        if let Some(peer) = self.catch_up.ask(preferred, beyond, now) {
            self.host.send(Recipient::One(peer), &ConsensusFrame::Fetch(height + 1));
        }
    }

    fn answer(&mut self, to: PublicKey, first: u64) -> Result<(), ConsensusError> {
        let (mut blocks, mut size) = (vec![], 0);
        for height in first..=self.host.state.height() {
            let Some((block, certificate)) = self.host.store.block(height)? else { break };
            size += block.len() + certificate.len() + 8;
            if size > MAX_ANSWER && !blocks.is_empty() {
                break;
            }
            blocks.push((block, certificate));
        }
        self.host.send(Recipient::One(to), &ConsensusFrame::Decided(blocks));
        Ok(())
    }
}
