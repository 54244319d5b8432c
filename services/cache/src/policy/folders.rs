//! Folders that an operator has pinned: their objects stay as long as they are.

use std::collections::HashSet;

use iroh_blobs::Hash;

use super::pins::Pins;
use super::rows::{ObjectRow, ObjectState, RowChange};
use super::{CachePolicy, broken, cost};
use crate::objects::ObjectError;

impl CachePolicy {
    /// Pins the `objects` of a folder, which include the folder itself, all or none of them.
    ///
    /// # Errors
    /// One of them is not here, or writing fails.
    pub fn pin_folder(&self, folder: Hash, objects: &HashSet<Hash>) -> Result<(), ObjectError> {
        let _writing = self.writing();
        let state = self.state();
        let (mut changes, mut rows) = (vec![RowChange::PinnedFolder(folder)], vec![]);
        for hash in objects {
            let row = *state.served(hash).ok_or(ObjectError::Absent(*hash))?;
            if !row.pins().folder {
                let pins = Pins { folder: true, ..row.pins() };
                rows.push((*hash, ObjectRow { state: ObjectState::Pinned(pins), ..row }));
            }
        }
        drop(state);
        changes.extend(rows.iter().map(|(hash, row)| RowChange::Put(*hash, *row)));
        self.rows.change(&changes).map_err(broken)?;
        let mut state = self.state();
        state.folders.insert(folder);
        for (hash, row) in rows {
            let before = state.objects.insert(hash, row);
            if before.is_some_and(|before| matches!(before.state, ObjectState::Loose(_))) {
                state.queues.remove(&hash);
                state.pinned += cost(row.size);
            }
        }
        Ok(())
    }

    /// Ends that a folder is pinned. What is `released` is pinned by no other folder. Returns whether it was pinned.
    ///
    /// # Errors
    /// Writing fails.
    pub fn unpin_folder(
        &self,
        folder: Hash,
        released: &HashSet<Hash>,
    ) -> Result<bool, ObjectError> {
        let _writing = self.writing();
        let state = self.state();
        if !state.folders.contains(&folder) {
            return Ok(false);
        }
        let (mut changes, mut rows) = (vec![RowChange::UnpinnedFolder(folder)], vec![]);
        let mut loose = 0;
        for hash in released {
            let Some(row) = state.objects.get(hash).filter(|row| row.pins().folder) else {
                continue;
            };
            let rest = Pins { folder: false, ..row.pins() };
            let next = match rest == Pins::default() {
                true => {
                    // They enter the queues one after the other.
                    let mut position = state.queues.initial_position(hash);
                    position.number += loose;
                    loose += 1;
                    ObjectState::Loose(position)
                }
                false => ObjectState::Pinned(rest),
            };
            rows.push((*hash, ObjectRow { state: next, ..*row }));
        }
        drop(state);
        changes.extend(rows.iter().map(|(hash, row)| RowChange::Put(*hash, *row)));
        self.rows.change(&changes).map_err(broken)?;
        let mut state = self.state();
        state.folders.remove(&folder);
        for (hash, row) in rows {
            state.objects.insert(hash, row);
            if matches!(row.state, ObjectState::Loose(_)) {
                state.pinned -= cost(row.size);
                state.queues.insert(hash, cost(row.size));
            }
        }
        Ok(true)
    }

    /// The folders that are pinned.
    pub fn pinned_folders(&self) -> Vec<Hash> {
        self.state().folders.iter().copied().collect()
    }

    /// Whether it is a folder that is pinned.
    pub fn is_pinned_folder(&self, hash: &Hash) -> bool {
        self.state().folders.contains(hash)
    }

    /// What is pinned by folders.
    pub fn in_pinned_folders(&self) -> HashSet<Hash> {
        let state = self.state();
        let pinned = state.objects.iter().filter(|(_, row)| row.pins().folder);
        pinned.map(|(hash, _)| *hash).collect()
    }
}
