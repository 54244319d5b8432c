//! Coins of a ledger between the owners of boxes, and how they move.
//!
//! The crate is pure: it has no clock, file, socket or thread. The same blocks give the same state on every machine.

mod block;
mod genesis;
mod pending;
mod state;
mod transaction;

pub use block::{Block, BlockHash, InvalidBlock, MAX_BLOCK};
pub use genesis::Genesis;
pub use pending::PendingTransactions;
pub use state::{LedgerState, Validator};
pub use transaction::{InvalidTransaction, SignedTransaction};
