//! The pool: fees of a settlement period go to the owners of its members, by what claims have paid to these.
//!
//! No coins are made: a payout comes out of the pot.

use octet_node::control::PublicKey;

use super::LedgerState;
use super::draft::Draft;
use super::row::{BoundKey, KeyState, LedgerRow, OwnerEarnings, PeriodSums, RowKey};
use super::tree::RowGroup;
use crate::action::VotedChange;
use crate::genesis::{PoolParameters, part};
use crate::invalid::InvalidTransaction;

/// The maximum number of the pool's members.
pub const MAX_MEMBERS: usize = 1024;

/// The settlement period of the next height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolPeriod {
    /// The first one has 1.
    pub number: u64,
    pub first_height: u64,
    /// After the block of this height it is paid.
    pub last_height: u64,
    /// The most that is paid for it, in millionths of a coin, whatever the fees are.
    pub schedule: u64,
    /// Fees and levies so far, in millionths of a coin.
    pub fees: u64,
    /// What all claims have paid so far, in millionths of a coin.
    pub work: u64,
}

impl PoolPeriod {
    /// What is paid for the period if it ends like this.
    pub fn payout(&self, parameters: &PoolParameters) -> u64 {
        part(self.fees, parameters.fees_percent, 100).min(self.schedule)
    }
}

impl LedgerState {
    /// The settlement period of the next height; `None` if the ledger has no pool.
    pub fn period(&self) -> Option<PoolPeriod> {
        Draft::new(self).pool_period()
    }

    /// Owners and nodes, in their order.
    pub fn members(&self) -> impl Iterator<Item = (PublicKey, PublicKey)> {
        self.tree.group(RowGroup::Members).filter_map(|key| match key {
            RowKey::Member(owner, node) => Some((*owner, *node)),
            _ => None,
        })
    }

    /// What an owner earns in this settlement period, and what the last one brought it.
    pub fn earnings(&self, owner: &PublicKey) -> OwnerEarnings {
        Draft::new(self).earnings(owner)
    }

    /// What the pool has paid for the last settlement period, in millionths of a coin.
    pub fn last_payout(&self) -> u64 {
        let earners = self.tree.group(RowGroup::Earnings).filter_map(|key| self.tree.get(key));
        earners.fold(0, |sum, row| match row {
            LedgerRow::Earnings(it) => sum.saturating_add(it.last_pool),
            _ => sum,
        })
    }
}

impl Draft<'_> {
    /// Adds fees to the pot, and to those of the period.
    pub(super) fn collect(&mut self, amount: u64) -> Result<(), InvalidTransaction> {
        if amount == 0 {
            return Ok(());
        }
        let pot = self.pot().checked_add(amount).ok_or(InvalidTransaction::Overflow)?;
        self.put(RowKey::Pot, LedgerRow::Pot(pot));
        if self.state.parameters().pool.is_some() {
            let sums = self.period_sums();
            let fees = sums.fees.checked_add(amount).ok_or(InvalidTransaction::Overflow)?;
            self.put(RowKey::Period, LedgerRow::Period(PeriodSums { fees, ..sums }));
        }
        Ok(())
    }

    /// What of a claim's payment goes to the fees.
    pub(super) fn levy(&self, payment: u64) -> u64 {
        self.state.parameters().pool.map_or(0, |pool| pool.levy(payment))
    }

    /// Notes what a claim has paid to a key, of which the levy went to the fees.
    ///
    /// All claims count for the whole; for an owner count those to open keys of its members. Work beyond 2^64 - 1
    /// does not count at all, so that nobody's part is more than the whole.
    pub(super) fn count_work(&mut self, payee: &BoundKey, payment: u64, levy: u64) {
        if self.state.parameters().pool.is_none() {
            return;
        }
        let sums = self.period_sums();
        let mut earnings = self.earnings(&payee.owner);
        earnings.claims = earnings.claims.saturating_add(payment.saturating_sub(levy));
        if let Some(work) = sums.work.checked_add(payment) {
            self.put(RowKey::Period, LedgerRow::Period(PeriodSums { work, ..sums }));
            if payee.state == KeyState::Open && self.is_member(&payee.owner, &payee.node) {
                earnings.work = earnings.work.saturating_add(payment);
            }
        }
        self.put(RowKey::Earnings(payee.owner), LedgerRow::Earnings(earnings));
    }

    pub(super) fn pool_period(&self) -> Option<PoolPeriod> {
        let parameters = self.state.parameters();
        let (heights, sums) = (parameters.settlement_heights.max(1), self.period_sums());
        let before = self.height.saturating_sub(1) / heights;
        let number = before.saturating_add(1);
        Some(PoolPeriod {
            number,
            first_height: before.saturating_mul(heights).saturating_add(1),
            last_height: number.saturating_mul(heights),
            schedule: parameters.pool?.schedule(number),
            fees: sums.fees,
            work: sums.work,
        })
    }

    /// Pays for the period, if it ends at this height.
    pub(super) fn settle(&mut self) -> Result<(), InvalidTransaction> {
        let Some(pool) = self.state.parameters().pool else { return Ok(()) };
        let Some(period) = self.pool_period().filter(|it| it.last_height == self.height) else {
            return Ok(());
        };
        let mut pot = self.pot();
        let payout = period.payout(&pool).min(pot);
        let of_one = part(payout, pool.owner_percent, 100);
        let keys: Vec<_> = self.state.tree.group(RowGroup::Earnings).copied().collect();
        for key in keys {
            let RowKey::Earnings(owner) = key else { continue };
            let earned = self.earnings(&owner);
            let paid = part(payout, earned.work, period.work).min(of_one);
            if paid > 0 {
                pot = pot.checked_sub(paid).ok_or(InvalidTransaction::Overflow)?;
                self.credit(&owner, paid)?;
            }
            let last =
                OwnerEarnings { work: 0, claims: 0, last_claims: earned.claims, last_pool: paid };
            match last == OwnerEarnings::default() {
                true => self.delete(key),
                false => self.put(key, LedgerRow::Earnings(last)),
            }
        }
        match pot {
            0 => self.delete(RowKey::Pot),
            _ => self.put(RowKey::Pot, LedgerRow::Pot(pot)),
        }
        self.delete(RowKey::Period);
        Ok(())
    }

    /// Whether a member can be admitted or removed now.
    pub(super) fn check_member(&self, change: &VotedChange) -> Result<(), InvalidTransaction> {
        if self.state.parameters().pool.is_none() {
            return Err(InvalidTransaction::NoPool);
        }
        match change {
            VotedChange::AddMember { owner, node } if self.is_member(owner, node) => {
                Err(InvalidTransaction::IsMember)
            }
            // Members change only after all transactions of a block.
            VotedChange::AddMember { .. } if self.state.members().count() >= MAX_MEMBERS => {
                Err(InvalidTransaction::TooManyMembers)
            }
            VotedChange::RemoveMember { owner, node } if !self.is_member(owner, node) => {
                Err(InvalidTransaction::NotMember)
            }
            _ => Ok(()),
        }
    }
}
