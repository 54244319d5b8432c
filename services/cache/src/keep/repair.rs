//! Does what a board is to do for the objects of `[[keep]]`: pins at once, and all that takes long one after the other.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use iroh_blobs::Hash;
use octet_node::say;

use super::ObjectKeeper;
use super::folders::KeptFolders;
use super::manifest::{LONGEST_MANIFEST, ShardLayout};
use super::message::KeptState;
use super::shards::ShardError;
use super::state::{KeeperState, layout};
use super::view::{KeepGoal, KeepStep};
use crate::fetch::Missing;
use crate::objects::ObjectError;
use crate::policy::PinnedBy;

/// What is done one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RepairTask {
    /// Look at a manifest that another board has of the object, of shards with this layout or with any.
    Manifest(Hash, Hash, Option<ShardLayout>),
    Step(KeepStep),
}

impl RepairTask {
    fn object(&self) -> Hash {
        match self {
            Self::Manifest(object, ..) => *object,
            Self::Step(step) => step.object(),
        }
    }
}

/// What follows from the answers of the other boards.
struct RepairPlan {
    steps: Vec<KeepStep>,
    manifests: Vec<RepairTask>,
    /// All that may be pinned here.
    wanted: HashSet<Hash>,
    /// What this board is to have, and does not have or pin yet.
    lacking: HashSet<Hash>,
}

impl ObjectKeeper {
    /// Reads the manifests that were pinned here when the unit ended: without them this board does not know which shards
    /// it has.
    pub(super) async fn load_manifests(&self) {
        if self.state().is_loaded {
            return;
        }
        let kept: HashSet<Hash> = self.state().kept().into_iter().map(|(hash, _)| hash).collect();
        for hash in self.objects.policy().kept() {
            let is_small = self.objects.size(hash).is_some_and(|size| size <= LONGEST_MANIFEST);
            if !is_small || self.state().manifests.is_refused(&hash) {
                continue;
            }
            match self.read_manifest(hash).await {
                Ok(Some(manifest)) if kept.contains(&manifest.object) => {
                    self.state().manifests.adopt(manifest, false);
                }
                Ok(_) => {}
                // Nothing is unpinned before all are known.
                Err(error) => {
                    say!("a kept object cannot be read: {error}");
                    return;
                }
            }
        }
        // A name that is not known yet may mean an object whose manifest is here.
        let mut state = self.state();
        state.is_loaded = state.are_all_known();
    }

    pub(super) async fn act(&self, folders: KeptFolders) {
        let Some(RepairPlan { steps, mut manifests, mut wanted, lacking }) = self.plan() else {
            return;
        };
        let may_unpin = {
            let state = self.state();
            state.is_loaded && state.are_all_known() && folders.are_all_known
        };
        let policy = self.objects.policy();
        for (folder, files) in &folders.pinned {
            // Of one that this board does not keep any more the files may go, too.
            if policy.is_kept(folder) || lacking.contains(folder) {
                wanted.extend(files);
            }
        }
        let left = policy.kept().into_iter();
        let left = left.filter(|hash| may_unpin && !wanted.contains(hash)).map(KeepStep::Unpin);
        let mut tasks = std::mem::take(&mut manifests);
        self.store_manifests().await;
        for step in steps.into_iter().chain(left) {
            let changed = match step {
                KeepStep::Pin(hash) if folders.pinned.contains_key(&hash) => {
                    tasks.push(RepairTask::Step(KeepStep::Fetch(hash)));
                    continue;
                }
                KeepStep::Pin(hash) => self.objects.pin(hash, PinnedBy::Keep, true).await.map(drop),
                KeepStep::Unpin(hash) => {
                    self.objects.pin(hash, PinnedBy::Keep, false).await.map(drop)
                }
                KeepStep::DropShards(hash, set) => self.drop_shards(hash, set).await,
                step => {
                    tasks.push(RepairTask::Step(step));
                    continue;
                }
            };
            if let Err(error) = changed {
                say!("what `[[keep]]` says of an object cannot be recorded: {error}");
            }
        }
        self.tasks.send_if_modified(|it| std::mem::replace(it, tasks.clone()) != tasks);
    }

    fn plan(&self) -> Option<RepairPlan> {
        let mut state = self.state();
        let now = self.now();
        let kept = state.kept();
        let hashes: HashSet<Hash> = kept.iter().map(|(hash, _)| *hash).collect();
        state.postponed.retain(|hash, _| hashes.contains(hash));
        if state.is_loaded && state.are_all_known() {
            state.manifests.retain(&hashes);
        }
        let view = state.view.take()?;
        let goals: Vec<(Hash, KeepGoal)> = kept
            .iter()
            .map(|(hash, redundancy)| (*hash, self.goal(&state, &view, hash, *redundancy, now)))
            .collect();
        let mut manifests = vec![];
        for (hash, goal) in &goals {
            let layout = goal_layout(goal);
            let own = self.report(&state, hash, layout);
            // Shards of before the settings changed are the object until it is kept as they say.
            if state.manifests.has_others(hash, layout) && view.is_complete(hash, goal, &own, now) {
                state.manifests.retire(hash, layout);
            }
            let is_whole = own.state.is_here() || view.is_somewhere(hash, now);
            // Without any, this board could not make the object of the shards of before the settings changed.
            let is_unknown = state.manifests.best(hash, None).is_none();
            let sought = layout.filter(|_| is_whole || !is_unknown);
            let reported = view.reported_manifests(hash, now);
            let next = state.manifests.next(hash, sought, &reported);
            if let Some(next) = next
                && (layout.is_some() || !is_whole)
                && state.postponed(hash).is_none()
            {
                manifests.push(RepairTask::Manifest(*hash, next, sought));
            }
        }
        let layouts: HashMap<Hash, _> = kept.iter().copied().collect();
        let own = |hash: &Hash| {
            let layout = layouts.get(hash).and_then(|redundancy| layout(*redundancy));
            self.report(&state, hash, layout)
        };
        let mut steps = view.steps(&goals, own, now);
        let lacking = steps.iter().filter_map(|step| match step {
            KeepStep::Fetch(hash) | KeepStep::Pin(hash) => Some(*hash),
            _ => None,
        });
        // What was fetched of one for which there is no room is of no use.
        let lacking = lacking.filter(|it| state.postponed(it) != Some(KeptState::NoRoom)).collect();
        steps.retain(|step| match step {
            // What no board has may come from a neighbour, but need not be asked for all the time.
            KeepStep::Fetch(hash) if state.postponed(hash).is_some() => {
                view.is_somewhere(hash, now)
            }
            KeepStep::Pin(_) | KeepStep::Unpin(_) | KeepStep::DropShards(..) => true,
            KeepStep::Fetch(_) => true,
            step => state.postponed(&step.object()).is_none(),
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
        state.view = Some(view);
        let wanted = hashes.into_iter().chain(state.manifests.parts()).collect();
        Some(RepairPlan { steps, manifests, wanted, lacking })
    }

    /// Each manifest that is used is on the disk here, and pinned.
    async fn store_manifests(&self) {
        let policy = self.objects.policy();
        let lost: Vec<_> = {
            let state = self.state();
            let lost = state.manifests.all().filter(|(hash, _)| !policy.is_kept(hash));
            lost.map(|(_, manifest)| manifest.clone()).collect()
        };
        for manifest in lost {
            if let Err(error) = self.store(&manifest).await {
                say!("the shards of {} are not known after a restart: {error}", manifest.object);
            }
        }
    }

    /// Unpins shards, unless one with the same content stays.
    async fn drop_shards(&self, object: Hash, set: u32) -> Result<(), ObjectError> {
        let dropped: Vec<Hash> = {
            let state = self.state();
            let Some((_, manifest)) = state.manifests.best(&object, state.layout(&object)) else {
                return Ok(());
            };
            let held = self.held(manifest);
            let of = |set: u32| {
                let shards = (0u32..).zip(&manifest.shards);
                shards.filter(move |(index, _)| set & (1 << index) != 0).map(|(_, shard)| *shard)
            };
            let stays: HashSet<Hash> = of(held & !set).collect();
            of(set).filter(|shard| !stays.contains(shard)).collect()
        };
        for shard in dropped {
            self.objects.pin(shard, PinnedBy::Keep, false).await?;
        }
        Ok(())
    }

    /// Does one task after the other.
    pub(super) async fn repair(self: &Arc<Self>) -> Infallible {
        let mut tasks = self.tasks.subscribe();
        loop {
            let next = tasks.wait_for(|tasks| !tasks.is_empty()).await;
            // The sender is this value's own.
            let Some(task) = next.ok().and_then(|tasks| tasks.first().copied()) else {
                continue;
            };
            self.perform(task).await;
            self.tasks.send_if_modified(|tasks| {
                let before = tasks.len();
                tasks.retain(|it| *it != task);
                tasks.len() < before
            });
        }
    }

    async fn perform(self: &Arc<Self>, task: RepairTask) {
        let object = task.object();
        let layout = self.state().layout(&object);
        let done = match (task, layout) {
            (RepairTask::Manifest(object, hash, layout), _) => {
                self.take_manifest(object, layout, hash).await
            }
            (RepairTask::Step(KeepStep::Fetch(hash)), _) => {
                let is_folder = self.state().folders.contains_key(&hash);
                let fetched = match is_folder {
                    true => self.keep_folder(hash).await,
                    false => self.keep(hash).await,
                };
                fetched.map_err(ShardError::from)
            }
            (RepairTask::Step(step), Some(layout)) => self.perform_step(step, layout).await,
            // The settings have changed meanwhile.
            (RepairTask::Step(_), None) => return,
        };
        let Err(error) = done else {
            self.state().postponed.remove(&object);
            let is_folder = self.state().folders.contains_key(&object);
            if is_folder
                || matches!(task, RepairTask::Manifest(..) | RepairTask::Step(KeepStep::Prove(_)))
            {
                // What it is for need not wait.
                self.changed.notify_one();
            }
            return;
        };
        let (why, says) = match &error {
            ShardError::Missing(missing) => {
                let is_full = matches!(
                    missing,
                    Missing::Store(ObjectError::Full { .. } | ObjectError::Quota { .. })
                );
                let why = if is_full { KeptState::NoRoom } else { KeptState::Absent };
                (why, missing.to_string())
            }
            // Something else may be tried then.
            ShardError::Wrong => (KeptState::Absent, String::new()),
        };
        let until = Instant::now() + self.limits.keep_retry;
        let former = self.state().postponed.insert(object, (why, until));
        if why == KeptState::NoRoom && former.is_none() {
            say!("{object} is to be kept here, and is not: {says}");
        }
    }

    async fn perform_step(
        self: &Arc<Self>,
        step: KeepStep,
        layout: ShardLayout,
    ) -> Result<(), ShardError> {
        match step {
            KeepStep::Prove(hash) => self.prove(hash, layout).await,
            KeepStep::Check(hash) => self.check(hash, layout).await,
            KeepStep::TakeShard(hash, index) => self.take_shard(hash, layout, index).await,
            KeepStep::MakeShards(hash, set) => self.make_shards(hash, layout, set).await,
            // These were done at once.
            KeepStep::Fetch(_)
            | KeepStep::Pin(_)
            | KeepStep::Unpin(_)
            | KeepStep::DropShards(..) => Ok(()),
        }
    }

    /// Fetches an object that is not here, and pins it.
    pub(super) async fn keep(self: &Arc<Self>, hash: Hash) -> Result<(), Missing> {
        if self.objects.size(hash).is_none() {
            self.fetch(hash).await?;
        }
        // It may have been evicted meanwhile; then it is fetched again.
        self.objects.pin(hash, PinnedBy::Keep, true).await?;
        Ok(())
    }

    pub(super) async fn fetch(self: &Arc<Self>, hash: Hash) -> Result<(), Missing> {
        let fetched = loop {
            match self.fetcher.fetch(hash).await {
                // A large one takes longer than a client would wait.
                Err(Missing::OnItsWay) => {}
                fetched => break fetched,
            }
        };
        if let Err(missing) = fetched {
            while let Err(missing) = self.restore(hash, missing.clone()).await {
                if !matches!(missing, Missing::OnItsWay) {
                    return Err(missing);
                }
            }
        }
        Ok(())
    }
}

/// The layout of the shards that an object is to have; `None` if it is to have copies.
fn goal_layout(goal: &KeepGoal) -> Option<ShardLayout> {
    match goal {
        KeepGoal::Copies(_) => None,
        KeepGoal::Shards(goal) => Some(ShardLayout::new(goal.data, goal.parity)),
    }
}

impl KeeperState {
    /// Whether the objects of all lines are known: a name that is not may mean what is kept here.
    fn are_all_known(&self) -> bool {
        self.keeps.iter().flatten().all(|keep| self.hash(keep).is_some())
    }
}
