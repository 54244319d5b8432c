//! `[[keep]]`: objects of which several boards of this box have a copy, and make a new one when a board is gone.
//!
//! Each board asks all others once a minute what they have ([`message`]), decides what it is to have ([`view`]), and
//! fetches that. Nothing is pushed, and no board decides for another one.

mod message;
mod state;
mod view;

pub use message::{ALPN, KeepAnswer, KeepRequest, KeptState, MAX_OBJECTS};
pub use state::{Keep, KeepCondition, KeepRow, KeptObject};
pub use view::{KeepMember, KeepStep, KeepTimes, KeepView, KeptCopies};

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use iroh::Endpoint;
use iroh::endpoint::Connection;
use iroh_blobs::Hash;
use octet_appliance::KeepSection;
use octet_node::control::PublicKey;
use octet_node::say;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::fetch::{Fetcher, Missing};
use crate::limits::CacheLimits;
use crate::names::{NameCache, ResolveOrigin};
use crate::objects::{ObjectError, Objects};
use crate::peers::PeerNode;
use crate::policy::PinnedBy;
use state::KeeperState;

/// The number of nodes that are asked at the same time.
const ASKED_AT_ONCE: usize = 4;

/// The number of names that are looked up between two questions: each may be asked for at all nodes.
const NAMES_AT_ONCE: usize = 16;

/// The error code of a connection from a node that is not in the map; any number serves.
const NO_MEMBER: u32 = 1;

/// Keeps objects on this board.
#[derive(Debug)]
pub struct ObjectKeeper {
    objects: Arc<Objects>,
    fetcher: Arc<Fetcher>,
    names: Arc<NameCache>,
    endpoint: watch::Receiver<Option<Endpoint>>,
    peers: watch::Receiver<Vec<PeerNode>>,
    limits: CacheLimits,
    /// The moment from which the view counts.
    start: Instant,
    state: Mutex<KeeperState>,
    /// The settings have changed.
    changed: Notify,
    /// What is to be fetched, the most urgent first.
    fetches: watch::Sender<Vec<Hash>>,
    answering: Semaphore,
}

impl ObjectKeeper {
    pub fn new(
        objects: Arc<Objects>,
        fetcher: Arc<Fetcher>,
        names: Arc<NameCache>,
        endpoint: watch::Receiver<Option<Endpoint>>,
        peers: watch::Receiver<Vec<PeerNode>>,
        limits: CacheLimits,
    ) -> Arc<Self> {
        Arc::new(Self {
            objects,
            fetcher,
            names,
            endpoint,
            peers,
            limits,
            start: Instant::now(),
            state: Mutex::default(),
            changed: Notify::new(),
            fetches: watch::Sender::default(),
            answering: Semaphore::new(limits.peers),
        })
    }

    fn state(&self) -> MutexGuard<'_, KeeperState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes over the settings.
    pub fn set(&self, sections: &[KeepSection]) {
        let keeps: Vec<Keep> = sections.iter().filter_map(Keep::from_section).collect();
        let mut state = self.state();
        state.keeps = Some(keeps);
        state.forget_names();
        drop(state);
        self.changed.notify_one();
    }

    /// Whether a `[[keep]]` means this object.
    pub fn is_kept(&self, hash: &Hash) -> bool {
        self.state().kept().iter().any(|(kept, _)| kept == hash)
    }

    /// Where each object is, in the order of the settings.
    pub fn rows(&self) -> Vec<KeepRow> {
        let (state, now) = (self.state(), self.now());
        let row = |keep: &Keep| {
            let hash = state.hash(keep);
            let copies = match (hash, &state.view) {
                (Some(hash), Some(view)) => {
                    view.copies(&hash, keep.copies, self.own_copy(&state, &hash), now)
                }
                _ => KeptCopies::default(),
            };
            let condition = match (copies.kept.len(), copies.loose.len()) {
                (0, 0) => KeepCondition::Missing,
                (kept, _) if kept < usize::from(keep.copies) => KeepCondition::AtRisk,
                _ => KeepCondition::Kept,
            };
            KeepRow { keep: keep.clone(), hash, condition, copies }
        };
        state.keeps.iter().flatten().map(row).collect()
    }

    fn own_copy(&self, state: &KeeperState, hash: &Hash) -> KeptState {
        let policy = self.objects.policy();
        if policy.size(hash).is_none() {
            return state.postponed(hash).unwrap_or(KeptState::Absent);
        }
        if policy.is_kept(hash) { KeptState::Kept } else { KeptState::Loose }
    }

    /// Asks and repairs, forever.
    pub async fn run(self: Arc<Self>) -> Infallible {
        tokio::join!(self.look_again(), self.repair()).0
    }

    async fn look_again(&self) -> Infallible {
        let (mut peers, mut endpoint) = (self.peers.clone(), self.endpoint.clone());
        loop {
            peers.mark_unchanged();
            endpoint.mark_unchanged();
            self.look().await;
            tokio::select! {
                () = sleep(self.limits.keep_pause) => {}
                () = self.changed.notified() => {}
                Ok(()) = peers.changed() => {}
                Ok(()) = endpoint.changed() => {}
            }
        }
    }

    /// Asks all nodes, and does what follows from their answers.
    async fn look(&self) {
        let Some(endpoint) = self.endpoint.borrow().clone() else { return };
        if !self.update_members(&endpoint) || self.state().keeps.is_none() {
            return;
        }
        self.resolve().await;
        let kept: Vec<Hash> = self.state().kept().into_iter().map(|(hash, _)| hash).collect();
        if !kept.is_empty() {
            let asked =
                self.fetcher.peers().into_iter().map(|peer| self.ask(&endpoint, peer, &kept));
            stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).for_each(|()| async {}).await;
        }
        self.act().await;
    }

    /// Whether this node is in the map.
    fn update_members(&self, endpoint: &Endpoint) -> bool {
        let peers = self.peers.borrow().clone();
        let own = peers.iter().find(|peer| peer.key.as_bytes() == endpoint.id().as_bytes());
        let Some(own) = own.map(member) else { return false };
        let members: Vec<_> = peers.iter().map(member).collect();
        let (mut state, now) = (self.state(), self.now());
        // Boards that do not answer make a look longer.
        let recent = 3 * (self.limits.keep_pause + self.limits.connect_timeout);
        let times = KeepTimes { dead: self.limits.keep_dead, recent };
        let view = match &mut state.view {
            Some(view) if view.own() == own.number => view,
            view => view.insert(KeepView::new(times, own)),
        };
        view.set_members(&members, now);
        true
    }

    /// Looks names up. An old answer stays in force while nobody answers.
    async fn resolve(&self) {
        let names = self.state().next_names(NAMES_AT_ONCE);
        for name in names {
            let (node, path) = (PublicKey::new(*name.node.as_bytes()), name.path.clone());
            if let Ok(record) = self.names.resolve(node, path, ResolveOrigin::Operator).await {
                self.state().named.insert(name, record.entry().hash);
            }
        }
    }

    async fn ask(&self, endpoint: &Endpoint, peer: PeerNode, kept: &[Hash]) {
        let Some(address) = peer.address() else { return };
        let connecting = timeout(self.limits.connect_timeout, endpoint.connect(address, ALPN));
        let Ok(Ok(connection)) = connecting.await else { return };
        let asked = timeout(self.limits.answer_timeout, query(&connection, kept)).await;
        connection.close(0u32.into(), b"");
        if let Ok(Some(answer)) = asked
            && let Some(view) = &mut self.state().view
        {
            view.answered(peer.number, kept, &answer, self.now());
        }
    }

    async fn act(&self) {
        let (steps, kept) = {
            let mut state = self.state();
            let now = self.now();
            let kept = state.kept();
            let hashes: HashSet<Hash> = kept.iter().map(|(hash, _)| *hash).collect();
            state.postponed.retain(|hash, _| hashes.contains(hash));
            let Some(view) = &state.view else { return };
            let mut steps = view.steps(&kept, |hash| self.own_copy(&state, hash), now);
            // What no board has may come from a neighbour, but need not be asked for all the time.
            steps.retain(|step| match step {
                KeepStep::Fetch(hash) if state.postponed(hash).is_some() => {
                    view.is_somewhere(hash, now)
                }
                _ => true,
            });
            let dead = view.dead(now);
            for board in dead.iter().filter(|board| !state.dead.contains(board)) {
                if !kept.is_empty() {
                    say!(
                        "board {board} has not been reached for long: what it keeps is copied to others"
                    );
                }
            }
            state.dead = dead;
            (steps, hashes)
        };
        // A name that is not known yet may mean what is kept here.
        let is_all_known = {
            let state = self.state();
            state.keeps.iter().flatten().all(|keep| state.hash(keep).is_some())
        };
        let left = self.objects.policy().kept().into_iter();
        let left = left.filter(|hash| is_all_known && !kept.contains(hash)).map(KeepStep::Unpin);
        let mut fetches = vec![];
        for step in steps.into_iter().chain(left) {
            let changed = match step {
                KeepStep::Fetch(hash) => {
                    fetches.push(hash);
                    continue;
                }
                KeepStep::Pin(hash) => self.objects.pin(hash, PinnedBy::Keep, true).await,
                KeepStep::Unpin(hash) => self.objects.pin(hash, PinnedBy::Keep, false).await,
            };
            if let Err(error) = changed {
                say!("what `[[keep]]` says of an object cannot be recorded: {error}");
            }
        }
        self.fetches.send_if_modified(|it| std::mem::replace(it, fetches.clone()) != fetches);
    }

    /// Fetches one object after the other.
    async fn repair(&self) -> Infallible {
        let mut fetches = self.fetches.subscribe();
        loop {
            let next = fetches.wait_for(|fetches| !fetches.is_empty()).await;
            // The sender is this value's own.
            let Some(hash) = next.ok().and_then(|fetches| fetches.first().copied()) else {
                continue;
            };
            self.fetch(hash).await;
            self.fetches.send_if_modified(|fetches| {
                let before = fetches.len();
                fetches.retain(|it| *it != hash);
                fetches.len() < before
            });
        }
    }

    async fn fetch(&self, hash: Hash) {
        let outcome = loop {
            match self.fetcher.fetch(hash).await {
                // A large one takes longer than a client would wait.
                Err(Missing::OnItsWay) => {}
                outcome => break outcome,
            }
        };
        let kept = match outcome {
            // It may have been evicted meanwhile; then it is fetched again.
            Ok(()) => {
                self.objects.pin(hash, PinnedBy::Keep, true).await.map(drop).map_err(Missing::from)
            }
            Err(missing) => Err(missing),
        };
        let Err(missing) = kept else {
            self.state().postponed.remove(&hash);
            return;
        };
        let why = match &missing {
            Missing::Store(ObjectError::Full { .. } | ObjectError::Quota { .. }) => {
                KeptState::NoRoom
            }
            _ => KeptState::Absent,
        };
        let until = Instant::now() + self.limits.keep_retry;
        let former = self.state().postponed.insert(hash, (why, until));
        if why == KeptState::NoRoom && former.is_none() {
            say!("{hash} is to be kept here, and is not: {missing}");
        }
    }

    /// Answers another node of this box.
    pub async fn serve(&self, connection: &Connection) {
        let key = connection.remote_id();
        let number = {
            let peers = self.peers.borrow();
            peers.iter().find(|peer| peer.key.as_bytes() == key.as_bytes()).map(|peer| peer.number)
        };
        let Some(number) = number else {
            connection.close(NO_MEMBER.into(), b"this is for nodes of the box");
            return;
        };
        if let Ok(_permit) = self.answering.try_acquire() {
            // The error concerns the node only.
            let _ = timeout(self.limits.request_timeout, self.answer(connection, number)).await;
        }
        connection.close(0u32.into(), b"");
    }

    async fn answer(&self, connection: &Connection, number: u8) -> Option<()> {
        let (mut to, mut from) = connection.accept_bi().await.ok()?;
        let request = from.read_to_end(message::LONGEST_REQUEST).await.ok()?;
        let request = KeepRequest::from_bytes(&request)?;
        let answer = {
            let (mut state, now) = (self.state(), self.now());
            let copies = request.objects().map(|hash| self.own_copy(&state, &hash)).collect();
            let reached = state.view.as_mut().map(|view| {
                view.reached(number, now);
                view.reached_nodes(now)
            });
            KeepAnswer { copies, reached: reached.unwrap_or_default() }
        };
        to.write_all(&answer.to_bytes()).await.ok()?;
        to.finish().ok()?;
        connection.closed().await;
        Some(())
    }
}

fn member(peer: &PeerNode) -> KeepMember {
    KeepMember {
        number: peer.number,
        key: *peer.node.as_bytes(),
        is_holder: !peer.addresses.is_empty(),
        is_drained: peer.is_drained,
    }
}

async fn query(connection: &Connection, kept: &[Hash]) -> Option<KeepAnswer> {
    let (mut to, mut from) = connection.open_bi().await.ok()?;
    to.write_all(&KeepRequest::new(kept).to_bytes()).await.ok()?;
    to.finish().ok()?;
    let answer = from.read_to_end(message::LONGEST_ANSWER).await.ok()?;
    KeepAnswer::from_bytes(&answer, kept.len().min(MAX_OBJECTS))
}
