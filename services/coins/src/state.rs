//! The state of a ledger after a block.

mod draft;
mod keys;
mod locks;
mod pool;
mod row;
mod tree;
mod validators;

use std::collections::BTreeMap;
use std::sync::Arc;

use octet_node::control::PublicKey;

use crate::block::{Block, BlockHash, InvalidBlock, MAX_BLOCK, MAX_TRANSACTIONS};
use crate::genesis::{Genesis, LedgerParameters, MAX_VALIDATORS, MIN_VALIDATORS};
use crate::invalid::InvalidTransaction;
use crate::pending::PendingTransactions;
use crate::transaction::Transaction;
use draft::{Draft, Writes};
use row::{LedgerRow, RowKey, ValidatorRow, decode_row};
use tree::RowTree;

pub use pool::{MAX_MEMBERS, PoolPeriod};
pub use row::{BoundKey, ClaimedReceipt, CoinLock, KeyState, OwnerAccount, OwnerEarnings};

/// For so many heights, a validator that has missed a turn has none before the others.
const ABSENT: u64 = 64;

/// A validator. All have one vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validator {
    pub owner: PublicKey,
    /// With it, the owner's box signs its votes.
    pub key: PublicKey,
}

/// The state of a ledger after a block.
#[derive(Debug, Clone)]
pub struct LedgerState {
    genesis: Arc<Genesis>,
    genesis_hash: BlockHash,
    height: u64,
    tip: BlockHash,
    tree: RowTree,
    /// In the order of their turns at the next height.
    validators: Vec<Validator>,
}

/// States with the same rows after the same block are equal, however they came about.
impl PartialEq for LedgerState {
    fn eq(&self, other: &Self) -> bool {
        (self.height, self.tip, self.hash()) == (other.height, other.tip, other.hash())
    }
}

impl Eq for LedgerState {}

impl LedgerState {
    /// The state before the first block.
    pub fn new(genesis: &Genesis) -> Self {
        let mut rows = BTreeMap::new();
        for (owner, balance) in genesis.balances() {
            let account = OwnerAccount { balance: *balance, nonce: 0 };
            rows.insert(RowKey::Account(*owner), LedgerRow::Account(account));
        }
        for Validator { owner, key } in genesis.validators() {
            let row = ValidatorRow { key: *key, epoch: 0, absent_until: 0 };
            rows.insert(RowKey::Validator(*owner), LedgerRow::Validator(row));
            rows.insert(RowKey::ValidatorKey(*key), LedgerRow::ValidatorKey(*owner));
        }
        Self::with_rows(genesis, 0, genesis.hash(), rows)
    }

    fn with_rows(
        genesis: &Genesis,
        height: u64,
        tip: BlockHash,
        rows: BTreeMap<RowKey, LedgerRow>,
    ) -> Self {
        let (genesis, genesis_hash) = (Arc::new(genesis.clone()), genesis.hash());
        let tree = RowTree::new(genesis_hash, rows);
        let mut state = Self { genesis, genesis_hash, height, tip, tree, validators: vec![] };
        state.seal();
        state
    }

    /// The state that [`rows`](Self::rows) were taken from. `None` if they are not rows, not in their order, or
    /// their coins are not those of the genesis. Whether they are the right ones, [`hash`](Self::hash) says: the next
    /// block has it.
    pub fn from_rows(
        genesis: &Genesis,
        height: u64,
        tip: BlockHash,
        rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Option<Self> {
        let mut decoded = BTreeMap::new();
        for (key, value) in rows {
            let (key, row) = decode_row(&key, &value)?;
            if decoded.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return None;
            }
            decoded.insert(key, row);
        }
        // Before anything else is calculated with them.
        let sum = decoded.values().try_fold(0u64, |sum, row| sum.checked_add(coins(row)));
        if sum != Some(genesis.sum()) {
            return None;
        }
        let mut state = Self::with_rows(genesis, height, tip, decoded);
        state.tree.forget_changes();
        (MIN_VALIDATORS..=MAX_VALIDATORS).contains(&state.validators.len()).then_some(state)
    }

    /// All rows, as encoded keys and values, in the order of the keys.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let sorted: BTreeMap<_, _> = self.tree.iter().collect();
        sorted.into_iter().map(|(key, row)| (key.encode(), row.encode()))
    }

    /// The rows that the last block changed, in the order of the keys: the new values, or `None` for those that it
    /// deleted. Before the first block these are all rows.
    pub fn changes(&self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.tree.changed().map(|(key, row)| (key.encode(), row.map(LedgerRow::encode)))
    }

    /// The height of the newest block; 0 before the first one.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// The hash of the newest block; before the first one, of the genesis.
    pub fn tip(&self) -> BlockHash {
        self.tip
    }

    /// Of the genesis and of all rows: accounts, locks, keys, claims, validators, votes and the pool. Height and tip
    /// are not in it.
    pub fn hash(&self) -> [u8; 32] {
        self.tree.hash()
    }

    pub fn genesis_hash(&self) -> &BlockHash {
        &self.genesis_hash
    }

    pub fn parameters(&self) -> &LedgerParameters {
        self.genesis.parameters()
    }

    /// The validators of the next height, in the order of their turns.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// Whose turn it is at the next height in `round`: the turns of [`validators`](Self::validators), again and
    /// again.
    pub fn proposer(&self, round: u32) -> PublicKey {
        // There are always validators: fewer than four are refused.
        let turn = round as usize % self.validators.len().max(1);
        self.validators.get(turn).map_or(PublicKey::new([0; 32]), |validator| validator.key)
    }

    /// Whether heights must go on without transactions, because something ends at a height: a withdrawal, a closed
    /// key, or a vote.
    pub fn is_counting(&self) -> bool {
        self.tree.has_ends()
    }

    /// The account of an owner; `None` before its first credit.
    pub fn account(&self, owner: &PublicKey) -> Option<OwnerAccount> {
        Draft::new(self).account(owner)
    }

    /// A key that was ever bound.
    pub fn key(&self, key: &PublicKey) -> Option<BoundKey> {
        Draft::new(self).key(key)
    }

    /// The newest key that `owner` has bound for `node`, and its epoch.
    pub fn node_key(&self, owner: &PublicKey, node: &PublicKey) -> Option<(PublicKey, u64)> {
        Draft::new(self).node(owner, node).map(|node| (node.key, node.epoch))
    }

    /// What a payer's key can pay to a payee's key.
    pub fn coin_lock(&self, payer: &PublicKey, payee: &PublicKey) -> Option<CoinLock> {
        Draft::new(self).coin_lock(payer, payee)
    }

    /// The newest receipt that was claimed, and what was paid of it.
    pub fn claimed(
        &self,
        payer: &PublicKey,
        payee: &PublicKey,
        scope: &[u8; 32],
    ) -> Option<ClaimedReceipt> {
        Draft::new(self).claimed(payer, payee, scope)
    }

    /// The epoch of the key of an owner's validator.
    pub fn validator_epoch(&self, owner: &PublicKey) -> Option<u64> {
        Draft::new(self).validator(owner).map(|validator| validator.epoch)
    }

    /// The fees that were paid, without what the pool has paid of them, in millionths of a coin.
    pub fn pot(&self) -> u64 {
        Draft::new(self).pot()
    }

    /// All balances, locks and the pot, in millionths of a coin: always the sum of the genesis.
    pub fn total(&self) -> u64 {
        self.tree.iter().fold(0, |sum, (_, row)| sum.saturating_add(coins(row)))
    }

    /// The state after `block`.
    ///
    /// # Errors
    /// The block cannot follow this state.
    pub fn check(&self, block: &Block) -> Result<Self, InvalidBlock> {
        self.check_with(block, &PendingTransactions::default())
    }

    /// Like [`check`](Self::check), but the signatures of transactions that wait in `pending` are not verified
    /// again. `pending` has to be of the same ledger.
    ///
    /// # Errors
    /// The block cannot follow this state.
    pub fn check_with(
        &self,
        block: &Block,
        pending: &PendingTransactions,
    ) -> Result<Self, InvalidBlock> {
        if self.height.checked_add(1) != Some(block.height) || block.parent != self.tip {
            return Err(InvalidBlock::NotNext);
        }
        if block.state != self.hash() {
            return Err(InvalidBlock::State);
        }
        let bytes = block.to_bytes();
        if bytes.len() > MAX_BLOCK || block.transactions.len() > MAX_TRANSACTIONS {
            return Err(InvalidBlock::TooLarge);
        }
        let mut next = self.clone();
        next.tree.forget_changes();
        for (number, signed) in block.transactions.iter().enumerate() {
            let is_verified = pending.contains(&signed.hash());
            let verified = if is_verified { Ok(()) } else { signed.verify(&self.genesis_hash) };
            verified
                .and_then(|()| next.run(signed.transaction()))
                .map_err(|why| InvalidBlock::Transaction(number, why))?;
        }
        let writes = next.end_height().map_err(InvalidBlock::End)?;
        next.write(writes);
        let mut draft = Draft::new(&next);
        draft.take_turns(block.round);
        let writes = draft.into_writes();
        next.write(writes);
        (next.height, next.tip) = (block.height, BlockHash(crate::sha256(&bytes)));
        next.seal();
        Ok(next)
    }

    /// Runs a transaction whose signatures are verified. A refused one changes nothing.
    pub(crate) fn run(&mut self, transaction: &Transaction) -> Result<(), InvalidTransaction> {
        let mut draft = Draft::new(self);
        draft.run(transaction)?;
        let writes = draft.into_writes();
        self.write(writes);
        Ok(())
    }

    /// Whether the next block may have the transaction.
    pub(crate) fn try_run(&self, transaction: &Transaction) -> Result<(), InvalidTransaction> {
        Draft::new(self).run(transaction)
    }

    fn write(&mut self, writes: Writes) {
        for (key, row) in writes {
            self.tree.put(key, row);
        }
    }

    /// What happens by itself at the end of a block: locks return, keys become void, votes pass or lapse,
    /// and the pool pays.
    fn end_height(&self) -> Result<Writes, InvalidTransaction> {
        let mut draft = Draft::new(self);
        draft.count_votes();
        for key in self.tree.ends(draft.height) {
            match key {
                RowKey::Lock(payer, payee) => draft.unlock(payer, payee)?,
                RowKey::Key(key) => draft.void(key)?,
                row => draft.delete(*row),
            }
        }
        draft.settle()?;
        Ok(draft.into_writes())
    }

    /// Brings what is derived from the rows up to date.
    fn seal(&mut self) {
        self.tree.seal();
        self.validators = Draft::new(self).turns();
    }
}

/// The coins in a row, in millionths.
fn coins(row: &LedgerRow) -> u64 {
    match row {
        LedgerRow::Pot(amount) => *amount,
        LedgerRow::Account(account) => account.balance,
        LedgerRow::Lock(lock) => lock.amount,
        _ => 0,
    }
}
