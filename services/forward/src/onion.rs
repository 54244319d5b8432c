//! The message that sets a path up, and those that change it: each hop can read its own part and no other.
//!
//! A set-up has eight slots of one size. Each of up to seven hops has one of them, at a random place; the
//! others are random bytes. A hop finds its slot, opens it with its onion key (HPKE, RFC 9180), and passes the
//! whole on with a key stream over all slots, its own emptied: no two wires carry the same bytes, and neither
//! the size nor the slots say how many hops there are or which one it is. The answers come back the same way:
//! each hop seals its own into its slot and lays another key stream over the rest. The pattern is that of
//! I2P's short tunnel build messages (proposal 157); what differs:
//!
//! - What seals a slot covers all other slots as they are to be when they arrive: the next hop refuses an
//!   altered set-up, and the source sees an altered answer, also where no answer is.
//! - A slot begins with a hint by which its hop finds it: eight bytes of a hash of its onion key and of the
//!   slot's own fresh key. Without it each hop had to try all slots with its old and its new key, 16 times
//!   X25519 for whatever bytes somebody sends. Who knows the onion key can compute the hint of a slot, but sees
//!   it only where no other hop's key stream lies over it: on the wire to its hop. There it tells the hop
//!   before, which knows whom it sends to, the number of the slot, which is random.
//!
//! What hops that work together can see all the same: the terms of a path, when it was set up, and the counter
//! of its changes are the same at each of them.

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

/// How many slots a message has.
pub const SLOTS: usize = 8;

/// The most hops of a path, its end included. One slot is always empty, so that not even the end of the
/// longest path can count.
pub const HOPS: usize = SLOTS - 1;

/// The bytes of a slot of a set-up.
const SLOT: usize = 144;

/// The bytes of a set-up, and of what comes back. With a header it fits into one datagram of 1280 bytes, the
/// least that IPv6 carries everywhere.
pub const SETUP: usize = SLOTS * SLOT;

/// A set-up, on its way out or back.
pub type SetUp = [u8; SETUP];

/// The bytes of a change: its counter, and a slot for each hop.
pub const CHANGE: usize = COUNTER + SLOTS * (PLAIN + keys::TAG);

/// The bytes of a change's counter.
const COUNTER: usize = 8;
