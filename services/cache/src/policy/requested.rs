//! What each request asks the policy, with one lock for all of it.

use iroh_blobs::Hash;

use super::CachePolicy;

/// What a request has to know of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedObject {
    /// In bytes, if it is on this node.
    pub size: Option<u64>,
    /// Whether its removal by an operator is remembered.
    pub was_removed: bool,
}

impl CachePolicy {
    /// Looks up an object that is requested. It counts as a hit.
    pub fn request(&self, hash: &Hash) -> RequestedObject {
        let mut state = self.state();
        state.queues.hit(hash);
        RequestedObject {
            size: state.served(hash).map(|row| row.size),
            was_removed: state.removed.number(hash).is_some(),
        }
    }
}
