//! Limits of messages, mailboxes and persons.

use std::time::Duration;

pub const MAX_MAILBOXES: usize = 3;

pub const MAX_ADDRESSES: usize = 3;

/// The maximum size of a text, in bytes.
pub const MAX_TEXT: usize = 32 << 10;

/// The maximum size of an envelope, in bytes: a text, and its overhead.
pub const MAX_ENVELOPE: usize = 64 << 10;

/// The number of one-time keys in a mailbox.
pub const ONE_TIME_KEYS: usize = 50;

/// At this number of remaining keys, more are uploaded.
pub const LOW_ONE_TIME_KEYS: usize = 25;

/// The maximum size of a request, in bytes.
pub const MAX_REQUEST: usize = 128 << 10;

/// The maximum size of an answer, in bytes.
pub const MAX_ANSWER: usize = 512 << 10;

/// The maximum size of a batch of fetched messages in bytes, unless the first one alone is larger.
pub const MAX_BATCH: usize = 256 << 10;

/// The maximum number of rounds of one fetch: more than a full mailbox of 8 MiB needs.
pub const MAX_ROUNDS: usize = 64;

/// The time after which one fetch or delivery starts no further round with a mailbox. A round takes
/// four answers at most, so a fetch or a delivery ends within five minutes per mailbox, however
/// slow the answers are.
pub const MAILBOX_TIMEOUT: Duration = Duration::from_secs(4 * 60);

/// The time after which a mailbox answers a client that waits for messages, if there are none.
pub const MAX_WAIT: Duration = Duration::from_secs(5 * 60);

/// The maximum number of contacts.
pub const MAX_CONTACTS: usize = 512;

/// The maximum number of unacknowledged texts per contact.
pub const MAX_OUTBOX: usize = 1000;

/// The maximum size of a node's unacknowledged answers to one contact in bytes, plain and sealed.
pub const MAX_ANSWERS_PER_CONTACT: usize = 1 << 20;

/// The same for all contacts together: a node keeps them in memory.
pub const MAX_ANSWERS: usize = 8 << 20;

/// The maximum number of texts per contact that wait for a missing earlier one.
pub const MAX_HELD: usize = 256;

/// The maximum number of sessions per contact: several exist if both sides have started one.
pub const MAX_SESSIONS: usize = 4;

/// The time in seconds without an acknowledgement after which texts are deposited again.
pub const RESEND_INTERVAL: u64 = 24 * 3600;

/// The minimum interval in seconds between requests to seal texts anew.
pub const REQUEST_INTERVAL: u64 = 12 * 3600;

/// The lifetime of a fallback key, in seconds.
pub const FALLBACK_INTERVAL: u64 = 7 * 24 * 3600;
