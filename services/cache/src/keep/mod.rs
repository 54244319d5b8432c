//! `[[keep]]`: objects of which several boards of this box have a copy, or a shard, and make a new one when a board is gone.
//!
//! Each board asks all others once a minute what they have ([`message`]), decides what it is to have ([`view`]), and
//! fetches or makes that ([`repair`]). Nothing is pushed, and no board decides for another one.

mod codec;
mod folders;
mod manifest;
mod message;
mod registry;
mod repair;
mod shards;
mod state;
mod view;

pub use manifest::{ShardLayout, ShardManifest};
pub use message::{ALPN, HeldShards, KeepAnswer, KeepRequest, KeptReport, KeptState, MAX_OBJECTS};
pub use registry::ShardPart;
pub use state::{Keep, KeepCondition, KeepRow, KeptObject};
pub use view::{
    KeepGoal, KeepMember, KeepStep, KeepTimes, KeepView, KeptCopies, KeptShards, KnownManifest,
    ShardGoal,
};

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use iroh::Endpoint;
use iroh::endpoint::Connection;
use iroh_blobs::Hash;
use octet_appliance::{KeepRedundancy, KeepSection};
use octet_node::control::PublicKey;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::counters::Counter;
use crate::fetch::Fetcher;
use crate::limits::CacheLimits;
use crate::names::{NameCache, ResolveOrigin};
use crate::objects::Objects;
use crate::peers::PeerNode;
use repair::RepairTask;
use state::{KeeperState, layout};

/// The number of nodes that are asked at the same time.
const ASKED_AT_ONCE: usize = 4;

/// The number of names that are looked up between two questions: each may be asked for at all nodes.
const NAMES_AT_ONCE: usize = 16;

/// The number of objects that are made of their shards for clients at the same time: each has some stripes in memory.
const RESTORED_AT_ONCE: usize = 2;

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
    /// What is to be fetched or made, the most urgent first.
    tasks: watch::Sender<Vec<RepairTask>>,
    answering: Semaphore,
    restoring: Semaphore,
    /// Objects that were made of shards since the start.
    pub restored: Counter,
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
            tasks: watch::Sender::default(),
            answering: Semaphore::new(limits.peers),
            restoring: Semaphore::new(RESTORED_AT_ONCE),
            restored: Counter::default(),
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
        let (mut state, now) = (self.state(), self.now());
        if state.keeps.as_ref() != Some(&keeps)
            && let Some(view) = &mut state.view
        {
            view.settings_changed(now);
        }
        state.keeps = Some(keeps);
        state.forget_names();
        // What a board has of a folder that was an object before is not known yet.
        let folders = state.kept_folders();
        state.folders.retain(|hash, _| folders.contains(hash));
        for folder in folders {
            state.folders.entry(folder).or_insert(KeptState::Absent);
        }
        state.manifests.forget_refusals();
        drop(state);
        self.changed.notify_one();
    }

    /// Whether a `[[keep]]` means this object.
    pub fn is_kept(&self, hash: &Hash) -> bool {
        self.state().kept().iter().any(|(kept, _)| kept == hash)
    }

    /// Why this object is kept, if it is.
    pub fn kept_as(&self, hash: &Hash) -> Option<String> {
        if self.is_kept(hash) {
            return Some("a `[[keep]]` keeps this object".to_owned());
        }
        if let Some(part) = self.part(hash) {
            return Some(format!("it is {part}, which a `[[keep]]` keeps"));
        }
        let is_in_folder = self.objects.policy().is_kept(hash) && !self.state().folders.is_empty();
        is_in_folder.then(|| "it is in a folder that a `[[keep]]` keeps".to_owned())
    }

    /// The object of a `[[keep]]` of which this one is a shard or the manifest.
    pub fn part(&self, hash: &Hash) -> Option<ShardPart> {
        self.state().manifests.part(hash)
    }

    /// Whether this board knows which shards the object has.
    pub fn has_manifest(&self, hash: &Hash) -> bool {
        self.state().manifests.best(hash, None).is_some()
    }

    /// Whether no other board is known to have all of the object, but this one knows its shards.
    pub fn is_in_shards(&self, hash: &Hash) -> bool {
        let (state, now) = (self.state(), self.now());
        let is_whole = state.view.as_ref().is_some_and(|view| view.is_somewhere(hash, now));
        !is_whole && state.manifests.best(hash, None).is_some()
    }

    /// Where each object is, in the order of the settings.
    pub fn rows(&self) -> Vec<KeepRow> {
        let (state, now) = (self.state(), self.now());
        let rows = state.keeps.iter().flatten();
        rows.map(|keep| self.row(&state, keep, now)).collect()
    }

    fn row(&self, state: &KeeperState, keep: &Keep, now: Duration) -> KeepRow {
        let hash = state.hash(keep);
        let mut row = KeepRow {
            keep: keep.clone(),
            hash,
            condition: KeepCondition::Missing,
            copies: KeptCopies::default(),
            shards: None,
        };
        let (Some(hash), Some(view)) = (hash, &state.view) else { return row };
        let own = self.report(state, &hash, layout(keep.redundancy));
        match self.goal(state, view, &hash, keep.redundancy, now) {
            KeepGoal::Copies(copies) => {
                row.copies = view.copies(&hash, copies, own.state, now);
                row.condition = match (row.copies.kept.len(), row.copies.loose.len()) {
                    // Before the settings changed it was kept in shards.
                    (0, 0) if self.is_readable(state, view, &hash, now) => KeepCondition::AtRisk,
                    (0, 0) => KeepCondition::Missing,
                    (kept, _) if kept < usize::from(copies) => KeepCondition::AtRisk,
                    _ => KeepCondition::Kept,
                };
            }
            KeepGoal::Shards(goal) => {
                let found = view.shards(&hash, &goal, &own, now);
                row.condition = match (found.is_readable, found.is_placed && found.is_safe) {
                    (false, _) if self.is_readable(state, view, &hash, now) => {
                        KeepCondition::AtRisk
                    }
                    (false, _) => KeepCondition::Missing,
                    (true, false) => KeepCondition::AtRisk,
                    (true, true) => KeepCondition::Kept,
                };
                row.shards = Some(found);
            }
        }
        row
    }

    /// Whether the shards of any manifest give the object.
    fn is_readable(
        &self,
        state: &KeeperState,
        view: &KeepView,
        hash: &Hash,
        now: Duration,
    ) -> bool {
        state.manifests.best(hash, None).is_some_and(|(manifest, it)| {
            let own = self.held(it);
            let reached = view.reached_shards(hash, &manifest, now) | own;
            reached.count_ones() >= it.layout.data.into()
        })
    }

    /// How the object is to be kept, as far as this board knows what it is.
    fn goal(
        &self,
        state: &KeeperState,
        view: &KeepView,
        hash: &Hash,
        redundancy: KeepRedundancy,
        now: Duration,
    ) -> KeepGoal {
        let (data, parity) = match redundancy {
            KeepRedundancy::Copies(copies) => return KeepGoal::Copies(copies),
            KeepRedundancy::Shards { data, parity } => (data, parity),
        };
        let own = self.objects.size(*hash);
        let size = own.or_else(|| view.reported_size(hash, now));
        let manifest = state.manifests.known(hash, ShardLayout::new(data, parity), size);
        let is_small = size.is_some_and(|size| size < self.limits.keep_shards_from);
        // A board that lies about the size is believed until there is a manifest.
        if is_small && (own.is_some() || manifest.is_none()) {
            // They survive the same losses.
            let copies = usize::from(parity).saturating_add(1).min(view.holders());
            return KeepGoal::Copies(copies.try_into().unwrap_or(u8::MAX));
        }
        KeepGoal::Shards(ShardGoal { data, parity, manifest })
    }

    fn own_copy(&self, state: &KeeperState, hash: &Hash) -> KeptState {
        let policy = self.objects.policy();
        // A folder is here when all of its files are.
        if let Some(known) = state.folders.get(hash) {
            return match known {
                KeptState::Absent => state.postponed(hash).unwrap_or(KeptState::Absent),
                known => *known,
            };
        }
        if policy.size(hash).is_none() {
            return state.postponed(hash).unwrap_or(KeptState::Absent);
        }
        if policy.is_kept(hash) { KeptState::Kept } else { KeptState::Loose }
    }

    /// What this board has of an object.
    fn report(&self, state: &KeeperState, hash: &Hash, layout: Option<ShardLayout>) -> KeptReport {
        let shards = state.manifests.best(hash, layout).map(|(manifest, it)| HeldShards {
            manifest: *manifest.as_bytes(),
            held: self.held(it),
        });
        KeptReport { state: self.own_copy(state, hash), size: self.objects.size(*hash), shards }
    }

    /// The shards that are pinned here.
    fn held(&self, manifest: &ShardManifest) -> u32 {
        let policy = self.objects.policy();
        let shards = (0u32..).zip(&manifest.shards).filter(|(_, shard)| policy.is_kept(shard));
        shards.fold(0, |held, (index, _)| held | 1 << index)
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
        self.load_manifests().await;
        let folders = self.look_at_folders().await;
        self.act(folders).await;
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
        let dead = self.limits.keep_dead;
        let times = KeepTimes { dead, recent, turn: dead / 4 };
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
            let layouts: HashMap<Hash, _> = state.kept().into_iter().collect();
            let report = |hash: Hash| {
                let layout = layouts.get(&hash).and_then(|redundancy| layout(*redundancy));
                self.report(&state, &hash, layout)
            };
            let objects = request.objects().map(report).collect();
            let reached = state.view.as_mut().map(|view| {
                view.reached(number, now);
                view.reached_nodes(now)
            });
            KeepAnswer { objects, reached: reached.unwrap_or_default() }
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
