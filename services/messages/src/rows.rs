//! The stored state of a person, as rows.

use octet_node::control::PublicKey;
use serde::{Deserialize, Serialize};

/// The name of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RowName {
    /// The person's own keys, and the published state of each mailbox.
    Own,
    /// The prekeys of sessions that have not begun.
    Account,
    /// A contact, and the sessions with it.
    Peer(PublicKey),
    /// An unacknowledged text to a contact.
    Outgoing(PublicKey, u64),
    /// A text of a contact that arrived before an earlier one.
    Held(PublicKey, u64),
    /// A line of the history.
    History(u64),
}

impl RowName {
    /// Whether the row is permanent. All other rows must become unreadable once they are deleted.
    pub fn is_history(&self) -> bool {
        matches!(self, Self::History(_))
    }
}

/// A changed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRow {
    pub row: RowName,
    /// The new value; `None` if the row is deleted.
    pub value: Option<Vec<u8>>,
}

/// Encodes a value with postcard; only this program reads it.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    // Encoding fails only for maps of unknown length and the like, which no row has.
    postcard::to_stdvec(value).unwrap_or_default()
}

/// Decodes the result of [`encode`].
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}
