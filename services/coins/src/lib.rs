//! Coins of a ledger between the owners of boxes, and how they move.
//!
//! The owners of at least four boxes agree on blocks of transactions. An owner transfers coins, binds the keys of its
//! boxes' units `accounts`, and locks coins for a neighbour's key; the neighbour claims them with receipts
//! (`octet-receipts`). Time is the height of the ledger: no clock decides anything.
//!
//! The crate is pure: it has no clock, file, socket or thread. The same blocks give the same state on every machine.
//! It decides which blocks are valid. Which of the valid ones is next, the validators' votes decide elsewhere.

mod action;
mod block;
mod genesis;
mod invalid;
mod pending;
mod possession;
mod state;
mod transaction;

pub use action::{Action, VotedChange};
pub use block::{Block, BlockHash, InvalidBlock, MAX_BLOCK, MAX_TRANSACTIONS};
pub use genesis::{
    Genesis, GenesisError, GenesisProblem, LedgerParameters, MAX_COINS, MAX_VALIDATORS,
    MIN_VALIDATORS, PoolParameters,
};
pub use invalid::InvalidTransaction;
pub use pending::{MAX_PENDING, MAX_WAITING, PendingTransactions};
pub use possession::Possession;
pub use state::{
    BoundKey, ClaimedReceipt, CoinLock, KeyState, LedgerState, MAX_MEMBERS, OwnerAccount,
    OwnerEarnings, PoolPeriod, Validator,
};
pub use transaction::{MAX_TRANSACTION, SignedTransaction, Transaction, TransactionHash};

use ring::digest::{SHA256, digest};

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
