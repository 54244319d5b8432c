//! Changes that are made all or not at all.

use std::collections::BTreeMap;

use octet_node::control::PublicKey;

use super::LedgerState;
use super::row::{
    BoundKey, CastVote, ClaimedReceipt, CoinLock, LedgerRow, NodeKey, OwnerAccount, OwnerEarnings,
    PeriodSums, RowKey, ValidatorRow,
};
use crate::action::Action;
use crate::invalid::InvalidTransaction;
use crate::transaction::Transaction;

/// What a transaction, or the end of a height, changes in a state.
pub struct Draft<'a> {
    pub(super) state: &'a LedgerState,
    /// Of the block that is being made.
    pub(super) height: u64,
    writes: BTreeMap<RowKey, Option<LedgerRow>>,
}

pub type Writes = BTreeMap<RowKey, Option<LedgerRow>>;

impl<'a> Draft<'a> {
    pub fn new(state: &'a LedgerState) -> Self {
        Self { state, height: state.height.saturating_add(1), writes: Writes::new() }
    }

    pub fn into_writes(self) -> Writes {
        self.writes
    }

    fn get(&self, key: &RowKey) -> Option<&LedgerRow> {
        match self.writes.get(key) {
            Some(written) => written.as_ref(),
            None => self.state.tree.get(key),
        }
    }

    pub(super) fn put(&mut self, key: RowKey, row: LedgerRow) {
        self.writes.insert(key, Some(row));
    }

    pub(super) fn delete(&mut self, key: RowKey) {
        self.writes.insert(key, None);
    }

    pub fn pot(&self) -> u64 {
        match self.get(&RowKey::Pot) {
            Some(LedgerRow::Pot(amount)) => *amount,
            _ => 0,
        }
    }

    pub fn account(&self, owner: &PublicKey) -> Option<OwnerAccount> {
        match self.get(&RowKey::Account(*owner)) {
            Some(LedgerRow::Account(account)) => Some(*account),
            _ => None,
        }
    }

    pub fn key(&self, key: &PublicKey) -> Option<BoundKey> {
        match self.get(&RowKey::Key(*key)) {
            Some(LedgerRow::Key(bound)) => Some(*bound),
            _ => None,
        }
    }

    pub fn node(&self, owner: &PublicKey, node: &PublicKey) -> Option<NodeKey> {
        match self.get(&RowKey::Node(*owner, *node)) {
            Some(LedgerRow::Node(key)) => Some(*key),
            _ => None,
        }
    }

    pub fn coin_lock(&self, payer: &PublicKey, payee: &PublicKey) -> Option<CoinLock> {
        match self.get(&RowKey::Lock(*payer, *payee)) {
            Some(LedgerRow::Lock(lock)) => Some(*lock),
            _ => None,
        }
    }

    pub fn claimed(
        &self,
        payer: &PublicKey,
        payee: &PublicKey,
        scope: &[u8; 32],
    ) -> Option<ClaimedReceipt> {
        match self.get(&RowKey::Claim(*payer, *payee, *scope)) {
            Some(LedgerRow::Claim(claimed)) => Some(*claimed),
            _ => None,
        }
    }

    pub(super) fn validator(&self, owner: &PublicKey) -> Option<ValidatorRow> {
        match self.get(&RowKey::Validator(*owner)) {
            Some(LedgerRow::Validator(validator)) => Some(*validator),
            _ => None,
        }
    }

    pub(super) fn was_validator_key(&self, key: &PublicKey) -> bool {
        self.get(&RowKey::ValidatorKey(*key)).is_some()
    }

    pub(super) fn cast_vote(&self, owner: &PublicKey) -> Option<CastVote> {
        match self.get(&RowKey::Vote(*owner)) {
            Some(LedgerRow::Vote(vote)) => Some(*vote),
            _ => None,
        }
    }

    pub(super) fn is_member(&self, owner: &PublicKey, node: &PublicKey) -> bool {
        self.get(&RowKey::Member(*owner, *node)).is_some()
    }

    pub(super) fn period_sums(&self) -> PeriodSums {
        match self.get(&RowKey::Period) {
            Some(LedgerRow::Period(sums)) => *sums,
            _ => PeriodSums::default(),
        }
    }

    pub fn earnings(&self, owner: &PublicKey) -> OwnerEarnings {
        match self.get(&RowKey::Earnings(*owner)) {
            Some(LedgerRow::Earnings(earnings)) => *earnings,
            _ => OwnerEarnings::default(),
        }
    }

    /// Adds to an owner's balance. The first credit creates the account.
    pub(super) fn credit(
        &mut self,
        owner: &PublicKey,
        amount: u64,
    ) -> Result<(), InvalidTransaction> {
        let mut account = self.account(owner).unwrap_or_default();
        account.balance =
            account.balance.checked_add(amount).ok_or(InvalidTransaction::Overflow)?;
        self.put(RowKey::Account(*owner), LedgerRow::Account(account));
        Ok(())
    }

    pub(super) fn debit(
        &mut self,
        owner: &PublicKey,
        amount: u64,
    ) -> Result<(), InvalidTransaction> {
        let mut account = self.account(owner).ok_or(InvalidTransaction::Balance)?;
        account.balance = account.balance.checked_sub(amount).ok_or(InvalidTransaction::Balance)?;
        self.put(RowKey::Account(*owner), LedgerRow::Account(account));
        Ok(())
    }

    /// Moves the fee from an owner's balance into the pot.
    pub(super) fn pay_fee(&mut self, owner: &PublicKey) -> Result<(), InvalidTransaction> {
        let fee = self.state.parameters().fee;
        self.debit(owner, fee)?;
        self.collect(fee)
    }

    /// Runs a transaction whose signatures are verified.
    pub fn run(&mut self, transaction: &Transaction) -> Result<(), InvalidTransaction> {
        let Transaction { signer, nonce, action } = transaction;
        if let Action::Claim { receipt } = action {
            if *nonce != 0 {
                return Err(InvalidTransaction::Nonce);
            }
            return self.claim(signer, receipt.receipt());
        }
        let mut account = self.account(signer).ok_or(InvalidTransaction::Balance)?;
        if account.nonce.checked_add(1) != Some(*nonce) {
            return Err(InvalidTransaction::Nonce);
        }
        account.nonce = *nonce;
        self.put(RowKey::Account(*signer), LedgerRow::Account(account));
        self.pay_fee(signer)?;
        match action {
            Action::Transfer { to, amount } => self.transfer(signer, to, *amount),
            Action::BindKey { node, key, epoch, max_per_day, .. } => {
                self.bind(signer, node, key, *epoch, *max_per_day)
            }
            Action::RevokeKey { key } => self.revoke(signer, key),
            Action::Lock { payer, payee, amount } => self.lock(signer, payer, payee, *amount),
            Action::Withdraw { payer, payee } => self.withdraw(signer, payer, payee),
            Action::Vote { change, .. } => self.vote(signer, change),
            Action::RotateValidator { key, epoch, .. } => self.rotate(signer, key, *epoch),
            Action::Claim { .. } => Ok(()), // returned above
        }
    }

    fn transfer(
        &mut self,
        signer: &PublicKey,
        to: &PublicKey,
        amount: u64,
    ) -> Result<(), InvalidTransaction> {
        if amount == 0 {
            return Err(InvalidTransaction::Zero);
        }
        if signer == to {
            return Err(InvalidTransaction::ToSelf);
        }
        self.debit(signer, amount)?;
        self.credit(to, amount)
    }
}
