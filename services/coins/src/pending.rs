//! Transactions that wait for a block.

use std::collections::VecDeque;

use crate::block::Block;
use crate::state::LedgerState;
use crate::transaction::{InvalidTransaction, SignedTransaction};

/// Transactions that wait for a block, in the order in which they came.
#[derive(Debug, Default)]
pub struct PendingTransactions {
    waiting: VecDeque<SignedTransaction>,
}

impl PendingTransactions {
    /// Takes a transaction. Returns whether it is new.
    ///
    /// # Errors
    /// It can never be valid, or its sender has too many that wait.
    pub fn admit(
        &mut self,
        transaction: SignedTransaction,
        state: &LedgerState,
    ) -> Result<bool, InvalidTransaction> {
        state.check_transaction(&transaction)?;
        let is_new = !self.waiting.contains(&transaction);
        if is_new {
            self.waiting.push_back(transaction);
        }
        Ok(is_new)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next block, with those that are valid, oldest first.
    pub fn block(&self, state: &LedgerState, round: u32) -> Block {
        let (mut next, mut transactions) = (state.clone(), vec![]);
        for transaction in &self.waiting {
            if next.run(transaction).is_ok() {
                transactions.push(transaction.clone());
            }
        }
        Block {
            height: state.height() + 1,
            parent: state.tip(),
            state: state.hash(),
            round,
            transactions,
        }
    }

    /// Forgets what `state`, after a new block, makes invalid for good.
    pub fn prune(&mut self, state: &LedgerState) {
        self.waiting.retain(|transaction| state.check_transaction(transaction).is_ok());
    }
}
