//! Locks of coins for payees, and claims to them.

use octet_node::control::PublicKey;
use octet_receipts::Receipt;

use super::draft::Draft;
use super::row::{ClaimedReceipt, CoinLock, KeyState, LedgerRow, RowKey};
use crate::invalid::InvalidTransaction;

impl Draft<'_> {
    pub(super) fn lock(
        &mut self,
        signer: &PublicKey,
        payer: &PublicKey,
        payee: &PublicKey,
        amount: u64,
    ) -> Result<(), InvalidTransaction> {
        if amount == 0 {
            return Err(InvalidTransaction::Zero);
        }
        let payer_key = self.owned_key(signer, payer)?;
        let payee_key = self.key(payee).ok_or(InvalidTransaction::UnknownKey)?;
        if payer_key.state != KeyState::Open || payee_key.state != KeyState::Open {
            return Err(InvalidTransaction::Closed);
        }
        // So nobody pays himself, and a payer is never its payee.
        if payee_key.owner == *signer {
            return Err(InvalidTransaction::OneOwner);
        }
        let former = self.coin_lock(payer, payee);
        if former.is_some_and(|lock| lock.returns_at.is_some()) {
            return Err(InvalidTransaction::Withdrawing);
        }
        let locked = former.map_or(0, |lock| lock.amount);
        let amount_locked = locked.checked_add(amount).ok_or(InvalidTransaction::Overflow)?;
        self.debit(signer, amount)?;
        let lock = CoinLock { amount: amount_locked, returns_at: None };
        self.put(RowKey::Lock(*payer, *payee), LedgerRow::Lock(lock));
        Ok(())
    }

    pub(super) fn withdraw(
        &mut self,
        signer: &PublicKey,
        payer: &PublicKey,
        payee: &PublicKey,
    ) -> Result<(), InvalidTransaction> {
        self.owned_key(signer, payer)?;
        let lock = self.coin_lock(payer, payee).ok_or(InvalidTransaction::NoLock)?;
        if lock.returns_at.is_some() {
            return Err(InvalidTransaction::Withdrawing);
        }
        let heights = self.state.parameters().withdrawal_heights;
        let returns_at = self.height.checked_add(heights).ok_or(InvalidTransaction::Overflow)?;
        let lock = CoinLock { returns_at: Some(returns_at), ..lock };
        self.put(RowKey::Lock(*payer, *payee), LedgerRow::Lock(lock));
        Ok(())
    }

    /// Returns what is left in a lock to the payer's owner.
    pub(super) fn unlock(
        &mut self,
        payer: &PublicKey,
        payee: &PublicKey,
    ) -> Result<(), InvalidTransaction> {
        if let (Some(lock), Some(key)) = (self.coin_lock(payer, payee), self.key(payer)) {
            self.credit(&key.owner, lock.amount)?;
            self.delete(RowKey::Lock(*payer, *payee));
        }
        Ok(())
    }

    /// Pays what the receipt promises beyond what was paid of it, as far as the lock and the day of the payer's key
    /// have it; of that the levy goes to the fees. The receipt is verified.
    pub(super) fn claim(
        &mut self,
        signer: &PublicKey,
        receipt: &Receipt,
    ) -> Result<(), InvalidTransaction> {
        let Receipt { payer, payee, scope, epoch, bytes, price, amount } = receipt;
        if payee != signer {
            return Err(InvalidTransaction::NotPayee);
        }
        let mut payer_key = self.key(payer).ok_or(InvalidTransaction::UnknownKey)?;
        let payee_key = self.key(payee).ok_or(InvalidTransaction::UnknownKey)?;
        if payer_key.state == KeyState::Void || payee_key.state == KeyState::Void {
            return Err(InvalidTransaction::Closed);
        }
        let former = self.claimed(payer, payee, scope);
        let paid = match former {
            Some(former) if *epoch < former.epoch => return Err(InvalidTransaction::Superseded),
            Some(former) if *epoch == former.epoch => {
                if *price != former.price {
                    return Err(InvalidTransaction::Price);
                }
                if *bytes < former.bytes || *amount < former.amount {
                    return Err(InvalidTransaction::Superseded);
                }
                former.paid
            }
            _ => 0,
        };
        let due = amount.saturating_sub(paid);
        if due == 0 {
            return Err(InvalidTransaction::Superseded);
        }
        let lock = self.coin_lock(payer, payee).ok_or(InvalidTransaction::NoLock)?;
        let day = self.height / self.state.parameters().heights_per_day;
        let paid_today = if payer_key.day == day { payer_key.paid } else { 0 };
        let payment = due.min(lock.amount).min(payer_key.max_per_day.saturating_sub(paid_today));
        if payment == 0 {
            return Err(InvalidTransaction::DayLimit);
        }
        let sum = |a: u64, b: u64| a.checked_add(b).ok_or(InvalidTransaction::Overflow);
        (payer_key.day, payer_key.paid) = (day, sum(paid_today, payment)?);
        self.put(RowKey::Key(*payer), LedgerRow::Key(payer_key));
        let newest = ClaimedReceipt {
            epoch: *epoch,
            bytes: *bytes,
            price: *price,
            amount: *amount,
            paid: sum(paid, payment)?,
        };
        self.put(RowKey::Claim(*payer, *payee, *scope), LedgerRow::Claim(newest));
        match lock.amount.checked_sub(payment) {
            Some(amount) if amount > 0 => {
                let lock = CoinLock { amount, ..lock };
                self.put(RowKey::Lock(*payer, *payee), LedgerRow::Lock(lock));
            }
            _ => self.delete(RowKey::Lock(*payer, *payee)),
        }
        let levy = self.levy(payment);
        self.credit(&payee_key.owner, payment.saturating_sub(levy))?;
        self.collect(levy)?;
        self.count_work(&payee_key, payment, levy);
        self.pay_fee(&payee_key.owner)
    }
}
