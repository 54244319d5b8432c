//! The history: what was written and received, in the order in which it was.

use octet_node::control::PublicKey;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub peer: PublicKey,
    /// Whether the other has written it.
    pub received: bool,
    /// The how-manieth text from the one to the other it is.
    pub number: u64,
    /// When it was written, by the clock of who did, in seconds since 1970.
    pub written: u64,
    pub text: String,
}
