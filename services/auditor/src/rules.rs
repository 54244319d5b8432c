//! What transactions do.

use crate::Bytes32;
use crate::books::{Books, BoxKey, Paid, ValidatorBooks};
use crate::difference::BrokenRule;
use crate::encoding::{Change, ChangeKind, Order, Ordered, Promise};

type Outcome = Result<(), BrokenRule>;

impl Books {
    /// Does what `order` says, whose signatures were checked. After an error the books are of no use.
    pub fn act(&mut self, order: &Order<'_>) -> Outcome {
        let signer = &order.signer;
        if let Ordered::Claim(promise) = &order.what {
            if order.nonce != 0 {
                return Err(BrokenRule::OutOfTurn);
            }
            return self.claim(signer, promise);
        }
        let account = self.owners.get_mut(signer).ok_or(BrokenRule::NoCoins)?;
        if u128::from(order.nonce) != u128::from(account.orders) + 1 {
            return Err(BrokenRule::OutOfTurn);
        }
        account.orders = order.nonce;
        self.charge(signer)?;
        match &order.what {
            Ordered::Transfer { to, amount } => self.transfer(signer, to, *amount),
            Ordered::Bind { node, key, epoch, max_per_day, .. } => {
                self.bind(signer, node, key, *epoch, *max_per_day)
            }
            Ordered::Revoke { key } => {
                self.own(signer, key)?;
                self.close(key)
            }
            Ordered::Lock { payer, payee, amount } => self.lock(signer, payer, payee, *amount),
            Ordered::Withdraw { payer, payee } => self.withdraw(signer, payer, payee),
            Ordered::Claim(_) => Ok(()), // returned above
            Ordered::Vote { change, .. } => {
                if !self.seats.contains_key(signer) {
                    return Err(BrokenRule::NoValidator);
                }
                self.check_change(change)?;
                self.votes.insert(*signer, (self.height, *change));
                Ok(())
            }
            Ordered::Rotate { key, epoch, .. } => self.rotate(signer, key, *epoch),
        }
    }

    fn take(&mut self, owner: &Bytes32, amount: u128) -> Outcome {
        let account = self.owners.get_mut(owner).ok_or(BrokenRule::NoCoins)?;
        account.balance = account.balance.checked_sub(amount).ok_or(BrokenRule::NoCoins)?;
        Ok(())
    }

    pub(super) fn give(&mut self, owner: &Bytes32, amount: u128) {
        self.owners.entry(*owner).or_default().balance += amount;
    }

    fn charge(&mut self, owner: &Bytes32) -> Outcome {
        let fee = u128::from(self.counting.fee);
        self.take(owner, fee)?;
        self.keep(fee);
        Ok(())
    }

    fn transfer(&mut self, signer: &Bytes32, to: &Bytes32, amount: u64) -> Outcome {
        if amount == 0 {
            return Err(BrokenRule::Nothing);
        }
        if signer == to {
            return Err(BrokenRule::OneOwner);
        }
        self.take(signer, amount.into())?;
        self.give(to, amount.into());
        Ok(())
    }

    /// The signer's own key.
    fn own(&self, signer: &Bytes32, key: &Bytes32) -> Result<&BoxKey, BrokenRule> {
        self.keys.get(key).filter(|it| it.owner == *signer).ok_or(BrokenRule::NotBound)
    }

    fn bind(
        &mut self,
        signer: &Bytes32,
        node: &Bytes32,
        key: &Bytes32,
        epoch: u64,
        max_per_day: u64,
    ) -> Outcome {
        if self.keys.contains_key(key) {
            return Err(BrokenRule::BoundBefore);
        }
        let former = self.newest.get(&(*signer, *node)).copied();
        if let Some(former) = former.and_then(|former| self.keys.get_mut(&former)) {
            if former.epoch >= epoch {
                return Err(BrokenRule::Epoch);
            }
            former.closed_at = former.closed_at.or(Some(self.height));
        }
        let bound = BoxKey {
            owner: *signer,
            node: *node,
            epoch,
            max_per_day,
            closed_at: None,
            is_void: false,
            day: 0,
            paid: 0,
        };
        self.keys.insert(*key, bound);
        self.newest.insert((*signer, *node), *key);
        Ok(())
    }

    fn close(&mut self, key: &Bytes32) -> Outcome {
        match self.keys.get_mut(key) {
            Some(it) if it.closed_at.is_none() => it.closed_at = Some(self.height),
            Some(_) => return Err(BrokenRule::ClosedKey),
            None => return Err(BrokenRule::NotBound),
        }
        Ok(())
    }

    fn lock(&mut self, signer: &Bytes32, payer: &Bytes32, payee: &Bytes32, amount: u64) -> Outcome {
        if amount == 0 {
            return Err(BrokenRule::Nothing);
        }
        let from = self.own(signer, payer)?;
        let to = self.keys.get(payee).ok_or(BrokenRule::NotBound)?;
        if from.closed_at.or(to.closed_at).is_some() {
            return Err(BrokenRule::ClosedKey);
        }
        if from.owner == to.owner {
            return Err(BrokenRule::OneOwner);
        }
        let pair = (*payer, *payee);
        let mut deposit = self.locks.get(&pair).copied().unwrap_or_default();
        if deposit.notice.is_some() {
            return Err(BrokenRule::Withdrawn);
        }
        deposit.put += u128::from(amount);
        self.take(signer, amount.into())?;
        self.locks.insert(pair, deposit);
        Ok(())
    }

    fn withdraw(&mut self, signer: &Bytes32, payer: &Bytes32, payee: &Bytes32) -> Outcome {
        self.own(signer, payer)?;
        let height = self.height;
        let deposit = self.locks.get_mut(&(*payer, *payee)).ok_or(BrokenRule::NoLock)?;
        match deposit.notice.replace(height) {
            Some(_) => Err(BrokenRule::Withdrawn),
            None => Ok(()),
        }
    }

    /// Pays of the receipt what was not paid yet, out of what is in the lock, and at most what the day still allows.
    fn claim(&mut self, signer: &Bytes32, promise: &Promise<'_>) -> Outcome {
        let Promise { payer, payee, scope, epoch, bytes, price, amount, .. } = promise;
        if signer != payee {
            return Err(BrokenRule::NotPayee);
        }
        let to = *self.keys.get(payee).ok_or(BrokenRule::NotBound)?;
        let mut from = *self.keys.get(payer).ok_or(BrokenRule::NotBound)?;
        if from.is_void || to.is_void {
            return Err(BrokenRule::ClosedKey);
        }
        let mut paid =
            Paid { epoch: *epoch, bytes: *bytes, price: *price, promised: *amount, paid: 0 };
        if let Some(former) = self.claims.get(&(*payer, *payee, *scope)) {
            if former.epoch > *epoch {
                return Err(BrokenRule::PaidBefore);
            }
            if former.epoch == *epoch {
                if former.price != *price {
                    return Err(BrokenRule::PriceChanged);
                }
                if former.bytes > *bytes || former.promised > *amount {
                    return Err(BrokenRule::PaidBefore);
                }
                paid.paid = former.paid;
            }
        }
        let due = u128::from(*amount).saturating_sub(paid.paid);
        if due == 0 {
            return Err(BrokenRule::PaidBefore);
        }
        let deposit = self.locks.get_mut(&(*payer, *payee)).ok_or(BrokenRule::NoLock)?;
        let today = self.height / self.counting.heights_per_day;
        if from.day != today {
            (from.day, from.paid) = (today, 0);
        }
        let allowed = u128::from(from.max_per_day).saturating_sub(from.paid);
        let payment = due.min(deposit.left()).min(allowed);
        if payment == 0 {
            return Err(BrokenRule::DayOver);
        }
        deposit.paid += payment;
        from.paid += payment;
        paid.paid += payment;
        if deposit.left() == 0 {
            self.locks.remove(&(*payer, *payee));
        }
        self.keys.insert(*payer, from);
        self.claims.insert((*payer, *payee, *scope), paid);
        self.claimed = (self.claimed.0 + payment, self.claimed.1 + 1);
        let net = self.levied(&to, payment);
        self.give(&to.owner, net);
        self.charge(&to.owner)
    }

    /// Whether validators or members can be changed like this now.
    pub(super) fn check_change(&self, change: &Change) -> Outcome {
        let Change { kind, owner, key, node } = change;
        if let Some(node) = node {
            return self.check_member(change, *node);
        }
        if key.is_some_and(|(key, _)| self.seat_keys.contains_key(&key)) {
            return Err(BrokenRule::BoundBefore);
        }
        let (seat, count) = (self.seats.get(owner), self.seats.len());
        match (kind, seat) {
            (ChangeKind::Add, Some(_)) => Err(BrokenRule::HasValidator),
            (ChangeKind::Add, None) if count >= 64 => Err(BrokenRule::Validators),
            (ChangeKind::Add, None) => Ok(()),
            (_, None) => Err(BrokenRule::NoValidator),
            (ChangeKind::Remove, Some(_)) if count <= 4 => Err(BrokenRule::Validators),
            (ChangeKind::Remove, Some(_)) => Ok(()),
            // A new key; members have a node, and were checked above.
            (_, Some(seat)) => match key {
                Some((_, epoch)) if *epoch > seat.epoch => Ok(()),
                _ => Err(BrokenRule::Epoch),
            },
        }
    }

    fn rotate(&mut self, signer: &Bytes32, key: &Bytes32, epoch: u64) -> Outcome {
        let (kind, key) = (ChangeKind::Replace, Some((*key, epoch)));
        let change = Change { kind, owner: *signer, key, node: None };
        self.check_change(&change)?;
        self.seat(&change);
        Ok(())
    }

    /// Makes a change of the validators.
    pub(super) fn seat(&mut self, change: &Change) {
        let Some((key, epoch)) = change.key else {
            self.seats.remove(&change.owner);
            return;
        };
        let missed = self.seats.get(&change.owner).and_then(|seat| seat.missed);
        self.seats.insert(change.owner, ValidatorBooks { key, epoch, missed });
        self.seat_keys.insert(key, change.owner);
    }
}
