//! The eviction policy: which objects are pinned, which are evicted next, and which were removed by
//! an operator. It is stored in redb before it is acted on; the store follows.

mod claim;
mod damaged;
mod folders;
mod pins;
mod queues;
mod removed;
mod requested;
mod rows;
mod served_bytes;

pub use claim::Claim;
pub use pins::PinnedBy;
pub use queues::{Queue, QueuePosition};
pub use requested::RequestedObject;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use iroh_blobs::Hash;

use crate::counters::Counter;
use crate::objects::ObjectError;
use pins::Pins;
use queues::Queues;
use removed::Removed;
use rows::{ObjectRow, ObjectState, RowChange, Rows};
use served_bytes::ServedBytes;

/// The maximum number of remembered removals. The oldest is forgotten first.
const MAX_REMOVED: usize = 4096;

/// The maximum number of public objects: each has an entry in memory.
const MAX_PUBLIC: usize = 4096;

/// The disk overhead of an object in bytes: rows, and the rounding of file sizes.
const ENTRY: u64 = 4096;

/// The accounted size of an object of `size` bytes: with its hash tree (64 bytes per 16 KiB), its
/// seal (32 bytes per 4 KiB, and those of their hashes), and its rows.
pub fn cost(size: u64) -> u64 {
    size.saturating_add(size / 256).saturating_add(size / 127).saturating_add(ENTRY)
}

/// The retention class of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// It stays until it is unpinned or removed.
    Pinned,
    /// It is evicted when room is needed.
    Loose,
    /// It stays as long as a `[[keep]]` wants it here, or until it is removed.
    Kept,
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
    max_objects: usize,
    /// Serialises what is written. `state` is not locked while the disk is waited for, because each request looks
    /// into it.
    writing: Mutex<()>,
    state: Mutex<State>,
    /// Evicted objects since the start.
    pub evicted: Counter,
    /// Object bytes sent to other nodes since the start.
    pub sent_bytes: Counter,
}

#[derive(Debug)]
struct State {
    objects: HashMap<Hash, ObjectRow>,
    queues: Queues<Hash>,
    pinned: u64,
    /// The size of evicted objects that the store has not deleted yet.
    evicting: u64,
    /// The size reserved for running fetches and additions.
    reserved: u64,
    /// The partial data of abandoned fetches, with its size.
    partial: HashMap<Hash, u64>,
    removed: Removed,
    public: HashSet<Hash>,
    damaged: HashSet<Hash>,
    folders: HashSet<Hash>,
    served: ServedBytes,
}

impl State {
    /// The row of an object that may be served.
    fn served(&self, hash: &Hash) -> Option<&ObjectRow> {
        let row = self.objects.get(hash).filter(|row| row.state != ObjectState::Evicting)?;
        (!self.damaged.contains(hash)).then_some(row)
    }

    fn used(&self) -> u64 {
        let parts: u64 = self.partial.values().sum();
        self.pinned + self.queues.cost() + self.evicting + self.reserved + parts
    }
}

impl CachePolicy {
    /// Opens or creates the file. The quota is `quota` accounted bytes, and `max_objects` objects.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(file: &Path, quota: u64, max_objects: usize) -> Result<Self, ObjectError> {
        let (rows, saved) = Rows::open(file).map_err(broken)?;
        let mut state = State {
            objects: HashMap::new(),
            queues: Queues::new(quota),
            pinned: 0,
            evicting: 0,
            reserved: 0,
            partial: HashMap::new(),
            removed: saved.removed.into_iter().collect(),
            public: saved.public,
            damaged: saved.damaged,
            folders: saved.folders,
            served: ServedBytes::new(saved.served),
        };
        for (hash, row) in saved.objects {
            state.objects.insert(hash, row);
            match row.state {
                ObjectState::Pinned(_) => state.pinned += cost(row.size),
                ObjectState::Loose(place) => state.queues.restore(hash, cost(row.size), place),
                ObjectState::Evicting => state.evicting += cost(row.size),
            }
        }
        Ok(Self {
            rows,
            quota: quota.into(),
            max_objects,
            writing: Mutex::default(),
            state: Mutex::new(state),
            evicted: Counter::default(),
            sent_bytes: Counter::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The size of an object, if it is here and not damaged.
    pub fn size(&self, hash: &Hash) -> Option<u64> {
        self.state().served(hash).map(|row| row.size)
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
        let _writing = self.writing();
        let is_here = self.size(&hash).is_some();
        if is_public && !is_here {
            return Ok(false);
        }
        if is_public && !self.has_room_for_public(&hash) {
            return Err(ObjectError::Public { most: MAX_PUBLIC });
        }
        if is_public {
            self.rows.change(&[RowChange::Public(hash)]).map_err(broken)?;
            self.state().public.insert(hash);
        } else {
            self.rows.change(&[RowChange::Private(hash)]).map_err(broken)?;
            self.state().public.remove(&hash);
        }
        Ok(is_here)
    }

    fn has_room_for_public(&self, hash: &Hash) -> bool {
        let state = self.state();
        state.public.len() < MAX_PUBLIC || state.public.contains(hash)
    }

    pub fn evicting(&self) -> Vec<Hash> {
        let state = self.state();
        let leaves = state.objects.iter().filter(|(_, row)| row.state == ObjectState::Evicting);
        leaves.map(|(hash, _)| *hash).collect()
    }

    /// All objects, without those that are being evicted.
    pub fn all(&self) -> Vec<Hash> {
        let state = self.state();
        let here = state.objects.iter().filter(|(_, row)| row.state != ObjectState::Evicting);
        here.map(|(hash, _)| *hash).collect()
    }

    /// Records that an object is on this node. A pinned object stays pinned; the removal of an
    /// object is forgotten, unless a client has uploaded it.
    ///
    /// # Errors
    /// An operator has removed the object and a client has [uploaded](ObjectKind::Put) it, or
    /// writing fails.
    pub fn insert(&self, hash: Hash, size: u64, kind: ObjectKind) -> Result<(), ObjectError> {
        let _writing = self.writing();
        let state = self.state();
        let before = state.objects.get(&hash).map(|row| row.state);
        let pins = state.objects.get(&hash).map_or(Pins::default(), ObjectRow::pins);
        let regret = state.removed.number(&hash);
        let was_damaged = state.damaged.contains(&hash);
        if kind == ObjectKind::Put && regret.is_some() {
            return Err(ObjectError::Removed);
        }
        let pins = Pins {
            operator: pins.operator || kind == ObjectKind::Pinned,
            keep: pins.keep || kind == ObjectKind::Kept,
            folder: pins.folder,
        };
        let next = match before {
            _ if pins != Pins::default() => ObjectState::Pinned(pins),
            Some(ObjectState::Loose(place)) => ObjectState::Loose(place),
            _ => ObjectState::Loose(state.queues.initial_position(&hash)),
        };
        drop(state);
        let row = ObjectRow { size, state: next };
        if before != Some(next) || regret.is_some() || was_damaged {
            let mut changes = vec![RowChange::Put(hash, row)];
            changes.extend(was_damaged.then_some(RowChange::Repaired(hash)));
            changes.extend(regret.map(RowChange::ForgetRemoval));
            self.rows.change(&changes).map_err(broken)?;
        }
        let mut state = self.state();
        if let Some(number) = regret {
            state.removed.forget(number);
        }
        state.partial.remove(&hash);
        state.damaged.remove(&hash);
        if before == Some(next) {
            return Ok(());
        }
        match before {
            Some(ObjectState::Evicting) => state.evicting -= cost(size),
            Some(ObjectState::Pinned(_)) => state.pinned -= cost(size),
            Some(ObjectState::Loose(_)) => state.queues.remove(&hash),
            None => {}
        }
        match next {
            ObjectState::Pinned(_) => state.pinned += cost(size),
            _ => state.queues.insert(hash, cost(size)),
        }
        state.objects.insert(hash, row);
        Ok(())
    }

    /// Marks an object as leaving and as private, and remembers the removal. Returns whether it was
    /// on this node.
    ///
    /// # Errors
    /// Writing fails.
    pub fn remove(&self, hash: Hash) -> Result<bool, ObjectError> {
        let _writing = self.writing();
        let state = self.state();
        let before = state.objects.get(&hash).copied();
        let number = state.removed.next();
        let mut changes = vec![RowChange::Removed(number, hash), RowChange::Private(hash)];
        let known = state.removed.number(&hash);
        let oldest = state.removed.oldest();
        let regret = known.or(oldest.filter(|_| state.removed.len() >= MAX_REMOVED));
        changes.extend(regret.map(RowChange::ForgetRemoval));
        if let Some(row) = before {
            changes.push(RowChange::Put(hash, ObjectRow { state: ObjectState::Evicting, ..row }));
        }
        drop(state);
        self.rows.change(&changes).map_err(broken)?;
        let mut state = self.state();
        if let Some(number) = regret {
            state.removed.forget(number);
        }
        state.removed.insert(number, hash);
        state.public.remove(&hash);
        let Some(row) = before.filter(|row| row.state != ObjectState::Evicting) else {
            return Ok(false);
        };
        match row.state {
            ObjectState::Pinned(_) => state.pinned -= cost(row.size),
            _ => state.queues.remove(&hash),
        }
        state.evicting += cost(row.size);
        state.objects.insert(hash, ObjectRow { state: ObjectState::Evicting, ..row });
        Ok(true)
    }

    /// Records that the store has deleted `these`.
    ///
    /// # Errors
    /// Writing fails.
    pub fn mark_deleted(&self, these: &[Hash]) -> Result<(), ObjectError> {
        let _writing = self.writing();
        let state = self.state();
        let is_leaving = |hash: &&Hash| {
            state.objects.get(*hash).is_some_and(|row| row.state == ObjectState::Evicting)
        };
        let these: Vec<Hash> = these.iter().filter(is_leaving).copied().collect();
        drop(state);
        let forget = |hash: &Hash| [RowChange::Forget(*hash), RowChange::Repaired(*hash)];
        let changes: Vec<RowChange> = these.iter().flat_map(forget).collect();
        self.rows.change(&changes).map_err(broken)?;
        let mut state = self.state();
        for hash in these {
            state.damaged.remove(&hash);
            if let Some(row) = state.objects.remove(&hash) {
                state.evicting -= cost(row.size);
            }
        }
        Ok(())
    }

    /// Forgets the row of `hash`, whatever its state.
    ///
    /// # Errors
    /// Writing fails.
    pub fn forget(&self, hash: Hash) -> Result<(), ObjectError> {
        let _writing = self.writing();
        let changes = [RowChange::Forget(hash), RowChange::Repaired(hash)];
        self.rows.change(&changes).map_err(broken)?;
        let mut state = self.state();
        state.damaged.remove(&hash);
        if let Some(row) = state.objects.remove(&hash) {
            match row.state {
                ObjectState::Pinned(_) => state.pinned -= cost(row.size),
                ObjectState::Loose(_) => state.queues.remove(&hash),
                ObjectState::Evicting => state.evicting -= cost(row.size),
            }
        }
        Ok(())
    }

    /// Selects the objects to evict so that `lacks` bytes become free.
    ///
    /// # Errors
    /// Writing fails; nothing is evicted then.
    pub fn evict(&self, lacks: u64) -> Result<Vec<Hash>, ObjectError> {
        let _writing = self.writing();
        let mut state = self.state();
        let chosen = state.queues.evict(lacks);
        let moved = chosen.moved.iter().map(|(hash, place)| (*hash, ObjectState::Loose(*place)));
        let evicted = chosen.evicted.iter().map(|hash| (*hash, ObjectState::Evicting));
        let rows: Vec<_> = moved
            .chain(evicted)
            .filter_map(|(hash, next)| {
                let before = *state.objects.get(&hash)?;
                Some((hash, before, ObjectRow { state: next, ..before }))
            })
            .collect();
        // From now on their room is not there for others, and they are not found any more.
        for (hash, _, row) in &rows {
            if row.state == ObjectState::Evicting {
                state.evicting += cost(row.size);
            }
            state.objects.insert(*hash, *row);
        }
        drop(state);
        let changes: Vec<_> =
            rows.iter().map(|(hash, _, row)| RowChange::Put(*hash, *row)).collect();
        if let Err(error) = self.rows.change(&changes) {
            let mut state = self.state();
            for (hash, before, row) in rows {
                if row.state == ObjectState::Evicting {
                    state.evicting -= cost(row.size);
                    state.queues.insert(hash, cost(row.size));
                }
                state.objects.insert(hash, before);
            }
            return Err(broken(error));
        }
        self.evicted.add(chosen.evicted.len() as u64);
        Ok(chosen.evicted)
    }

    /// Records that `bytes` of an object were sent to the node with the key `to`.
    pub fn record_sent(&self, to: [u8; 32], hash: Hash, bytes: u64) {
        self.sent_bytes.add(bytes);
        self.state().served.add(to, hash, bytes);
    }

    /// Writes the recorded transfers to disk.
    ///
    /// # Errors
    /// Writing fails.
    pub fn write_sent(&self) -> Result<(), ObjectError> {
        let _writing = self.writing();
        let (names, changes) = self.state().served.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        let written = self.rows.change(&changes);
        if written.is_err() {
            self.state().served.not_written(names);
        }
        written.map_err(broken)
    }

    /// The bytes that were sent to the node with the key `to`, and the number of objects with a
    /// record.
    pub fn sent_to(&self, to: &[u8; 32]) -> (u64, usize) {
        self.state().served.sent_to(to)
    }
}

fn broken(error: impl std::fmt::Display) -> ObjectError {
    ObjectError::Broken(format!("the policy: {error}"))
}

#[cfg(test)]
mod tests;
