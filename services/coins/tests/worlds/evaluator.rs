//! The rules of the ledger a second time: sums of histories instead of rows.

use std::collections::{BTreeMap, BTreeSet};

use octet_coins::{Action, LedgerParameters, LedgerState, Transaction, VotedChange};
use octet_node::control::PublicKey;
use octet_receipts::Receipt;

use crate::evaluator_pool::Carried;

pub type Pair = (PublicKey, PublicKey);

#[derive(Clone)]
pub struct KnownKey {
    pub owner: PublicKey,
    pub node: PublicKey,
    pub max_per_day: i128,
    pub closed_at: Option<i128>,
}

#[derive(Clone, Default)]
pub struct History {
    pub deposits: i128,
    pub payments: i128,
    pub returns: i128,
    pub notice: Option<i128>,
    /// What stood in the lock when the payer's key was closed, and what was paid from then on.
    pub at_closing: Option<(i128, i128)>,
}

impl History {
    pub fn left(&self) -> i128 {
        self.deposits - self.payments - self.returns
    }
}

#[derive(Clone)]
pub struct PaidClaim {
    pub receipt: Receipt,
    pub payment: i128,
}

/// What one coin movement was, for those who look for gains.
#[derive(Clone, Copy)]
pub struct Movement {
    pub from: PublicKey,
    pub to: PublicKey,
    pub amount: i128,
}

#[derive(Clone)]
pub struct Evaluator {
    pub parameters: LedgerParameters,
    /// The height of the block that is being made.
    pub height: i128,
    pub balances: BTreeMap<PublicKey, i128>,
    pub nonces: BTreeMap<PublicKey, i128>,
    pub keys: BTreeMap<PublicKey, KnownKey>,
    pub newest: BTreeMap<Pair, (PublicKey, i128)>,
    pub pairs: BTreeMap<Pair, History>,
    pub claims: BTreeMap<(PublicKey, PublicKey, [u8; 32]), Vec<PaidClaim>>,
    pub days: BTreeMap<(PublicKey, i128), i128>,
    pub validators: BTreeMap<PublicKey, (PublicKey, i128)>,
    pub validator_keys: BTreeSet<PublicKey>,
    pub votes: BTreeMap<PublicKey, (VotedChange, i128)>,
    /// The pot.
    pub fees: i128,
    /// Heights and amounts of all fees and levies.
    pub fee_history: Vec<(i128, i128)>,
    /// All that claims have paid.
    pub carried: Vec<Carried>,
    /// Owners and nodes of the pool's members.
    pub members: BTreeSet<Pair>,
    /// What the pool has paid to owners for the newest period that is over.
    pub payouts: BTreeMap<PublicKey, i128>,
    /// How often an owner would have been paid more without the cap.
    pub capped: u64,
    /// Of this block.
    pub movements: Vec<Movement>,
    pub fees_paid: BTreeMap<PublicKey, i128>,
}

impl Evaluator {
    fn fee(&self) -> i128 {
        self.parameters.fee.into()
    }

    pub fn is_closed(&self, key: &PublicKey) -> bool {
        self.keys[key].closed_at.is_some()
    }

    /// Whether even claims with the key are over.
    pub fn is_void(&self, key: &PublicKey) -> bool {
        let days = i128::from(self.parameters.claim_heights);
        self.keys[key].closed_at.is_some_and(|at| self.height > at + days)
    }

    /// Whether the transaction, whose signatures are as `is_genuine` says, is valid now; then it has happened.
    pub fn accept(&mut self, transaction: &Transaction, is_genuine: bool) -> bool {
        if !is_genuine {
            return false;
        }
        let mut after = self.clone();
        if after.happens(transaction).is_none() {
            return false;
        }
        *self = after;
        true
    }

    fn happens(&mut self, transaction: &Transaction) -> Option<()> {
        let signer = transaction.signer;
        if let Action::Claim { receipt } = &transaction.action {
            return self.claimed(signer, receipt.receipt());
        }
        let balance = *self.balances.get(&signer)?;
        let nonce = self.nonces.entry(signer).or_default();
        if *nonce + 1 != i128::from(transaction.nonce) || balance < i128::from(self.parameters.fee)
        {
            return None;
        }
        *nonce += 1;
        self.pay_fee(signer);
        let have = self.balances[&signer];
        match transaction.action {
            Action::Transfer { to, amount } => {
                let amount = i128::from(amount);
                if amount == 0 || to == signer || have < amount {
                    return None;
                }
                self.moves(signer, to, amount);
            }
            Action::BindKey { node, key, epoch, max_per_day, .. } => {
                if self.keys.contains_key(&key) {
                    return None;
                }
                if let Some((former, before)) = self.newest.get(&(signer, node)).copied() {
                    if i128::from(epoch) <= before {
                        return None;
                    }
                    self.close(former);
                }
                let max_per_day = max_per_day.into();
                let known = KnownKey { owner: signer, node, max_per_day, closed_at: None };
                self.keys.insert(key, known);
                self.newest.insert((signer, node), (key, epoch.into()));
            }
            Action::RevokeKey { key } => {
                if self.keys.get(&key)?.owner != signer || self.is_closed(&key) {
                    return None;
                }
                self.close(key);
            }
            Action::Lock { payer, payee, amount } => {
                let (amount, from) = (i128::from(amount), self.keys.get(&payer)?.owner);
                let to = self.keys.get(&payee)?.owner;
                let is_open = !self.is_closed(&payer) && !self.is_closed(&payee);
                if from != signer || to == signer || !is_open || amount == 0 || have < amount {
                    return None;
                }
                let pair = self.pairs.entry((payer, payee)).or_default();
                if pair.notice.is_some() {
                    return None;
                }
                pair.deposits += amount;
                *self.balances.get_mut(&signer).unwrap() -= amount;
            }
            Action::Withdraw { payer, payee } => {
                if self.keys.get(&payer)?.owner != signer {
                    return None;
                }
                let pair = self.pairs.get_mut(&(payer, payee))?;
                if pair.left() == 0 || pair.notice.is_some() {
                    return None;
                }
                pair.notice = Some(self.height);
            }
            Action::Vote { change, .. } => self.voted(signer, change)?,
            Action::RotateValidator { key, epoch, .. } => self.rotated(signer, key, epoch)?,
            Action::Claim { .. } => unreachable!(),
        }
        Some(())
    }

    fn claimed(&mut self, signer: PublicKey, receipt: &Receipt) -> Option<()> {
        let (payer, payee) = (receipt.payer, receipt.payee);
        let (from, to) = (self.keys.get(&payer)?.owner, self.keys.get(&payee)?.owner);
        if signer != payee || self.is_void(&payer) || self.is_void(&payee) {
            return None;
        }
        let history = self.claims.entry((payer, payee, receipt.scope)).or_default();
        let mut paid = 0;
        for earlier in history.iter() {
            let it = earlier.receipt;
            if it.epoch > receipt.epoch {
                return None;
            }
            if it.epoch == receipt.epoch {
                if it.price != receipt.price || it.bytes > receipt.bytes {
                    return None;
                }
                paid += earlier.payment;
            }
        }
        let day = self.height.div_euclid(self.parameters.heights_per_day.into());
        let left = self.pairs.get(&(payer, payee))?.left();
        let today = self.days.entry((payer, day)).or_default();
        let payment = (i128::from(receipt.amount) - paid)
            .min(left)
            .min(self.keys[&payer].max_per_day - *today);
        if payment <= 0 {
            return None;
        }
        *today += payment;
        history.push(PaidClaim { receipt: *receipt, payment });
        let pair = self.pairs.get_mut(&(payer, payee)).unwrap();
        pair.payments += payment;
        if pair.left() == 0 {
            pair.notice = None;
        }
        if let Some((stood, since)) = &mut pair.at_closing {
            *since += payment;
            assert!(*since <= *stood, "{since} paid after the closing, of {stood}");
        }
        *self.balances.entry(to).or_default() += payment;
        let (levy, node) = (self.levy(payment), self.keys[&payee].node);
        let is_members = !self.is_closed(&payee) && self.members.contains(&(to, node));
        self.charge(to, levy);
        self.carried.push(Carried { height: self.height, owner: to, payment, levy, is_members });
        self.movements.push(Movement { from, to, amount: payment });
        if self.balances[&to] < self.fee() {
            return None;
        }
        self.pay_fee(to);
        Some(())
    }

    fn pay_fee(&mut self, owner: PublicKey) {
        self.charge(owner, self.fee());
    }

    fn charge(&mut self, owner: PublicKey, amount: i128) {
        *self.balances.get_mut(&owner).unwrap() -= amount;
        *self.fees_paid.entry(owner).or_default() += amount;
        self.fees += amount;
        self.fee_history.push((self.height, amount));
    }

    fn moves(&mut self, from: PublicKey, to: PublicKey, amount: i128) {
        *self.balances.get_mut(&from).unwrap() -= amount;
        *self.balances.entry(to).or_default() += amount;
        self.movements.push(Movement { from, to, amount });
    }

    fn close(&mut self, key: PublicKey) {
        let height = self.height;
        self.keys.get_mut(&key).unwrap().closed_at.get_or_insert(height);
        for ((payer, _), pair) in &mut self.pairs {
            if *payer == key && pair.at_closing.is_none() {
                pair.at_closing = Some((pair.left(), 0));
            }
        }
    }

    /// The block is complete.
    pub fn end(&mut self) {
        self.count();
        let withdrawal = i128::from(self.parameters.withdrawal_heights);
        let claim = i128::from(self.parameters.claim_heights);
        for ((payer, _), pair) in &mut self.pairs {
            let key = &self.keys[payer];
            let is_over = pair.notice.is_some_and(|at| at + withdrawal == self.height)
                || key.closed_at.is_some_and(|at| at + claim == self.height);
            if is_over {
                *self.balances.get_mut(&key.owner).unwrap() += pair.left();
                pair.returns += pair.left();
                pair.notice = None;
            }
        }
        self.settle();
        self.height += 1;
    }

    pub fn begin(&mut self) {
        self.movements.clear();
        self.fees_paid.clear();
    }

    /// What a state must be after the newest block.
    pub fn compare(&self, state: &LedgerState) {
        let mut total = i128::from(state.pot());
        assert_eq!(total, self.fees);
        for (owner, balance) in &self.balances {
            let account = state.account(owner).expect("the account was credited");
            assert_eq!(i128::from(account.balance), *balance, "{owner}");
            let nonce = self.nonces.get(owner).copied().unwrap_or(0);
            assert_eq!(i128::from(account.nonce), nonce);
            total += balance;
        }
        for ((payer, payee), pair) in &self.pairs {
            let lock = state.coin_lock(payer, payee);
            assert_eq!(lock.map_or(0, |lock| i128::from(lock.amount)), pair.left());
            assert!(pair.left() >= 0 && pair.payments <= pair.deposits);
            total += pair.left();
        }
        assert_eq!(total, i128::from(state.total()));
        for ((payer, payee, scope), history) in &self.claims {
            let Some(newest) = history.last() else { continue };
            // The height is that of the next block.
            let claimed = state.claimed(payer, payee, scope);
            if self.is_void(payer) {
                assert_eq!(claimed, None);
                continue;
            }
            let claimed = claimed.expect("it was claimed");
            let epoch = newest.receipt.epoch;
            let of_epoch = history.iter().filter(|it| it.receipt.epoch == epoch);
            let paid: i128 = of_epoch.map(|it| it.payment).sum();
            assert_eq!((claimed.epoch, claimed.bytes), (epoch, newest.receipt.bytes));
            assert_eq!(i128::from(claimed.paid), paid);
            assert!(claimed.paid <= claimed.amount && claimed.amount == newest.receipt.amount);
        }
        self.compare_validators(state);
        self.compare_pool(state);
        let withdraws = self.pairs.values().any(|it| it.notice.is_some());
        let closes = self.keys.iter().any(|(key, it)| it.closed_at.is_some() && !self.is_void(key));
        let counting = withdraws || closes || !self.votes.is_empty();
        assert_eq!(state.is_counting(), counting);
    }
}
