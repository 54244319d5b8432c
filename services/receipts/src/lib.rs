//! What a box owes its neighbours for carried bytes and for objects, and what they owe it.
//!
//! A box (the payer) that asked a neighbour (the payee) for paths pays it for the bytes of both directions, by
//! the payer's own counters. It signs one receipt that grows ([`SignedReceipt`]); the payee serves at most a
//! window of bytes beyond what is signed. Each box is payer towards a neighbour for what it bought, and payee for
//! what it served, independently; an account has both sides. Objects have accounts of their own beside those of carriage
//! ([`ServiceKind`]). Either the owners settle outside of the system, and the
//! payee then says so ([`Settlement`]); or receipts are for a ledger, where the payee claims them, and what the payer's
//! owner has locked there bounds what is served ([`LockState`]).
//!
//! The crate is pure: it has no clock, file, socket or thread. Its caller passes counters, messages and time of a
//! monotonic clock to [`AccountBook`], writes its bytes to the disk, and sends its messages.

mod account;
mod agreement;
mod book;
mod claims;
mod locks;
mod message;
mod payee;
mod payer;
mod receipt;
mod refused;
mod row;
mod settlement;
mod sharing;
mod stored;
mod terms;

pub use account::{AccountId, NeighbourCounters};
pub use agreement::Agreement;
pub use book::{AccountBook, MAX_ACCOUNTS};
pub use claims::ClaimRules;
pub use locks::{KeyPair, LockQueries, LockState, PaidClaim};
pub use message::{AccountMessage, MAX_MESSAGE, Offer};
pub use receipt::{InvalidReceipt, Receipt, SignedReceipt, is_strong};
pub use refused::{AccountError, Refused};
pub use row::{AccountRow, PayeeState, PayerState};
pub use settlement::Settlement;
pub use terms::{AccountTerms, ServiceKind, UNIT_BYTES, cost};

/// The unit whose certified keys sign receipts and settlements.
pub const UNIT: &str = "accounts";
