//! One block after the other.

use crate::books::Books;
use crate::certificate;
use crate::difference::{Difference, Mismatch};
use crate::encoding::{MAX_BLOCK, read_block, read_order};
use crate::genesis::{AuditError, Beginning};
use crate::{Bytes32, sha256, signatures};

/// The audit of a ledger from its first block on.
#[derive(Debug, Clone)]
pub struct Audit {
    name: String,
    /// In millionths of a coin.
    genesis_coins: u128,
    books: Books,
    tip: Bytes32,
    state: Bytes32,
}

/// What an audit has found. Amounts are in millionths of a coin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSummary {
    pub name: String,
    pub genesis: Bytes32,
    /// Of the newest block; 0 before the first one.
    pub height: u64,
    /// The hash of the newest block; before the first one, of the genesis.
    pub block: Bytes32,
    /// The hash of the state after it.
    pub state: Bytes32,
    /// All balances, locks and the pot.
    pub coins: u128,
    /// The fees that were paid, without what the pool has paid of them.
    pub pot: u128,
    pub accounts: usize,
    /// Keys that were ever bound.
    pub keys: usize,
    pub locks: usize,
    pub validators: usize,
    /// The number of claims, and what they were paid in all.
    pub claims: u64,
    pub claimed: u128,
    /// The pool's members, and what it has paid in all.
    pub members: usize,
    pub pool_paid: u128,
}

impl Audit {
    /// # Errors
    /// No ledger begins with this genesis file.
    pub fn new(genesis_text: &str) -> Result<Self, AuditError> {
        let beginning = Beginning::read(genesis_text)?;
        let books = Books::new(&beginning);
        Ok(Self {
            genesis_coins: books.coins(),
            tip: beginning.hash,
            state: books.hash(),
            name: beginning.name,
            books,
        })
    }

    /// Audits the next block. After a difference the audit stands where it stood before.
    ///
    /// # Errors
    /// The first thing in the block, or in the votes for it, that does not add up.
    pub fn block(&mut self, block: &[u8], certificate: &[u8]) -> Result<(), Difference> {
        let height = self.books.height.saturating_add(1);
        let differs = |what| Difference { height, transaction: None, what };
        if block.len() > MAX_BLOCK {
            return Err(differs(Mismatch::TooLarge(block.len())));
        }
        let read = read_block(block).ok_or_else(|| differs(Mismatch::Block))?;
        if read.height != height {
            return Err(differs(Mismatch::Height(read.height)));
        }
        // First the votes: whatever is found then, the validators have signed.
        let hash = sha256(block);
        let turns = self.books.turns(height);
        let validators = turns.iter().map(|(_, key)| *key).collect();
        let of = (height, read.round, &hash);
        certificate::check(certificate, &self.books.genesis, of, &validators).map_err(differs)?;
        if read.parent != self.tip {
            return Err(differs(Mismatch::Parent));
        }
        if read.state != self.state {
            let [theirs, own] = [read.state, self.state].map(hex);
            return Err(differs(Mismatch::State { theirs, own }));
        }
        let mut books = self.books.clone();
        books.height = height;
        for (number, bytes) in read.orders.iter().enumerate() {
            let transaction = Some(number + 1);
            let order = read_order(bytes).ok_or(Difference {
                height,
                transaction,
                what: Mismatch::Transaction,
            })?;
            signatures::check(&order, &books.genesis)
                .and_then(|()| books.act(&order))
                .map_err(|rule| Difference { height, transaction, what: Mismatch::Rule(rule) })?;
        }
        books.end(&turns, read.round);
        let (now, genesis) = (books.coins(), self.genesis_coins);
        if now != genesis {
            return Err(differs(Mismatch::Coins { now, genesis }));
        }
        (self.state, self.tip, self.books) = (books.hash(), hash, books);
        Ok(())
    }

    /// The hash of the state after the newest block. The next block has it.
    pub fn state(&self) -> &[u8; 32] {
        &self.state
    }

    pub fn summary(&self) -> AuditSummary {
        AuditSummary {
            name: self.name.clone(),
            genesis: self.books.genesis,
            height: self.books.height,
            block: self.tip,
            state: self.state,
            coins: self.books.coins(),
            pot: self.books.fees,
            accounts: self.books.owners.len(),
            keys: self.books.keys.len(),
            locks: self.books.locks.len(),
            validators: self.books.seats.len(),
            claims: self.books.claimed.1,
            claimed: self.books.claimed.0,
            members: self.books.members.len(),
            pool_paid: self.books.pool_paid,
        }
    }
}

fn hex(hash: Bytes32) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
