//! The state of a ledger after a block.

use std::collections::BTreeMap;

use octet_node::control::PublicKey;
use ring::digest::{SHA256, digest};

use crate::block::{Block, BlockHash, InvalidBlock, MAX_BLOCK};
use crate::genesis::Genesis;
use crate::transaction::{InvalidTransaction, SignedTransaction};

/// A validator. All have one vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validator {
    pub key: PublicKey,
}

/// The state of a ledger after a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerState {
    height: u64,
    tip: BlockHash,
    balances: BTreeMap<PublicKey, (u64, u64)>,
    validators: Vec<Validator>,
}

impl LedgerState {
    pub fn new(genesis: &Genesis) -> Self {
        let balances = genesis.balances.iter().map(|(owner, balance)| (*owner, (*balance, 0)));
        let validators = genesis.validators.iter().map(|key| Validator { key: *key });
        Self {
            height: 0,
            tip: genesis.hash(),
            balances: balances.collect(),
            validators: validators.collect(),
        }
    }

    /// The height of the newest block; 0 before the first one.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// The hash of the newest block; before the first one, of the genesis.
    pub fn tip(&self) -> BlockHash {
        self.tip
    }

    /// Of all accounts, locks, keys and validators.
    pub fn hash(&self) -> [u8; 32] {
        let mut bytes = vec![];
        for (owner, (balance, nonce)) in &self.balances {
            bytes.extend_from_slice(owner.as_bytes());
            bytes.extend_from_slice(&balance.to_be_bytes());
            bytes.extend_from_slice(&nonce.to_be_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        hash
    }

    /// The validators of the next height, in the order of their turns.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// Whose turn it is at the next height in `round`.
    pub fn proposer(&self, round: u32) -> PublicKey {
        let turn = (self.height + 1).wrapping_add(u64::from(round)) % self.validators.len() as u64;
        self.validators[turn as usize].key
    }

    /// Whether heights must go on without transactions, because something ends at a height.
    pub fn is_counting(&self) -> bool {
        false
    }

    /// The state after `block`.
    ///
    /// # Errors
    /// The block cannot follow this state.
    pub fn check(&self, block: &Block) -> Result<Self, InvalidBlock> {
        if (block.height, block.parent) != (self.height + 1, self.tip) {
            return Err(InvalidBlock::NotNext);
        }
        if block.state != self.hash() {
            return Err(InvalidBlock::State);
        }
        if block.to_bytes().len() > MAX_BLOCK {
            return Err(InvalidBlock::TooLarge);
        }
        let mut next = self.clone();
        for (number, transaction) in block.transactions.iter().enumerate() {
            next.run(transaction).map_err(|why| InvalidBlock::Transaction(number, why))?;
        }
        (next.height, next.tip) = (block.height, block.hash());
        Ok(next)
    }

    pub(crate) fn check_transaction(
        &self,
        transaction: &SignedTransaction,
    ) -> Result<(), InvalidTransaction> {
        let (_, nonce) = self.balances.get(&transaction.from).ok_or(InvalidTransaction::Balance)?;
        if transaction.nonce > *nonce { Ok(()) } else { Err(InvalidTransaction::Nonce) }
    }

    pub(crate) fn run(
        &mut self,
        transaction: &SignedTransaction,
    ) -> Result<(), InvalidTransaction> {
        let from = self.balances.get_mut(&transaction.from).ok_or(InvalidTransaction::Balance)?;
        if transaction.nonce != from.1 + 1 {
            return Err(InvalidTransaction::Nonce);
        }
        from.0 = from.0.checked_sub(transaction.amount).ok_or(InvalidTransaction::Balance)?;
        from.1 += 1;
        self.balances.entry(transaction.to).or_default().0 += transaction.amount;
        Ok(())
    }
}
