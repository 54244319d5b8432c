//! When receipts are claimed.

use std::collections::BTreeSet;
use std::time::Duration;

use octet_node::control::PublicKey;

use crate::book::AccountBook;
use crate::locks::Locks;
use crate::payee::{PayeeSession, PayeeSide, SentClaim};
use crate::receipt::{Receipt, SignedReceipt};

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
    /// The receipts that are to be claimed now, at most one of each account. They are claimed in the order of their
    /// epochs, because a claim of a later one ends those before. Kinds do not wait for each other: each has scopes of its own.
    pub fn claims(&mut self, rules: &ClaimRules, now: Duration) -> Vec<SignedReceipt> {
        let mut claims = vec![];
        for (id, account) in &self.accounts {
            let other = self.accounts.get(&id.other()).map(|it| &it.payee);
            let Some(session) = self.sessions.get_mut(id) else { continue };
            let payee = &mut session.payee;
            claims.extend(account.payee.claim(payee, other, &self.locks, rules, now));
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
        other: Option<&Self>,
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
        // What is paid is served again within the day's limit, which is for both kinds; within the lock it is not.
        let of_pair = |it: &Receipt| it.pair() == signed.receipt().pair();
        let all = self.ledger_receipts().chain(other.into_iter().flat_map(Self::ledger_receipts));
        let unpaid_of_pair =
            all.filter(|it| of_pair(it)).fold(0u64, |sum, it| sum.saturating_add(locks.unpaid(it)));
        let is_day_used = lock.max_per_day < lock.locked && unpaid_of_pair >= lock.max_per_day / 2;
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
