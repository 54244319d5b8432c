//! Room for what is on its way, and what came of it that was given up.

use std::sync::Arc;

use iroh_blobs::Hash;

use super::{CachePolicy, State};

/// Room that was given to something on its way, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    policy: Arc<CachePolicy>,
    bytes: u64,
}

impl Claim {
    /// Room in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.policy.state().claimed -= self.bytes;
    }
}

impl CachePolicy {
    pub fn claim(self: &Arc<Self>) -> Claim {
        Claim { policy: Arc::clone(self), bytes: 0 }
    }

    /// Gives `claim` room for `more` bytes. What is lacking for that, in bytes, if anything is.
    pub fn grow(&self, claim: &mut Claim, more: u64) -> u64 {
        let mut state = self.state();
        let lacks = self.lacks_in(&state, more);
        if lacks == 0 {
            state.claimed += more;
            claim.bytes += more;
        }
        lacks
    }

    /// What is lacking for `more` bytes.
    pub fn lacks(&self, more: u64) -> u64 {
        self.lacks_in(&self.state(), more)
    }

    fn lacks_in(&self, state: &State, more: u64) -> u64 {
        let lacks = state.used().saturating_add(more).saturating_sub(self.quota());
        // Of a full list each object that goes makes room for one.
        if state.objects.len() < self.most { lacks } else { lacks.max(1) }
    }

    /// Bytes that can be had by letting objects go.
    pub fn to_be_had(&self) -> u64 {
        let state = self.state();
        state.queues.cost() + state.parts.values().sum::<u64>()
    }

    /// How far all that is here is beyond the quota.
    pub fn excess(&self) -> u64 {
        self.state().used().saturating_sub(self.quota())
    }

    /// What came of `hash` takes `bytes`, and stays until room is needed.
    pub fn part(&self, hash: Hash, bytes: u64) {
        self.state().parts.insert(hash, bytes);
    }

    /// What came of it in part has other room now, or is to go. Whether there was any.
    pub fn whole(&self, hash: &Hash) -> bool {
        self.state().parts.remove(hash).is_some()
    }

    /// What came in part, and stays.
    pub fn parts(&self) -> Vec<Hash> {
        self.state().parts.keys().copied().collect()
    }

    /// Gives up all that came in part. The bytes that it took.
    pub fn drop_parts(&self) -> u64 {
        self.state().parts.drain().map(|(_, bytes)| bytes).sum()
    }
}
