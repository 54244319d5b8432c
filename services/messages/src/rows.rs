//! What a person keeps, row by row.

use octet_node::control::PublicKey;
use serde::{Deserialize, Serialize};

/// The name of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RowName {
    /// Its own keys, and what it has told its mailbox.
    Own,
    /// The keys of sessions that have not begun.
    Account,
    /// Somebody else, and the sessions with them.
    Peer(PublicKey),
    /// A letter to somebody, who has not said yet that it has come.
    Outgoing(PublicKey, u64),
    /// A letter of somebody that came before one that is missing.
    Held(PublicKey, u64),
    /// A line of the history.
    History(u64),
}

impl RowName {
    /// Whether it stays for good. What does not is to be unreadable once it is gone.
    pub fn is_history(&self) -> bool {
        matches!(self, Self::History(_))
    }
}

/// A row that is other than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRow {
    pub row: RowName,
    /// What is in it now; `None` if it is gone.
    pub value: Option<Vec<u8>>,
}

/// The encoding of what is in a row: postcard, which is read by this program alone.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    // It fails for maps of unknown length and the like, of which there are none.
    postcard::to_stdvec(value).unwrap_or_default()
}

/// Reads what [`encode`] has made.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}
