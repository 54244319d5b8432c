//! Why an object is unavailable.

use crate::objects::ObjectError;

/// Why an object is unavailable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Missing {
    /// No reachable node has it.
    #[error("no node of this box has it: add it, or check the hash")]
    Nowhere,
    /// No reachable node has it, and some nodes do not answer.
    #[error("the nodes that answer do not have it, and {0} did not answer: ask again later")]
    Silent(usize),
    /// Neighbours that may have it serve this node no more for now.
    #[error("{0} neighbours serve no more to this node for now: ask again later")]
    Limited(usize),
    /// It is being fetched.
    #[error("it is being fetched from another node, and not here yet: ask again")]
    OnItsWay,
    /// Only other nodes than that of a private fetch may repair it.
    #[error(
        "it is damaged here, and is repaired from other nodes: `remove` it first to fetch it privately"
    )]
    Damaged,
    #[error("it was removed: add it again, or `get` it from another node")]
    Removed,
    /// The limit of concurrent fetches is reached.
    #[error("the maximum number of objects is being fetched: ask again in a moment")]
    Busy,
    /// This client's limit of concurrent fetches is reached.
    #[error("the maximum number of objects is being fetched for you: ask again in a moment")]
    BusyForOne,
    /// This node cannot store it.
    #[error(transparent)]
    Store(#[from] ObjectError),
}
