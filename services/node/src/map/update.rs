//! What `cluster` tells the services of its node.

use serde::{Deserialize, Serialize};

use super::SignedMap;

/// The verb of `cluster` that returns an [`Update`], now and whenever there is a newer map. Updates are trusted
/// because `cluster` sends them; their signatures are verified as well.
pub const MAP: &str = "map";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// This node's number, once the coordinator has assigned it.
    pub number: Option<u8>,
    /// The newest map; `None` before the node was enrolled.
    pub map: Option<SignedMap>,
}
