//! Reserved room for objects that are being written, and partial data of abandoned fetches.

use std::sync::Arc;

use iroh_blobs::Hash;

use super::{CachePolicy, State};

/// Reserved room, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    policy: Arc<CachePolicy>,
    bytes: u64,
}

impl Claim {
    /// The reserved bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.policy.state().reserved -= self.bytes;
    }
}

impl CachePolicy {
    pub fn claim(self: &Arc<Self>) -> Claim {
        Claim { policy: Arc::clone(self), bytes: 0 }
    }

    /// Extends `claim` by `more` bytes. Returns the missing bytes, if any.
    pub fn grow(&self, claim: &mut Claim, more: u64) -> u64 {
        let mut state = self.state();
        let lacks = self.shortfall_in(&state, more);
        if lacks == 0 {
            state.reserved += more;
            claim.bytes += more;
        }
        lacks
    }

    /// The missing bytes for `more` bytes.
    pub fn shortfall(&self, more: u64) -> u64 {
        self.shortfall_in(&self.state(), more)
    }

    fn shortfall_in(&self, state: &State, more: u64) -> u64 {
        let lacks = state.used().saturating_add(more).saturating_sub(self.quota());
        // At the maximum number of objects, each eviction makes room for one.
        if state.objects.len() < self.max_objects { lacks } else { lacks.max(1) }
    }

    /// The bytes that evictions can free.
    pub fn evictable(&self) -> u64 {
        let state = self.state();
        state.queues.cost() + state.partial.values().sum::<u64>()
    }

    /// The usage above the quota, in bytes.
    pub fn excess(&self) -> u64 {
        self.state().used().saturating_sub(self.quota())
    }

    /// Accounts `bytes` of partial data of `hash`, which stay until room is needed.
    pub fn add_partial(&self, hash: Hash, bytes: u64) {
        self.state().partial.insert(hash, bytes);
    }

    /// Ends the accounting of partial data. Returns whether there was any.
    pub fn remove_partial(&self, hash: &Hash) -> bool {
        self.state().partial.remove(hash).is_some()
    }

    /// The partial data that is kept.
    pub fn partials(&self) -> Vec<Hash> {
        self.state().partial.keys().copied().collect()
    }

    /// Drops all partial data. Returns its size in bytes.
    pub fn drop_partials(&self) -> u64 {
        self.state().partial.drain().map(|(_, bytes)| bytes).sum()
    }
}
