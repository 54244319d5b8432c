//! The rules about the pool a second time: sums over all that was ever paid.

use std::collections::BTreeMap;

use octet_coins::{LedgerState, OwnerEarnings, PoolParameters};
use octet_node::control::PublicKey;

use crate::evaluator::Evaluator;

/// What a claim has paid to an owner.
#[derive(Clone, Copy)]
pub struct Carried {
    pub height: i128,
    pub owner: PublicKey,
    pub payment: i128,
    pub levy: i128,
    /// Whether it was to an open key of a member.
    pub is_members: bool,
}

impl Evaluator {
    /// What of a payment goes to the fees.
    pub fn levy(&self, payment: i128) -> i128 {
        self.parameters.pool.map_or(0, |it| payment * i128::from(it.levy_permille) / 1000)
    }

    fn settlement(&self) -> i128 {
        self.parameters.settlement_heights.into()
    }

    /// Whether a height is in the settlement period that ends at `last`.
    fn is_of(&self, height: i128, last: i128) -> bool {
        height <= last && height > last - self.settlement()
    }

    /// All fees of the period that ends at `last`, and all that claims have paid in it.
    fn sums(&self, last: i128) -> (i128, i128) {
        let fees = self.fee_history.iter().filter(|it| self.is_of(it.0, last)).map(|it| it.1);
        let work = self.carried.iter().filter(|it| self.is_of(it.height, last));
        (fees.sum(), work.map(|it| it.payment).sum())
    }

    /// What an owner has carried with its members, and what all of its claims have brought it.
    fn of_owner(&self, owner: &PublicKey, last: i128) -> (i128, i128) {
        let all = self.carried.iter().filter(|it| it.owner == *owner);
        let all: Vec<_> = all.filter(|it| self.is_of(it.height, last)).collect();
        let carried = all.iter().filter(|it| it.is_members).map(|it| it.payment).sum();
        (carried, all.iter().map(|it| it.payment - it.levy).sum())
    }

    fn payout(&self, pool: &PoolParameters, last: i128) -> i128 {
        let number = last / self.settlement();
        let halvings = (number - 1).checked_div(pool.halving_periods.into()).unwrap_or(0);
        let schedule = (0..halvings).fold(i128::from(pool.per_period), |it, _| it / 2);
        let (fees, _) = self.sums(last);
        (fees * i128::from(pool.fees_percent) / 100).min(schedule).min(self.fees)
    }

    /// Pays for the period that ends at this height.
    pub fn settle(&mut self) {
        let (Some(pool), last) = (self.parameters.pool, self.height) else { return };
        if last % self.settlement() != 0 {
            return;
        }
        let (payout, (_, whole)) = (self.payout(&pool, last), self.sums(last));
        self.payouts = BTreeMap::new();
        for owner in self.balances.keys().copied().collect::<Vec<_>>() {
            let (carried, _) = self.of_owner(&owner, last);
            if carried > 0 {
                let most = payout * i128::from(pool.owner_percent) / 100;
                let by_work = payout * carried / whole;
                let share = by_work.min(most);
                self.capped += u64::from(by_work > most);
                self.payouts.insert(owner, share);
                *self.balances.get_mut(&owner).unwrap() += share;
                self.fees -= share;
            }
        }
        let paid: i128 = self.payouts.values().sum();
        assert!(paid <= payout && paid <= i128::from(pool.per_period));
    }

    /// Whether the newest block has ended a period.
    pub fn has_settled(&self) -> bool {
        self.parameters.pool.is_some() && (self.height - 1) % self.settlement() == 0
    }

    /// The height is that of the next block.
    pub fn compare_pool(&self, state: &LedgerState) {
        let members: Vec<_> = state.members().collect();
        assert_eq!(members, self.members.iter().copied().collect::<Vec<_>>());
        let Some(pool) = self.parameters.pool else {
            assert_eq!(state.period(), None);
            assert!(state.rows().all(|(key, _)| key[0] < 10));
            return;
        };
        let newest = self.height - 1;
        let last_end = newest - newest % self.settlement();
        let (fees, work) = self.sums(last_end + self.settlement());
        let period = state.period().unwrap();
        assert_eq!((i128::from(period.fees), i128::from(period.work)), (fees, work));
        assert_eq!(i128::from(period.first_height), last_end + 1);
        assert_eq!(i128::from(period.last_height), last_end + self.settlement());
        assert!(period.schedule <= pool.per_period);
        let mut rows = i128::from(fees > 0 || work > 0);
        for owner in self.balances.keys() {
            let now = self.of_owner(owner, last_end + self.settlement());
            let (_, before) = self.of_owner(owner, last_end);
            let paid = if last_end > 0 { self.payouts.get(owner) } else { None };
            let it = state.earnings(owner);
            assert_eq!((i128::from(it.work), i128::from(it.claims)), now);
            assert_eq!(i128::from(it.last_claims), before);
            assert_eq!(i128::from(it.last_pool), paid.copied().unwrap_or(0));
            rows += i128::from(it != OwnerEarnings::default());
        }
        let paid: i128 = self.payouts.values().sum();
        assert_eq!(i128::from(state.last_payout()), paid);
        let of_period = state.rows().filter(|(key, _)| key[0] == 11 || key[0] == 12).count();
        assert_eq!(of_period as i128, rows);
    }
}
