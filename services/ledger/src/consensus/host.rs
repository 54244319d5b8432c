//! All that surrounds the state machine: it is lent to the state machine at each step, and answers its effects.
//!
//! No input is given to the state machine within an effect: inputs wait in a queue. Frames wait in the outbox until all
//! inputs are processed; [`ConsensusHost::release`] writes the log before it lets them go.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_malachitebft_core_consensus as bft;
use arc_malachitebft_core_types as malachite;
use bft::{
    ConsensusMsg, Effect, Input, LivenessMsg, LocallyProposedValue, ProposedValue, Resumable,
    Resume, SignedConsensusMsg, VoteExtensionError,
};
use malachite::{
    CommitCertificate, LinearTimeouts, Round, SignedMessage, Timeout, Validity, ValueOrigin,
};
use octet_coins::{LedgerState, PendingTransactions};
use octet_node::control::PublicKey;

use super::candidates::Candidates;
use super::certificate::{BlockCertificate, check_commit, check_round, check_votes};
use super::error::ConsensusError;
use super::evidence::Equivocation;
use super::frame::{ConsensusFrame, encode};
use super::log_entry::LogEntry;
use super::signing::VoteSigner;
use super::types::{Bft, BlockHeight, BlockValue, ValidatorKey};
use crate::log::HeightLog;
use crate::store::BlockStore;

/// To whom a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// All validators and followers.
    Everyone,
    One(PublicKey),
}

/// A frame to send.
pub type OutgoingFrame = (Recipient, Arc<[u8]>);

#[derive(Debug)]
pub(super) struct ConsensusHost {
    pub(super) signer: VoteSigner,
    pub(super) timeouts: LinearTimeouts,
    /// The state after the newest block.
    pub(super) state: Arc<LedgerState>,
    pub(super) pending: PendingTransactions,
    pub(super) store: BlockStore,
    pub(super) log: HeightLog,
    /// What goes into the log before the next vote leaves, with its heights.
    batch: Vec<(u64, LogEntry)>,
    pub(super) candidates: Candidates,
    pub(super) inputs: VecDeque<Input<Bft>>,
    pub(super) timers: Vec<(Duration, Timeout)>,
    pub(super) now: Duration,
    /// Whether this node votes at the height at hand. Others only follow, and log nothing.
    pub(super) is_validator: bool,
    pub(super) is_replaying: bool,
    /// The own votes of the log that is being replayed.
    pub(super) replayed: Vec<malachite::SignedVote<Bft>>,
    /// The state machine asked for a block while the log was being replayed.
    pub(super) asked: Option<(BlockHeight, Round)>,
    /// Whether the newest height is decided and the next one is not begun.
    pub(super) is_ended: bool,
    /// Decided blocks of another node that wait for their turn.
    pub(super) fetched: VecDeque<(Vec<u8>, BlockCertificate)>,
    /// Whether a fetched block or its certificate was wrong.
    pub(super) is_fetched_wrong: bool,
    outbox: Vec<OutgoingFrame>,
    /// Whether a frame in the outbox follows from the log.
    waits_for_log: bool,
    pub(super) failure: Option<ConsensusError>,
}

impl ConsensusHost {
    pub(super) fn new(
        signer: VoteSigner,
        timeouts: LinearTimeouts,
        state: LedgerState,
        store: BlockStore,
        log: HeightLog,
        now: Duration,
    ) -> Self {
        Self {
            signer,
            timeouts,
            state: Arc::new(state),
            pending: PendingTransactions::default(),
            store,
            log,
            batch: vec![],
            candidates: Candidates::default(),
            inputs: VecDeque::new(),
            timers: vec![],
            now,
            is_validator: false,
            is_replaying: false,
            replayed: vec![],
            asked: None,
            is_ended: true,
            fetched: VecDeque::new(),
            is_fetched_wrong: false,
            outbox: vec![],
            waits_for_log: false,
            failure: None,
        }
    }

    /// Every effect is answered with the `resume_with` that it brings. After an error the state machine would go on and
    /// publish what is not logged, so failures are kept until [`release`](Self::release).
    pub(super) fn effect(&mut self, effect: Effect<Bft>) -> Result<Resume<Bft>, Infallible> {
        let genesis = *self.signer.genesis();
        Ok(match effect {
            Effect::CancelAllTimeouts(r) => {
                self.timers.clear();
                r.resume_with(())
            }
            Effect::CancelTimeout(timeout, r) => {
                self.timers.retain(|(_, other)| *other != timeout);
                r.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, r) => {
                self.timers.retain(|(_, other)| *other != timeout);
                if timeout.round.is_defined() {
                    self.timers.push((self.now + self.timeouts.duration_for(timeout), timeout));
                }
                r.resume_with(())
            }
            Effect::StartRound(.., r) => r.resume_with(()),
            Effect::PublishConsensusMsg(message, r) => {
                self.publish(message);
                r.resume_with(())
            }
            Effect::PublishLivenessMsg(message, r) => {
                self.publish_frame(&match message {
                    LivenessMsg::Vote(vote) => ConsensusFrame::Vote(vote),
                    LivenessMsg::PolkaCertificate(polka) => ConsensusFrame::Polka(polka),
                    LivenessMsg::SkipRoundCertificate(round) => ConsensusFrame::Round(round),
                });
                r.resume_with(())
            }
            Effect::RepublishVote(vote, r) => {
                self.publish_frame(&ConsensusFrame::Vote(vote));
                r.resume_with(())
            }
            Effect::RepublishRoundCertificate(certificate, r) => {
                self.publish_frame(&ConsensusFrame::Round(certificate));
                r.resume_with(())
            }
            // A proposal of the same block follows, and brings it.
            Effect::RestreamProposal(.., r) => r.resume_with(()),
            Effect::GetValue(height, round, _, r) => {
                match self.is_replaying {
                    true => self.asked = Some((height, round)),
                    false => self.propose(height, round),
                }
                r.resume_with(())
            }
            Effect::Decide(certificate, _, r) => {
                self.decide(&certificate);
                r.resume_with(())
            }
            Effect::Finalize(_, _, evidence, r) => {
                self.add_evidence(evidence.votes, evidence.proposals);
                r.resume_with(())
            }
            Effect::SignVote(vote, r) => r.resume_with(self.signer.sign_vote(vote)),
            Effect::SignProposal(proposal, r) => r.resume_with(self.signer.sign_proposal(proposal)),
            Effect::VerifySignature(message, _, r) => {
                let signature = message.signature;
                r.resume_with(match message.message {
                    ConsensusMsg::Vote(vote) => {
                        self.signer.is_vote(&SignedMessage::new(vote, signature))
                    }
                    ConsensusMsg::Proposal(proposal) => {
                        self.signer.is_proposal(&SignedMessage::new(proposal, signature))
                    }
                })
            }
            Effect::VerifyCommitCertificate(certificate, voters, _, r) => {
                r.resume_with(check_commit(&genesis, &certificate, &voters).map_err(|error| *error))
            }
            Effect::VerifyExtendedCommitCertificate(certificate, voters, _, _, r) => {
                let certificate = certificate.trim_vote_extensions();
                r.resume_with(check_commit(&genesis, &certificate, &voters).map_err(|error| *error))
            }
            Effect::VerifyPolkaCertificate(certificate, voters, least, r) => {
                let votes = certificate.votes(&Bft);
                let result = check_votes(&genesis, votes, &voters, least.quorum);
                r.resume_with(result.map_err(|error| *error))
            }
            Effect::VerifyRoundCertificate(certificate, voters, _, r) => {
                r.resume_with(check_round(&genesis, &certificate, &voters).map_err(|error| *error))
            }
            Effect::WalAppend(height, input, r) => {
                self.append(height, input);
                r.resume_with(())
            }
            Effect::ExtendVote(.., r) => r.resume_with(None),
            Effect::VerifyVoteExtension(.., r) => {
                r.resume_with(Err(VoteExtensionError::InvalidVoteExtension))
            }
            Effect::CertVerifiedSyncValue(value, proposer, r) => {
                let block = self.candidates.admit(&value.value_bytes, &self.state, &self.pending);
                match block.filter(|block| *block == value.certificate.value_id) {
                    Some(block) => {
                        let round = value.certificate.round;
                        self.judge(block, round, proposer, ValueOrigin::Sync);
                    }
                    None => self.is_fetched_wrong = true,
                }
                r.resume_with(())
            }
            Effect::CertRejectedSyncValue(.., r) => {
                self.is_fetched_wrong = true;
                r.resume_with(())
            }
        })
    }

    /// Notes an input that must be replayed after a crash.
    fn append(&mut self, height: BlockHeight, input: Input<Bft>) {
        if !self.is_validator {
            return;
        }
        let own = self.signer.public();
        if self.is_replaying {
            // All is in the log already. A vote that is not must not leave before it is.
            let Input::Vote(vote) = input else { return };
            if vote.message.from == own && !self.replayed.contains(&vote) {
                self.batch.push((height.0, LogEntry::Vote(vote)));
            }
            return;
        }
        // What is new and genuine comes here once. Others may have been sent something else, and learn of it so.
        match &input {
            Input::Vote(vote) if vote.message.from != own => {
                self.send(Recipient::Everyone, &ConsensusFrame::Vote(vote.clone()));
            }
            Input::Proposal(proposal) if proposal.message.from != own => {
                if let Some(block) = self.candidates.get(&proposal.message.value) {
                    let frame = ConsensusFrame::Proposal(proposal.clone(), block.bytes.clone());
                    self.send(Recipient::Everyone, &frame);
                }
            }
            _ => {}
        }
        // After the decision an own vote may still come: the state machine's effects come inside out.
        let is_own = matches!(&input, Input::Vote(vote) if vote.message.from == own);
        if height.0 <= self.state.height() && !is_own {
            return;
        }
        if let Input::ProposedValue(value, _) = &input
            && let Some(block) = self.candidates.get(&value.value)
        {
            self.batch.push((height.0, LogEntry::Block(block.bytes.clone())));
        }
        self.batch.extend(LogEntry::of(input).map(|entry| (height.0, entry)));
    }

    fn publish(&mut self, message: SignedConsensusMsg<Bft>) {
        let frame = match message {
            SignedConsensusMsg::Vote(vote) => ConsensusFrame::Vote(vote),
            SignedConsensusMsg::Proposal(proposal) => {
                let Some(block) = self.candidates.get(&proposal.message.value) else { return };
                let block = block.bytes.clone();
                ConsensusFrame::Proposal(proposal, block)
            }
        };
        self.publish_frame(&frame);
    }

    /// Sends what follows from the log.
    fn publish_frame(&mut self, frame: &ConsensusFrame) {
        self.waits_for_log = true;
        self.send(Recipient::Everyone, frame);
    }

    pub(super) fn send(&mut self, to: Recipient, frame: &ConsensusFrame) {
        self.outbox.push((to, frame.to_bytes().into()));
    }

    /// Lets frames go, once all from which they follow is on the disk.
    ///
    /// # Errors
    /// The disk fails, or the state machine did. No frame goes then, and the process must end.
    pub(super) fn release(&mut self) -> Result<Vec<OutgoingFrame>, ConsensusError> {
        let outbox = std::mem::take(&mut self.outbox);
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if std::mem::take(&mut self.waits_for_log) {
            if let Some((height, _)) = self.batch.last() {
                self.log.append(*height, &encode(&self.batch))?;
                self.batch.clear();
            }
        } else {
            let decided = self.state.height();
            self.batch.retain(|(height, _)| *height > decided);
        }
        Ok(outbox)
    }

    pub(super) fn propose(&mut self, height: BlockHeight, round: Round) {
        let block = self.pending.block(&self.state, round.as_u32().unwrap_or(0));
        if let Some(value) = self.candidates.admit(&block.to_bytes(), &self.state, &self.pending) {
            self.inputs.push_back(Input::Propose(LocallyProposedValue::new(height, round, value)));
        }
    }

    /// Tells the state machine whether a block is valid.
    pub(super) fn judge(
        &mut self,
        value: BlockValue,
        round: Round,
        proposer: ValidatorKey,
        origin: ValueOrigin,
    ) {
        let height = BlockHeight(self.state.height() + 1);
        let is_valid = self.candidates.get(&value).is_some_and(|block| block.next.is_some());
        if origin.is_sync() && !is_valid {
            // Two thirds say that it is: this node's rules or its state are others.
            self.failure.get_or_insert(ConsensusError::Diverged(height.0));
        }
        let validity = Validity::from_bool(is_valid);
        let valid_round = Round::Nil;
        let value = ProposedValue { height, round, valid_round, proposer, value, validity };
        self.inputs.push_back(Input::ProposedValue(value, origin));
    }

    fn decide(&mut self, certificate: &CommitCertificate<Bft>) {
        let block = self.candidates.get(&certificate.value_id);
        let decided = block.and_then(|block| Some((block, block.next.clone()?)));
        let Some((block, next)) = decided else {
            self.failure.get_or_insert(ConsensusError::Diverged(certificate.height.0));
            return;
        };
        let certificate = BlockCertificate::from_malachite(certificate);
        let is_durable = self.fetched.is_empty();
        let result =
            self.store.insert(certificate.height, &block.bytes, &certificate, &next, is_durable);
        if let Err(error) = result {
            self.failure.get_or_insert(error.into());
        }
        self.state = next;
        self.pending.prune(&self.state);
        self.is_ended = true;
    }

    pub(super) fn add_evidence<V, P>(&mut self, votes: V, proposals: P)
    where
        V: IntoIterator<Item = (ValidatorKey, Vec<VotePair>)>,
        P: IntoIterator<Item = (ValidatorKey, Vec<ProposalPair>)>,
    {
        let votes = votes.into_iter().flat_map(|(_, pairs)| pairs);
        let proposals = proposals.into_iter().flat_map(|(_, pairs)| pairs);
        let mut evidence: Vec<_> = votes.map(|pair| Equivocation::of_votes(&pair)).collect();
        evidence.extend(proposals.map(|pair| Equivocation::of_proposals(&pair)));
        if let Err(error) = self.store.add_evidence(&evidence) {
            self.failure.get_or_insert(error.into());
        }
    }
}

type VotePair = (malachite::SignedVote<Bft>, malachite::SignedVote<Bft>);
type ProposalPair = (malachite::SignedProposal<Bft>, malachite::SignedProposal<Bft>);
