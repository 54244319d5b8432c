//! A node of a ledger, without I/O of its own but that of its store and log: it takes frames, transactions and time, and
//! gives frames.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_malachitebft_core_consensus as bft;
use arc_malachitebft_core_types as malachite;
use bft::{Input, Params, PeerId, State, ValuePayload, process};
use malachite::{
    ExtendedCommitCertificate, ThresholdParams, ValueResponse, VoteExtensionPolicy, VoteExtensions,
};
use octet_coins::{InvalidTransaction, LedgerState, SignedTransaction};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::limits::{RateDecision, RateLimiter};
use redb::StorageBackend;

use super::catch_up::CatchUp;
use super::early::EarlyFrames;
use super::error::ConsensusError;
use super::frame::ConsensusFrame;
use super::host::{ConsensusHost, OutgoingFrame, Recipient};
use super::log_entry::LogEntry;
use super::settings::ConsensusSettings;
use super::signing::VoteSigner;
use super::types::{Bft, BlockHeight, ValidatorKey, Voters};
use crate::log::HeightLog;
use crate::store::BlockStore;

/// The most peers whose frames are counted.
const MAX_PEERS: usize = 256;

/// A node of a ledger: a validator, or, while the ledger does not list its key as one, a follower.
///
/// After an error the process must end. What was not on the disk then has not left the node, and a new process goes on
/// from what is.
pub struct ConsensusNode {
    core: State<Bft>,
    host: ConsensusHost,
    early: EarlyFrames,
    catch_up: CatchUp,
    /// Entries of the log for heights that this process has not begun. Mostly there are some for one height. There may
    /// be some for later ones if the store is older than the log.
    logged: BTreeMap<u64, Vec<LogEntry>>,
    /// The newest height of the log, or when it was emptied. Those before were decided. If the store lost them they are fetched, and not voted
    /// upon again.
    floor: u64,
    settings: ConsensusSettings,
    /// When the newest height was begun here.
    began: Option<Duration>,
    /// Whether another validator has begun the next height.
    is_wanted: bool,
    /// Whether there is something for a block, or something ends at a height.
    has_work: bool,
    /// The height for which `has_work` was found.
    work_height: u64,
    frames: RateLimiter<PublicKey>,
    fetches: RateLimiter<PublicKey>,
    next_status: Duration,
    outgoing: Vec<OutgoingFrame>,
    is_failed: bool,
}

impl ConsensusNode {
    /// Opens a node. `now` is of a monotonic clock that may begin anywhere.
    ///
    /// # Errors
    /// The store or the log cannot be used.
    pub fn open(
        settings: ConsensusSettings,
        key: Arc<PrivateKey>,
        store: impl StorageBackend,
        log: Box<dyn StorageBackend>,
        now: Duration,
    ) -> Result<Self, ConsensusError> {
        let (mut store, state) = BlockStore::open(store, &settings.genesis)?;
        store.keep_blocks(settings.keep_blocks);
        let (log, records) = HeightLog::open(log)?;
        let newest = records.iter().map(|(height, _)| *height).max();
        let floor = newest.unwrap_or(0).max(log.floor());
        let mut logged: BTreeMap<u64, Vec<LogEntry>> = BTreeMap::new();
        for (height, record) in records.into_iter().filter(|(height, _)| *height > state.height()) {
            let entries: Vec<(u64, LogEntry)> =
                borsh::from_slice(&record).map_err(|_| ConsensusError::LogEntry(height))?;
            for (height, entry) in entries {
                logged.entry(height).or_default().push(entry);
            }
        }
        logged.retain(|height, _| *height >= floor);
        let signer = VoteSigner::new(key, settings.genesis.hash());
        let params = Params {
            address: signer.public(),
            threshold_params: ThresholdParams::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        let voters = Voters::new(Arc::new(state.clone()));
        let height = BlockHeight(state.height() + 1);
        // Its queue for later heights is not used.
        let core = State::new(Bft, height, voters, params, 1, 16);
        let timeouts = settings.timeouts.to_malachite();
        let mut node = Self {
            core,
            host: ConsensusHost::new(signer, timeouts, state, store, log, now),
            early: EarlyFrames::default(),
            catch_up: CatchUp::default(),
            logged,
            floor,
            frames: RateLimiter::new(settings.frames, MAX_PEERS),
            fetches: RateLimiter::new(settings.fetches, MAX_PEERS),
            settings,
            began: None,
            is_wanted: false,
            has_work: false,
            work_height: 0,
            next_status: now,
            outgoing: vec![],
            is_failed: false,
        };
        node.find_work();
        if node.logged.contains_key(&height.0) {
            node.begin()?;
        }
        node.go_on(now)?;
        Ok(node)
    }

    /// Takes a frame of the peer with the key `from`. Frames that are too many, damaged or of no use are dropped.
    ///
    /// # Errors
    /// The node failed: the process must end.
    pub fn receive(
        &mut self,
        from: PublicKey,
        frame: &[u8],
        now: Duration,
    ) -> Result<(), ConsensusError> {
        self.enter(now)?;
        if self.frames.check(from, now) == RateDecision::Allowed
            && let Some(frame) = ConsensusFrame::from_bytes(frame)
        {
            self.take(from, frame)?;
        }
        self.go_on(now)
    }

    /// Takes a transaction. Returns whether it is new. Transactions that wait are not on the disk: who submits one
    /// repeats it until a block has it.
    ///
    /// # Errors
    /// The node failed: the process must end.
    pub fn submit(
        &mut self,
        transaction: SignedTransaction,
        now: Duration,
    ) -> Result<Result<bool, InvalidTransaction>, ConsensusError> {
        self.enter(now)?;
        let result = self.admit(transaction);
        self.go_on(now)?;
        Ok(result)
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The node failed: the process must end.
    pub fn tick(&mut self, now: Duration) -> Result<(), ConsensusError> {
        self.enter(now)?;
        while let Some(at) = self.host.timers.iter().position(|(due, _)| *due <= now) {
            let (_, timeout) = self.host.timers.swap_remove(at);
            self.host.inputs.push_back(Input::TimeoutElapsed(timeout));
            self.drive()?;
        }
        if now >= self.next_status {
            self.next_status = now + self.settings.timeouts.status;
            self.host.store.flush()?;
            self.send_status();
        }
        self.go_on(now)
    }

    /// When to call [`tick`](Self::tick) at the latest.
    pub fn deadline(&self) -> Duration {
        let spacing = self.began.map(|began| began + self.settings.genesis.spacing());
        let begins = self.host.is_ended && self.is_validator() && (self.is_wanted || self.has_work);
        let timers = self.host.timers.iter().map(|(due, _)| *due);
        timers.chain(spacing.filter(|_| begins)).fold(self.next_status, Duration::min)
    }

    /// The frames to send.
    pub fn take_frames(&mut self) -> Vec<OutgoingFrame> {
        std::mem::take(&mut self.outgoing)
    }

    /// The state after the newest block.
    pub fn state(&self) -> &Arc<LedgerState> {
        &self.host.state
    }

    pub fn store(&self) -> &BlockStore {
        &self.host.store
    }

    /// How often the log waited for the disk.
    pub fn log_syncs(&self) -> u64 {
        self.host.log.syncs()
    }

    /// Whether a height is begun and not decided.
    pub fn is_deciding(&self) -> bool {
        !self.host.is_ended
    }

    /// When the newest height was begun here.
    pub fn began(&self) -> Option<Duration> {
        self.began
    }

    /// Whether this node votes at the height after the newest block.
    fn is_validator(&self) -> bool {
        let own: PublicKey = self.host.signer.public().into();
        let is_decided = self.host.state.height() + 1 < self.floor;
        !is_decided && self.host.state.validators().iter().any(|one| one.key == own)
    }

    fn enter(&mut self, now: Duration) -> Result<(), ConsensusError> {
        self.host.now = now;
        if self.is_failed { Err(ConsensusError::Ended) } else { Ok(()) }
    }

    /// Gives the state machine all inputs that wait.
    fn drive(&mut self) -> Result<(), ConsensusError> {
        while let Some(input) = self.host.inputs.pop_front() {
            let result: Result<(), bft::Error<Bft>> = process!(
                input: input,
                state: &mut self.core,
                metrics: &(),
                with: effect => self.host.effect(effect)
            );
            if let Err(error) = result {
                let failure = ConsensusError::Library(error.to_string());
                self.host.failure.get_or_insert(failure);
            }
            if self.host.failure.is_some() {
                self.host.inputs.clear();
            }
        }
        if self.host.state.height() != self.work_height {
            self.find_work();
        }
        if self.host.is_ended {
            // Votes of a height that ended would be repeated for ever. Who lacks them fetches the block.
            self.host.timers.clear();
        }
        let state = self.core.driver.round_state();
        let needed = [&state.locked, &state.valid, &state.decision];
        let needed: Vec<_> = needed.into_iter().flatten().map(|value| value.value).collect();
        self.host.candidates.trim(&needed);
        Ok(())
    }

    /// Goes on until only frames or time can bring more, and lets frames go.
    fn go_on(&mut self, now: Duration) -> Result<(), ConsensusError> {
        let before = self.host.state.height();
        let result = self.advance(now).and_then(|()| {
            if self.host.state.height() > before {
                self.send_status();
                self.fetch(None);
            }
            self.host.release()
        });
        match result {
            Ok(frames) => self.outgoing.extend(frames),
            Err(error) => {
                self.is_failed = true;
                self.outgoing.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    fn advance(&mut self, now: Duration) -> Result<(), ConsensusError> {
        loop {
            self.drive()?;
            if self.host.failure.is_some() {
                return Ok(());
            }
            if std::mem::take(&mut self.host.is_fetched_wrong) {
                self.host.fetched.clear();
                self.catch_up.was_wrong(now);
            }
            let next = self.host.state.height() + 1;
            let fetched = &mut self.host.fetched;
            while fetched.front().is_some_and(|(_, certificate)| certificate.height < next) {
                fetched.pop_front();
            }
            let is_fetched = fetched.front().is_some_and(|(_, of)| of.height == next);
            if self.host.is_ended {
                let spacing = self.settings.genesis.spacing();
                let is_due = self.began.is_none_or(|began| now >= began + spacing);
                let is_begun = (self.is_wanted || self.has_work) && is_due && self.is_validator();
                if !is_fetched && !is_begun {
                    return Ok(());
                }
                self.begin()?;
            } else if is_fetched && let Some((block, certificate)) = fetched.pop_front() {
                let certificate = ExtendedCommitCertificate::from_commit_certificate_and_extensions(
                    certificate.to_malachite(),
                    VoteExtensions::default(),
                );
                // The state machine wants a peer of libp2p, and only hands it back.
                let peer =
                    PeerId::from_bytes(&[&[0, 32], &self.host.signer.public().0[..]].concat())
                        .map_err(|error| ConsensusError::Library(error.to_string()))?;
                let response = ValueResponse::new(peer, block.into(), certificate);
                self.host.inputs.push_back(Input::SyncValueResponse(response));
            } else {
                return Ok(());
            }
        }
    }

    /// Begins the next height.
    fn begin(&mut self) -> Result<(), ConsensusError> {
        // What came after the decision would be forgotten.
        let votes = self.core.driver.take_vote_evidence();
        let proposals = self.core.driver.take_proposal_evidence();
        self.host.add_evidence(votes, proposals);
        let height = self.host.state.height() + 1;
        let entries = self.logged.remove(&height);
        self.logged = self.logged.split_off(&height);
        if entries.is_none() && self.logged.is_empty() && self.host.log.is_large() {
            self.host.store.flush()?;
            self.host.log.restart(height)?;
        }
        self.host.is_ended = false;
        self.host.is_validator = self.is_validator();
        self.core.params.enabled = self.host.is_validator;
        self.host.candidates.clear();
        self.began = Some(self.host.now);
        self.is_wanted = false;
        let voters = Voters::new(self.host.state.clone());
        let disabled = VoteExtensionPolicy::Disabled;
        let start = Input::StartHeight(BlockHeight(height), voters, false, None, disabled);
        self.host.inputs.push_back(start);
        match entries {
            Some(entries) => self.replay(height, entries)?,
            None => self.drive()?,
        }
        for frame in self.early.take() {
            self.take_consensus(frame)?;
        }
        Ok(())
    }

    /// Gives the state machine what it saw of this height before the process ended.
    fn replay(&mut self, height: u64, entries: Vec<LogEntry>) -> Result<(), ConsensusError> {
        let mut inputs = vec![];
        for entry in entries {
            if let LogEntry::Block(block) = &entry {
                self.host.candidates.admit(block, &self.host.state, &self.host.pending);
            }
            inputs.extend(entry.into_input());
        }
        // It must know all its votes in the log before it may cast one again.
        let own = self.host.signer.public();
        self.host.replayed = own_votes(&inputs, own);
        self.core.index_wal_entries(&inputs);
        self.host.is_replaying = true;
        self.drive()?;
        for input in inputs {
            if self.host.is_ended {
                break;
            }
            self.host.inputs.push_back(input);
            self.drive()?;
        }
        self.core.reset_entries_index();
        self.host.is_replaying = false;
        self.host.replayed.clear();
        if let Some((asked, round)) = self.host.asked.take()
            && asked.0 == height
            && !self.host.is_ended
        {
            self.host.propose(asked, round);
        }
        self.drive()
    }
}

fn own_votes(inputs: &[Input<Bft>], own: ValidatorKey) -> Vec<malachite::SignedVote<Bft>> {
    let votes = inputs.iter().filter_map(|input| match input {
        Input::Vote(vote) if vote.message.from == own => Some(vote.clone()),
        _ => None,
    });
    votes.collect()
}

mod frames;
