//! Why an object is unavailable or cannot be stored.

use iroh_blobs::Hash;

/// Why an object is unavailable or cannot be stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ObjectError {
    /// The reserved disk space is reached.
    #[error(
        "the disk has {free} bytes left, and {reserve} of them stay free: use a node with more room"
    )]
    Full {
        /// In bytes.
        free: u64,
        /// In bytes.
        reserve: u64,
    },
    /// The quota is used up by pinned objects.
    #[error(
        "the quota of {quota} bytes has no room for it: {used} are used, and {pinned} of these pinned: unpin or remove objects, or set a higher `quota` in `[cache]`"
    )]
    Quota {
        /// In bytes.
        quota: u64,
        /// In bytes.
        used: u64,
        /// In bytes.
        pinned: u64,
    },
    /// An operator has removed it, and only an operator can restore it.
    #[error(
        "an operator has removed this object from this node: only an operator can add it again"
    )]
    Removed,
    /// It has another content than this hash says.
    #[error("its content is not that of {0}")]
    Mismatch(Hash),
    /// It is not on this node.
    #[error("{0} is not on this node, or damaged")]
    Absent(Hash),
    /// Only so much was wanted of it that it cannot be what it was taken for.
    #[error("{hash} has {size} bytes, which are too many")]
    TooLarge { hash: Hash, size: u64 },
    /// The maximum number of public objects is reached.
    #[error("{most} objects are public, and no more can be: `public --off` one of them first")]
    Public { most: usize },
    /// The transfer or the disk failed.
    #[error("{0}")]
    Broken(String),
}
