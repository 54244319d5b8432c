//! What a ledger has of the receipts of this node and its neighbours.

use std::collections::{BTreeMap, BTreeSet};

use octet_node::control::PublicKey;

use crate::receipt::Receipt;

/// A payer's key and a payee's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPair {
    pub payer: PublicKey,
    pub payee: PublicKey,
}

/// Whose locks and claims a node has to know, with the scopes of its receipts.
pub type LockQueries = BTreeMap<KeyPair, BTreeSet<[u8; 32]>>;

/// What a ledger has between two keys. Amounts are in millionths of a coin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockState {
    /// What the payer's owner has locked for the payee's key, and was not paid yet.
    pub locked: u64,
    /// The most that is paid with the payer's key in a day of heights, and what is left of it.
    pub max_per_day: u64,
    pub day_left: u64,
    /// Whether both keys are open, and the lock is not withdrawn. Otherwise nothing more is served for it.
    pub is_open: bool,
    /// The newest claimed receipt of each scope.
    pub claims: BTreeMap<[u8; 32], PaidClaim>,
}

/// The newest receipt of a scope that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaidClaim {
    pub epoch: u64,
    /// What was paid of it.
    pub paid: u64,
}

impl LockState {
    /// How much may be signed and not paid.
    fn limit(&self) -> u64 {
        if self.is_open { self.locked.min(self.max_per_day) } else { 0 }
    }

    /// What a claim would be paid now.
    pub(crate) fn payable(&self, unpaid: u64) -> u64 {
        unpaid.min(self.locked).min(self.day_left)
    }
}

/// The states of all locks that are known.
#[derive(Debug, Default)]
pub(crate) struct Locks(pub BTreeMap<KeyPair, LockState>);

impl Locks {
    /// What of `receipt` is not paid and can still be. A claim of a later epoch has ended this one.
    pub fn unpaid(&self, receipt: &Receipt) -> u64 {
        let claim = self.0.get(&receipt.pair()).and_then(|lock| lock.claims.get(&receipt.scope));
        match claim {
            Some(claim) if claim.epoch > receipt.epoch => 0,
            Some(claim) if claim.epoch == receipt.epoch => {
                receipt.amount.saturating_sub(claim.paid)
            }
            _ => receipt.amount,
        }
    }

    /// How much more may be signed between these keys, beside what of `receipts` is not paid; `None`: already more is
    /// signed.
    pub fn credit<'a>(
        &self,
        pair: KeyPair,
        receipts: impl Iterator<Item = &'a Receipt>,
    ) -> Option<u64> {
        let unpaid = receipts
            .filter(|receipt| receipt.pair() == pair)
            .fold(0u64, |sum, receipt| sum.saturating_add(self.unpaid(receipt)));
        self.0.get(&pair).map_or(0, LockState::limit).checked_sub(unpaid)
    }
}
