//! What is given at most.

use std::time::Duration;

pub const PLACES: usize = 3;

pub const ADDRESSES: usize = 3;

/// A letter's text, in bytes.
pub const TEXT: usize = 32 << 10;

/// The largest envelope, in bytes: a text, and all that goes with it.
pub const ENVELOPE: usize = 64 << 10;

/// One-time keys that lie in a mailbox at once.
pub const ONE_TIME: usize = 50;

/// When so few of them are left there are to be more.
pub const FEW: usize = 25;

/// A request, in bytes.
pub const REQUEST: usize = 128 << 10;

/// An answer, in bytes.
pub const ANSWER: usize = 512 << 10;

/// Bytes of letters that are fetched at once, unless the first alone is larger.
pub const BATCH: usize = 256 << 10;

/// How often a mailbox is asked for letters in one fetch: more than a full one of 8 MiB takes.
pub const ROUNDS: usize = 64;

/// After so long one mailbox is not asked once more in one fetch, nor in one delivery. One more time takes four answers at
/// most, so either ends within five minutes for each mailbox, however slow each of its answers is.
pub const MAILBOX_TIME: Duration = Duration::from_secs(4 * 60);

/// Those to whom a person has written, or who have written to it.
pub const PEERS: usize = 512;

/// Letters to one peer of which it has not said yet that it has them.
pub const OUTBOX: usize = 1000;

/// Bytes of a node's answers to one peer that has not said that it has them, as text and sealed.
pub const ANSWERS_OF_ONE: usize = 1 << 20;

/// The same, to all peers together: a node has them in memory.
pub const ANSWERS: usize = 8 << 20;

/// Letters of one peer that came before one that is missing.
pub const HELD: usize = 256;

/// Sessions with one peer: there are several after both have written first.
pub const SESSIONS: usize = 4;

/// After so many seconds without a word of the peer its letters are given to a mailbox once more.
pub const AGAIN: u64 = 24 * 3600;

/// So many seconds pass before somebody is asked once more to seal letters anew.
pub const ASK: u64 = 12 * 3600;

/// So many seconds lives a fallback key.
pub const FALLBACK: u64 = 7 * 24 * 3600;
