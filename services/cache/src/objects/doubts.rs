//! The objects that are to be verified before their turn.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use iroh_blobs::Hash;
use tokio::sync::Notify;

/// The maximum number of objects that wait. What finds no room is verified in its turn.
const MAX_WAITING: usize = 4096;

/// Objects that have just been stored, or could not be read. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Doubts(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    objects: Mutex<(VecDeque<Hash>, HashSet<Hash>)>,
    added: Notify,
}

impl Doubts {
    /// Adds an object, once.
    pub fn add(&self, hash: Hash) {
        let mut objects = self.0.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, known) = &mut *objects;
        if queue.len() < MAX_WAITING && known.insert(hash) {
            queue.push_back(hash);
            self.0.added.notify_one();
        }
    }

    /// Takes the object that has waited longest.
    pub fn take(&self) -> Option<Hash> {
        let mut objects = self.0.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, known) = &mut *objects;
        let hash = queue.pop_front()?;
        known.remove(&hash);
        Some(hash)
    }

    /// Waits until an object may have been added.
    pub async fn added(&self) {
        self.0.added.notified().await;
    }
}
