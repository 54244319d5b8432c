//! The pool: what of a period's fees goes to the owners of members.

use crate::Bytes32;
use crate::books::{Books, BoxKey};
use crate::difference::BrokenRule;
use crate::encoding::{Change, ChangeKind};

/// What the genesis says about the pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolRules {
    pub per_period: u64,
    pub halving_periods: u64,
    pub fees_percent: u64,
    pub owner_percent: u64,
    pub levy_permille: u64,
}

/// What is counted from the end of the last settlement period.
#[derive(Debug, Clone, Copy, Default)]
pub struct Period {
    pub fees: u128,
    /// What all claims have paid. It stays below 2^64: a claim that would bring it there counts for nobody.
    pub paid: u128,
}

/// What an owner has earned.
#[derive(Debug, Clone, Copy, Default)]
pub struct Earned {
    /// In this period, by claims to its members.
    pub carried: u128,
    /// In this period, by all of its claims, without the levy.
    pub claimed: u128,
    /// The same of the period before.
    pub before: u128,
    /// What the pool has paid for the period before.
    pub share: u128,
}

impl Books {
    /// All that goes into the pot comes by here.
    pub(super) fn keep(&mut self, amount: u128) {
        self.fees += amount;
        if self.counting.pool.is_some() {
            self.period.fees += amount;
        }
    }

    /// Takes the levy from what a claim has paid to a key, counts the claim, and returns what is left for the owner.
    pub(super) fn levied(&mut self, to: &BoxKey, payment: u128) -> u128 {
        let Some(rules) = self.counting.pool else { return payment };
        let levy = payment * u128::from(rules.levy_permille) / 1000;
        self.keep(levy);
        let is_counted = self.period.paid + payment < 1 << 64;
        let is_member = self.members.contains(&(to.owner, to.node)) && to.closed_at.is_none();
        let earned = self.earned.entry(to.owner).or_default();
        earned.claimed += payment - levy;
        if is_counted {
            self.period.paid += payment;
            earned.carried += if is_member { payment } else { 0 };
        }
        payment - levy
    }

    /// At the heights that are a multiple of the period, each owner is paid its part of the payout, and all is
    /// counted anew.
    pub(super) fn settle(&mut self) {
        let (Some(rules), height) = (self.counting.pool, self.height) else { return };
        if !height.is_multiple_of(self.counting.settlement_heights) {
            return;
        }
        let periods_before = height / self.counting.settlement_heights - 1;
        let mut most = u128::from(rules.per_period);
        let halvings = periods_before.checked_div(rules.halving_periods).unwrap_or(0);
        // More than 64 halvings leave nothing of a number of 64 bits.
        for _ in 0..halvings.min(64) {
            most /= 2;
        }
        let Period { fees, paid } = std::mem::take(&mut self.period);
        let payout = most.min(fees * u128::from(rules.fees_percent) / 100).min(self.fees);
        let cap = payout * u128::from(rules.owner_percent) / 100;
        let mut shares = vec![];
        for (owner, it) in &mut self.earned {
            let share = (payout * it.carried).checked_div(paid).unwrap_or(0).min(cap);
            *it = Earned { carried: 0, claimed: 0, before: it.claimed, share };
            shares.push((*owner, share));
        }
        self.earned.retain(|_, it| it.before > 0 || it.share > 0);
        for (owner, share) in shares.into_iter().filter(|(_, share)| *share > 0) {
            self.fees -= share;
            self.pool_paid += share;
            self.give(&owner, share);
        }
    }

    /// Whether members can be changed like this now.
    pub(super) fn check_member(&self, change: &Change, node: Bytes32) -> Result<(), BrokenRule> {
        if self.counting.pool.is_none() {
            return Err(BrokenRule::NoPool);
        }
        match (change.kind, self.members.contains(&(change.owner, node))) {
            (ChangeKind::AddMember, true) | (ChangeKind::RemoveMember, false) => {
                Err(BrokenRule::Member)
            }
            (ChangeKind::AddMember, false) if self.members.len() >= 1024 => {
                Err(BrokenRule::Members)
            }
            _ => Ok(()),
        }
    }

    /// The rows of the pool: kinds, names and numbers.
    pub(super) fn pool_rows(&self) -> Vec<(u8, Vec<Bytes32>, Vec<u128>)> {
        let members = self.members.iter().map(|(owner, node)| (10, vec![*owner, *node], vec![]));
        let sums = [self.period.fees, self.period.paid];
        let period = sums.iter().any(|it| *it > 0).then(|| (11, vec![], sums.to_vec()));
        let earned = self.earned.iter().map(|(owner, it)| {
            (12, vec![*owner], vec![it.carried, it.claimed, it.before, it.share])
        });
        members.chain(period).chain(earned).collect()
    }
}

/// What would take a ledger too long to show.
#[cfg(test)]
mod tests {
    use octet_node::key::PrivateKey;

    use super::*;
    use crate::genesis::Beginning;

    fn books() -> Books {
        let key = |seed: u8| PrivateKey::from_seed([seed; 32]).unwrap().public();
        let validators = (1..5).map(|seed| {
            format!("[[validator]]\nowner = \"{}\"\nkey = \"{}\"\n", key(seed), key(seed + 9))
        });
        let pool = "name = \"valley\"\n[pool]\nper_period = 1000\nlevy_permille = 0\n";
        Books::new(&Beginning::read(&(pool.to_owned() + &validators.collect::<String>())).unwrap())
    }

    #[test]
    fn there_are_at_most_1024_members() {
        let (mut books, owner) = (books(), [7; 32]);
        let node = |number: usize| std::array::from_fn(|at| (number >> (8 * (at % 4))) as u8);
        books.members.extend((0..1023).map(|number| (owner, node(number))));
        let admission =
            Change { kind: ChangeKind::AddMember, owner, key: None, node: Some([9; 32]) };
        assert_eq!(books.check_member(&admission, [9; 32]), Ok(()));
        books.members.insert((owner, node(1023)));
        assert_eq!(books.check_member(&admission, [9; 32]), Err(BrokenRule::Members));
        let removal = Change { kind: ChangeKind::RemoveMember, ..admission };
        assert_eq!(books.check_member(&removal, node(5)), Ok(()));
    }

    /// As in `octet-coins`, whose numbers end there.
    #[test]
    fn work_from_2_to_the_64_on_does_not_count() {
        let (mut books, owner, node) = (books(), [7; 32], [8; 32]);
        books.members.insert((owner, node));
        let key = BoxKey {
            owner,
            node,
            epoch: 1,
            max_per_day: 0,
            closed_at: None,
            is_void: false,
            day: 0,
            paid: 0,
        };
        let most = u128::from(u64::MAX);
        assert_eq!(books.levied(&key, most - 1), most - 1);
        assert_eq!(books.levied(&key, 2), 2);
        let earned = books.earned[&owner];
        assert_eq!(
            (books.period.paid, earned.carried, earned.claimed),
            (most - 1, most - 1, most + 1)
        );
        books.levied(&key, 1);
        assert_eq!((books.period.paid, books.earned[&owner].carried), (most, most));
    }
}
