//! Objects that the disk has damaged: their bytes are here, and nobody gets them.

use iroh_blobs::Hash;

use super::rows::{ObjectState, RowChange};
use super::{CachePolicy, broken};
use crate::objects::ObjectError;

impl CachePolicy {
    /// Records that the disk has damaged an object: from now on it is not on this node, but its bytes are. Returns its
    /// size, unless that was known or it has gone.
    ///
    /// # Errors
    /// Writing fails; it is not served all the same.
    pub fn mark_damaged(&self, hash: Hash) -> Result<Option<u64>, ObjectError> {
        let _writing = self.writing();
        let mut state = self.state();
        let row = state.objects.get(&hash).copied();
        let Some(row) = row.filter(|row| row.state != ObjectState::Evicting) else {
            return Ok(None);
        };
        if !state.damaged.insert(hash) {
            return Ok(None);
        }
        drop(state);
        self.rows.change(&[RowChange::Damaged(hash)]).map_err(broken)?;
        Ok(Some(row.size))
    }

    /// Whether its bytes are here, and the disk has damaged them.
    pub fn is_damaged(&self, hash: &Hash) -> bool {
        self.state().damaged.contains(hash)
    }

    /// The damaged objects, sorted.
    pub fn damaged(&self) -> Vec<Hash> {
        let mut damaged: Vec<Hash> = self.state().damaged.iter().copied().collect();
        damaged.sort_unstable();
        damaged
    }

    /// The size of an object whose bytes are here, damaged or not.
    pub fn stored_size(&self, hash: &Hash) -> Option<u64> {
        let row = self.state().objects.get(hash).copied()?;
        (row.state != ObjectState::Evicting).then_some(row.size)
    }

    /// At most `most` objects after `after`, in the order of their hashes.
    pub fn objects_after(&self, after: Option<Hash>, most: usize) -> Vec<Hash> {
        let state = self.state();
        let next = state.objects.keys().filter(|hash| after.is_none_or(|after| **hash > after));
        let mut next: Vec<Hash> = next.copied().collect();
        drop(state);
        if next.len() > most {
            next.select_nth_unstable(most);
            next.truncate(most);
        }
        next.sort_unstable();
        next
    }
}
