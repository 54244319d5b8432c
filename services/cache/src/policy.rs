//! The eviction policy: which objects are pinned, which are evicted next, and which were removed by
//! an operator. It is stored in redb before it is acted on; the store follows.

mod served_bytes;
mod queues;
mod removed;
mod claim;
mod rows;

pub use queues::{Queue, QueuePosition};
pub use claim::Claim;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use iroh_blobs::Hash;

use crate::counters::Counter;
use crate::objects::ObjectError;
use served_bytes::ServedBytes;
use queues::Queues;
use removed::Removed;
use rows::{ObjectRow, RowChange, Rows, Stand};

/// The maximum number of remembered removals. The oldest is forgotten first.
const MAX_REMOVED: usize = 4096;

/// The maximum number of public objects: each has an entry in memory.
const MAX_PUBLIC: usize = 4096;

/// The disk overhead of an object in bytes: rows, and the rounding of file sizes.
const ENTRY: u64 = 4096;

/// The accounted size of an object of `size` bytes: with its hash tree (64 bytes per 16 KiB) and
/// its rows.
pub fn cost(size: u64) -> u64 {
    size.saturating_add(size / 256).saturating_add(ENTRY)
}

/// The retention class of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// It stays until it is unpinned or removed.
    Pinned,
    /// It is evicted when room is needed.
    Loose,
    /// Like [`Loose`](Self::Loose), but uploaded by a client: it cannot restore an object that an
    /// operator has removed.
    Put,
}

/// The usage, in accounted bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheUsage {
    pub quota: u64,
    /// All objects, running fetches included.
    pub used: u64,
    /// The pinned objects among them.
    pub pinned: u64,
    /// The number of objects.
    pub objects: usize,
}

#[derive(Debug)]
pub struct CachePolicy {
    rows: Rows,
    quota: AtomicU64,
    most: usize,
    state: Mutex<State>,
    /// Evicted objects since the start.
    pub evicted: Counter,
    /// Object bytes sent to other nodes since the start.
    pub given: Counter,
}

#[derive(Debug)]
struct State {
    objects: HashMap<Hash, ObjectRow>,
    queues: Queues<Hash>,
    pinned: u64,
    /// The size of evicted objects that the store has not deleted yet.
    leaving: u64,
    /// The size reserved for running fetches and additions.
    claimed: u64,
    /// The partial data of abandoned fetches, with its size.
    parts: HashMap<Hash, u64>,
    removed: Removed,
    public: HashSet<Hash>,
    given: ServedBytes,
}

impl State {
    fn used(&self) -> u64 {
        let parts: u64 = self.parts.values().sum();
        self.pinned + self.queues.cost() + self.leaving + self.claimed + parts
    }
}

impl CachePolicy {
    /// Opens or creates the file. The quota is `quota` accounted bytes, and `most` objects.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(file: &Path, quota: u64, most: usize) -> Result<Self, ObjectError> {
        let (rows, kept) = Rows::open(file).map_err(broken)?;
        let mut state = State {
            objects: HashMap::new(),
            queues: Queues::new(quota),
            pinned: 0,
            leaving: 0,
            claimed: 0,
            parts: HashMap::new(),
            removed: kept.removed.into_iter().collect(),
            public: kept.public,
            given: ServedBytes::of(kept.given),
        };
        for (hash, row) in kept.objects {
            state.objects.insert(hash, row);
            match row.stand {
                Stand::Pinned => state.pinned += cost(row.size),
                Stand::Loose(place) => state.queues.restore(hash, cost(row.size), place),
                Stand::Leaving => state.leaving += cost(row.size),
            }
        }
        Ok(Self {
            rows,
            quota: quota.into(),
            most,
            state: Mutex::new(state),
            evicted: Counter::default(),
            given: Counter::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quota(&self) -> u64 {
        self.quota.load(Ordering::Relaxed)
    }

    /// Sets the quota in accounted bytes.
    pub fn set_quota(&self, quota: u64) {
        self.quota.store(quota, Ordering::Relaxed);
        self.state().queues.set_capacity(quota);
    }

    /// Closes the file. Later changes fail.
    pub fn close(&self) {
        self.rows.close();
    }

    pub fn usage(&self) -> CacheUsage {
        let state = self.state();
        CacheUsage {
            quota: self.quota(),
            used: state.used(),
            pinned: state.pinned,
            objects: state.objects.len(),
        }
    }

    /// The size of an object.
    pub fn size(&self, hash: &Hash) -> Option<u64> {
        let row = self.state().objects.get(hash).copied()?;
        (row.stand != Stand::Leaving).then_some(row.size)
    }

    /// Whether it is here, and pinned.
    pub fn is_pinned(&self, hash: &Hash) -> bool {
        self.state().objects.get(hash).is_some_and(|row| row.stand == Stand::Pinned)
    }

    /// Whether its removal by an operator is remembered.
    pub fn was_removed(&self, hash: &Hash) -> bool {
        self.state().removed.number(hash).is_some()
    }

    /// Whether it is public for foreign web pages.
    pub fn is_public(&self, hash: &Hash) -> bool {
        self.state().public.contains(hash)
    }

    /// Makes an object public for foreign web pages, or ends that. Returns whether it is on this
    /// node; an object that is not is never public.
    ///
    /// # Errors
    /// The maximum number of public objects is reached, or writing fails.
    pub fn set_public(&self, hash: Hash, is_public: bool) -> Result<bool, ObjectError> {
        let is_here = self.size(&hash).is_some();
        let mut state = self.state();
        match is_public {
            true if !is_here => return Ok(false),
            true if state.public.len() >= MAX_PUBLIC && !state.public.contains(&hash) => {
                return Err(ObjectError::Public { most: MAX_PUBLIC });
            }
            true => {
                self.rows.change(&[RowChange::Public(hash)]).map_err(broken)?;
                state.public.insert(hash);
            }
            false => {
                self.rows.change(&[RowChange::Private(hash)]).map_err(broken)?;
                state.public.remove(&hash);
            }
        }
        Ok(is_here)
    }

    pub fn hit(&self, hash: &Hash) {
        self.state().queues.hit(hash);
    }

    pub fn leaving(&self) -> Vec<Hash> {
        let state = self.state();
        let leaves = state.objects.iter().filter(|(_, row)| row.stand == Stand::Leaving);
        leaves.map(|(hash, _)| *hash).collect()
    }

    /// All objects, without those that are being evicted.
    pub fn all(&self) -> Vec<Hash> {
        let state = self.state();
        let here = state.objects.iter().filter(|(_, row)| row.stand != Stand::Leaving);
        here.map(|(hash, _)| *hash).collect()
    }

    /// Records that an object is on this node. A pinned object stays pinned; the removal of an
    /// object is forgotten, unless a client has uploaded it.
    ///
    /// # Errors
    /// An operator has removed the object and a client has [uploaded](ObjectKind::Put) it, or
    /// writing fails.
    pub fn keep(&self, hash: Hash, size: u64, kind: ObjectKind) -> Result<(), ObjectError> {
        let mut state = self.state();
        let before = state.objects.get(&hash).map(|row| row.stand);
        let regret = state.removed.number(&hash);
        if kind == ObjectKind::Put && regret.is_some() {
            return Err(ObjectError::Removed);
        }
        let stand = match (before, kind) {
            (Some(Stand::Pinned), _) | (_, ObjectKind::Pinned) => Stand::Pinned,
            (Some(Stand::Loose(place)), _) => Stand::Loose(place),
            _ => Stand::Loose(state.queues.place_of_new(&hash)),
        };
        let row = ObjectRow { size, stand };
        if before != Some(stand) || regret.is_some() {
            let mut changes = vec![RowChange::Put(hash, row)];
            changes.extend(regret.map(RowChange::Regret));
            self.rows.change(&changes).map_err(broken)?;
        }
        if let Some(number) = regret {
            state.removed.forget(number);
        }
        state.parts.remove(&hash);
        if before == Some(stand) {
            return Ok(());
        }
        match before {
            Some(Stand::Leaving) => state.leaving -= cost(size),
            Some(_) => state.queues.leave(&hash),
            None => {}
        }
        match stand {
            Stand::Pinned => state.pinned += cost(size),
            _ => state.queues.enter(hash, cost(size)),
        }
        state.objects.insert(hash, row);
        Ok(())
    }

    /// Makes an object evictable. Returns whether it is on this node.
    ///
    /// # Errors
    /// Writing fails.
    pub fn unpin(&self, hash: Hash) -> Result<bool, ObjectError> {
        let mut state = self.state();
        let Some(ObjectRow { size, stand }) = state.objects.get(&hash).copied() else {
            return Ok(false);
        };
        match stand {
            Stand::Leaving => return Ok(false),
            Stand::Loose(_) => return Ok(true),
            Stand::Pinned => {}
        }
        let row = ObjectRow { size, stand: Stand::Loose(state.queues.place_of_new(&hash)) };
        self.rows.change(&[RowChange::Put(hash, row)]).map_err(broken)?;
        state.pinned -= cost(size);
        state.queues.enter(hash, cost(size));
        state.objects.insert(hash, row);
        Ok(true)
    }

    /// Marks an object as leaving and as private, and remembers the removal. Returns whether it was
    /// on this node.
    ///
    /// # Errors
    /// Writing fails.
    pub fn remove(&self, hash: Hash) -> Result<bool, ObjectError> {
        let mut state = self.state();
        let before = state.objects.get(&hash).copied();
        let number = state.removed.next();
        let mut changes = vec![RowChange::Removed(number, hash), RowChange::Private(hash)];
        let known = state.removed.number(&hash);
        let oldest = state.removed.oldest();
        let regret = known.or(oldest.filter(|_| state.removed.len() >= MAX_REMOVED));
        changes.extend(regret.map(RowChange::Regret));
        if let Some(row) = before {
            changes.push(RowChange::Put(hash, ObjectRow { stand: Stand::Leaving, ..row }));
        }
        self.rows.change(&changes).map_err(broken)?;
        if let Some(number) = regret {
            state.removed.forget(number);
        }
        state.removed.insert(number, hash);
        state.public.remove(&hash);
        let Some(row) = before.filter(|row| row.stand != Stand::Leaving) else { return Ok(false) };
        match row.stand {
            Stand::Pinned => state.pinned -= cost(row.size),
            _ => state.queues.leave(&hash),
        }
        state.leaving += cost(row.size);
        state.objects.insert(hash, ObjectRow { stand: Stand::Leaving, ..row });
        Ok(true)
    }

    /// Records that the store has deleted `these`.
    ///
    /// # Errors
    /// Writing fails.
    pub fn gone(&self, these: &[Hash]) -> Result<(), ObjectError> {
        let mut state = self.state();
        let is_leaving =
            |hash: &&Hash| state.objects.get(*hash).is_some_and(|row| row.stand == Stand::Leaving);
        let these: Vec<Hash> = these.iter().filter(is_leaving).copied().collect();
        let changes: Vec<RowChange> = these.iter().copied().map(RowChange::Forget).collect();
        self.rows.change(&changes).map_err(broken)?;
        for hash in these {
            if let Some(row) = state.objects.remove(&hash) {
                state.leaving -= cost(row.size);
            }
        }
        Ok(())
    }

    /// Forgets the row of `hash`, whatever its state.
    ///
    /// # Errors
    /// Writing fails.
    pub fn forget(&self, hash: Hash) -> Result<(), ObjectError> {
        let mut state = self.state();
        self.rows.change(&[RowChange::Forget(hash)]).map_err(broken)?;
        if let Some(row) = state.objects.remove(&hash) {
            match row.stand {
                Stand::Pinned => state.pinned -= cost(row.size),
                Stand::Loose(_) => state.queues.leave(&hash),
                Stand::Leaving => state.leaving -= cost(row.size),
            }
        }
        Ok(())
    }

    /// Selects the objects to evict so that `lacks` bytes become free.
    ///
    /// # Errors
    /// Writing fails; nothing is evicted then.
    pub fn choose(&self, lacks: u64) -> Result<Vec<Hash>, ObjectError> {
        let mut state = self.state();
        let chosen = state.queues.choose(lacks);
        let mut changes = vec![];
        let mut changed = vec![];
        let stands = chosen.moved.iter().map(|(hash, place)| (*hash, Stand::Loose(*place)));
        for (hash, stand) in stands.chain(chosen.gone.iter().map(|hash| (*hash, Stand::Leaving))) {
            let Some(row) = state.objects.get(&hash) else { continue };
            let row = ObjectRow { stand, ..*row };
            changes.push(RowChange::Put(hash, row));
            changed.push((hash, row));
        }
        if let Err(error) = self.rows.change(&changes) {
            for hash in chosen.gone {
                if let Some(row) = state.objects.get(&hash).copied() {
                    state.queues.enter(hash, cost(row.size));
                }
            }
            return Err(broken(error));
        }
        for (hash, row) in changed {
            if row.stand == Stand::Leaving {
                state.leaving += cost(row.size);
            }
            state.objects.insert(hash, row);
        }
        self.evicted.add(chosen.gone.len() as u64);
        Ok(chosen.gone)
    }

    /// Records that `bytes` of an object were sent to the node with the key `to`.
    pub fn give(&self, to: [u8; 32], hash: Hash, bytes: u64) {
        self.given.add(bytes);
        self.state().given.add(to, hash, bytes);
    }

    /// Writes the recorded transfers to disk.
    ///
    /// # Errors
    /// Writing fails.
    pub fn keep_given(&self) -> Result<(), ObjectError> {
        let mut state = self.state();
        let changes = state.given.changes();
        if changes.is_empty() {
            return Ok(());
        }
        self.rows.change(&changes).map_err(broken)?;
        state.given.kept();
        Ok(())
    }

    /// The bytes that were sent to the node with the key `to`, and the number of objects with a
    /// record.
    pub fn given_to(&self, to: &[u8; 32]) -> (u64, usize) {
        self.state().given.to(to)
    }
}

fn broken(error: impl std::fmt::Display) -> ObjectError {
    ObjectError::Broken(format!("the policy: {error}"))
}

#[cfg(test)]
mod tests;
