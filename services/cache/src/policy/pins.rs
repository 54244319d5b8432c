//! Why objects are not evicted: an operator has pinned them or a folder with them, or a `[[keep]]` wants them here.

use iroh_blobs::Hash;

use super::rows::{ObjectRow, ObjectState, RowChange};
use super::{CachePolicy, broken, cost};
use crate::objects::ObjectError;

/// Who pins an object. In a row at least one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pins {
    pub operator: bool,
    /// A `[[keep]]` of which this node is to have a copy.
    pub keep: bool,
    /// A folder that an operator has pinned.
    pub folder: bool,
}

/// What can pin an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinnedBy {
    Operator,
    /// A `[[keep]]`.
    Keep,
}

impl CachePolicy {
    /// Whether it is here, and pinned by an operator, by itself or with a folder.
    pub fn is_pinned(&self, hash: &Hash) -> bool {
        let pins = self.pins(hash);
        pins.operator || pins.folder
    }

    /// Whether it is here, and pinned by a `[[keep]]`.
    pub fn is_kept(&self, hash: &Hash) -> bool {
        self.pins(hash).keep
    }

    fn pins(&self, hash: &Hash) -> Pins {
        self.state().served(hash).map_or(Pins::default(), ObjectRow::pins)
    }

    /// What a `[[keep]]` pins here.
    pub fn kept(&self) -> Vec<Hash> {
        let state = self.state();
        let kept = state.objects.iter().filter(|(_, row)| row.pins().keep);
        kept.map(|(hash, _)| *hash).collect()
    }

    /// Ends what pins an object: an operator, or a `[[keep]]`. It becomes evictable if nothing else
    /// pins it. Returns whether it is on this node.
    ///
    /// # Errors
    /// Writing fails.
    pub fn unpin(&self, hash: Hash, by: PinnedBy) -> Result<bool, ObjectError> {
        let _writing = self.writing();
        let state = self.state();
        let Some(ObjectRow { size, state: current }) = state.objects.get(&hash).copied() else {
            return Ok(false);
        };
        let pins = match current {
            ObjectState::Evicting => return Ok(false),
            ObjectState::Loose(_) => return Ok(true),
            ObjectState::Pinned(pins) => pins,
        };
        let rest = match by {
            PinnedBy::Operator => Pins { operator: false, ..pins },
            PinnedBy::Keep => Pins { keep: false, ..pins },
        };
        let is_loose = rest == Pins::default();
        let next = match is_loose {
            true => ObjectState::Loose(state.queues.initial_position(&hash)),
            false => ObjectState::Pinned(rest),
        };
        let row = ObjectRow { size, state: next };
        drop(state);
        self.rows.change(&[RowChange::Put(hash, row)]).map_err(broken)?;
        let mut state = self.state();
        if is_loose {
            state.pinned -= cost(size);
            state.queues.insert(hash, cost(size));
        }
        state.objects.insert(hash, row);
        Ok(true)
    }
}
