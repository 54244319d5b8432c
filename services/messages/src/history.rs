//! The history: sent and received texts, in order.

use octet_node::control::PublicKey;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub peer: PublicKey,
    /// Whether the text was received.
    pub received: bool,
    /// The number of the text in its direction.
    pub number: u64,
    /// The time of writing, by the sender's clock, in seconds since 1970.
    pub written: u64,
    pub text: String,
}
