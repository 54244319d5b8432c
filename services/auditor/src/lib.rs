//! Recomputes a ledger from its genesis file, its blocks, and the votes for them, and finds the first thing that does
//! not add up.
//!
//! An auditor trusts no validator, and no node. So this crate shares no code with those that decide about blocks
//! (`octet-coins`, `octet-receipts`, `octet-ledger`): a mistake that they have in common with it would have to be made
//! twice. It is slower and simpler: after each block it calculates the hash of the whole state again. It is pure: it
//! has no file, socket or clock.

mod audit;
mod books;
mod certificate;
mod difference;
mod encoding;
mod ends;
mod genesis;
mod pool;
mod rules;
mod signatures;

pub use audit::{Audit, AuditSummary};
pub use difference::{BrokenRule, Difference, Mismatch};
pub use genesis::AuditError;

use ring::digest::{SHA256, digest};

/// A public key, a hash, or a scope.
type Bytes32 = [u8; 32];

fn sha256(bytes: &[u8]) -> Bytes32 {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
