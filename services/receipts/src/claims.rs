//! When receipts are claimed.

use std::collections::BTreeSet;
use std::time::Duration;

use octet_node::control::PublicKey;

use crate::book::AccountBook;
use crate::locks::Locks;
use crate::payee::{PayeeSession, PayeeSide, SentClaim};
use crate::receipt::SignedReceipt;

/// A claim that no block has had for so long is handed over again.
const CLAIM_PATIENCE: Duration = Duration::from_secs(60);

/// A claim that could wait is handed over only if it is worth so many fees.
const WORTH: u64 = 20;

/// What the ledger asks of claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRules {
    /// The hash of its genesis.
    pub genesis: [u8; 32],
    /// What a claim costs, in millionths of a coin.
    pub fee: u64,
    /// The interval of claims between the same keys.
    pub interval: Duration,
}

impl AccountBook {
    /// The receipts that are to be claimed now, at most one of each neighbour. They are claimed in the order of their
    /// epochs, because a claim of a later one ends those before.
    pub fn claims(&mut self, rules: &ClaimRules, now: Duration) -> Vec<SignedReceipt> {
        let mut claims = vec![];
        for (node, account) in &self.accounts {
            let Some(session) = self.sessions.get_mut(node) else { continue };
            claims.extend(account.payee.claim(&mut session.payee, &self.locks, rules, now));
        }
        claims
    }

    /// The keys whose receipts may still be claimed: their private keys are needed.
    pub fn claiming_keys(&self) -> BTreeSet<PublicKey> {
        let receipts = self.accounts.values().flat_map(|account| account.payee.ledger_receipts());
        receipts.filter(|it| self.locks.unpaid(it) > 0).map(|receipt| receipt.payee).collect()
    }
}

impl PayeeSide {
    /// The receipt that is to be claimed now.
    fn claim(
        &self,
        session: &mut PayeeSession,
        locks: &Locks,
        rules: &ClaimRules,
        now: Duration,
    ) -> Option<SignedReceipt> {
        // Of what is worth no fee nothing would be left.
        let oldest = self.epochs().find(|epoch| {
            let is_worth_a_fee = |it: SignedReceipt| locks.unpaid(it.receipt()) > rules.fee;
            epoch.terms.genesis == rules.genesis && epoch.receipt.is_some_and(is_worth_a_fee)
        })?;
        let signed = oldest.receipt?;
        let lock = locks.0.get(&signed.receipt().pair())?;
        let unpaid = locks.unpaid(signed.receipt());
        let payable = lock.payable(unpaid);
        if payable <= rules.fee {
            return None;
        }
        // From the start of this unit on.
        let since = now.saturating_sub(*session.claimed_at.get_or_insert(now));
        let is_closed = self.current.is_none_or(|current| current.epoch != oldest.epoch);
        // What is paid is served again within the day's limit; within the lock it is not.
        let is_day_used = lock.max_per_day < lock.locked && unpaid >= lock.max_per_day / 2;
        let is_worth = payable / WORTH >= rules.fee;
        let is_due =
            is_closed || !lock.is_open || (is_worth && (since >= rules.interval || is_day_used));
        // The same one waits for a block.
        let is_waiting = |sent: SentClaim| {
            let is_unpaid = locks.unpaid(sent.receipt.receipt()) > 0;
            is_unpaid && now.saturating_sub(sent.at) < CLAIM_PATIENCE
        };
        if !is_due || session.claim.is_some_and(is_waiting) {
            return None;
        }
        session.claimed_at = Some(now);
        session.claim = Some(SentClaim { receipt: signed, at: now });
        Some(signed)
    }
}
