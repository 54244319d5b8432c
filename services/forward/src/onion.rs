//! Onion-encrypted messages that set up and change a path: each hop can decrypt its own part only.
//!
//! A set-up has eight slots of one size. Each of up to seven hops has one of them, at a random place; the
//! others are random bytes. A hop finds its slot, decrypts it with its onion key (HPKE, RFC 9180), empties it,
//! applies a key stream to all slots, and forwards the message. So no two links carry the same bytes, and
//! neither the size nor the slots reveal the number of hops or the hop's position. The answers return the same
//! way: each hop seals its answer into its slot and applies another key stream to the others. The pattern is
//! that of I2P's short tunnel build messages (proposal 157); what differs:
//!
//! - The seal of a slot authenticates all other slots in their expected state: the next hop refuses an altered
//!   set-up, and the source detects any altered answer, in unused slots too.
//! - A slot begins with a hint by which its hop finds it: eight bytes of a hash of the hop's onion key and the
//!   slot's ephemeral key. Without it, each hop would have to try all slots with its old and its new key, 16
//!   X25519 operations for arbitrary bytes. Anybody who knows the public onion key can compute the hint, but
//!   sees it only where no other key stream covers it: on the link to its hop. There it reveals the slot's
//!   number, which is random, to the previous hop, which knows the receiver anyway.
//!
//! Colluding hops can still correlate a path: its terms, its time of set-up, and the counter of its changes are
//! the same at each of them.

mod change;
mod changes;
mod hop;
mod keys;
mod record;
mod session;
mod slots;
mod source;
#[cfg(test)]
mod tests;

pub use change::{HopChange, PLAIN};
pub use changes::HopChanges;
pub use hop::{HopError, OpenedSetup, ReplyKey, open};
pub use keys::OnionSecret;
pub use record::{ANSWER, HopGrant, HopRecord, HopReply, HopRole, RECORD, Reason, Terms};
pub use session::{HopSession, SESSION};
pub use source::{Granted, InvalidHops, PathFailure, Pending, PlannedHop, build};

/// The number of slots in a message.
pub const SLOTS: usize = 8;

/// The maximum number of hops of a path, its end included. One slot always stays empty, so that not even the
/// end of the longest path can count the hops.
pub const HOPS: usize = SLOTS - 1;

/// The size of a set-up's slot, in bytes.
const SLOT: usize = 144;

/// The size of a set-up, and of its answer, in bytes. With headers it fits into a datagram of 1280 bytes, the
/// minimum MTU of IPv6.
pub const SETUP: usize = SLOTS * SLOT;

/// A set-up, or its answer.
pub type SetUp = [u8; SETUP];

/// The size of a change in bytes: its counter, and a slot for each hop.
pub const CHANGE: usize = COUNTER + SLOTS * (PLAIN + keys::TAG);

/// The size of a change's counter, in bytes.
const COUNTER: usize = 8;
