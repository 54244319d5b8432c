//! Transactions that wait for a block.

use std::collections::BTreeMap;

use octet_node::control::PublicKey;

use crate::block::{Block, MAX_BLOCK, MAX_TRANSACTIONS};
use crate::invalid::InvalidTransaction;
use crate::state::LedgerState;
use crate::transaction::{SignedTransaction, Transaction, TransactionHash};

/// The maximum number of transactions that wait.
pub const MAX_PENDING: usize = 4096;

/// The maximum number of transactions of one signer that wait.
pub const MAX_WAITING: usize = 16;

/// So many of [`MAX_PENDING`] are for signers of which none waits.
const RESERVED: usize = 1024;

/// So many heights a transaction waits that cannot be in the next block.
const MAX_HEIGHTS: u64 = 256;

/// Transactions that wait for a block, in the order in which they came. Their signatures are verified.
///
/// An owner has one transaction for each nonce: the first that came.
#[derive(Debug, Default)]
pub struct PendingTransactions {
    /// By their numbers, in the order in which they came.
    waiting: BTreeMap<u64, WaitingTransaction>,
    numbers: BTreeMap<TransactionHash, u64>,
    /// Of each owner: the numbers by nonce; of a payee's key, by number.
    signers: BTreeMap<PendingSigner, BTreeMap<u64, u64>>,
    next: u64,
    /// How many could be in the next block.
    ready: usize,
}

/// A key could be an owner's and a payee's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PendingSigner {
    Owner(PublicKey),
    Payee(PublicKey),
}

impl PendingSigner {
    fn of(transaction: &Transaction) -> Self {
        match transaction.is_claim() {
            true => Self::Payee(transaction.signer),
            false => Self::Owner(transaction.signer),
        }
    }
}

#[derive(Debug)]
struct WaitingTransaction {
    signed: SignedTransaction,
    hash: TransactionHash,
    /// The height of the ledger at which it came.
    since: u64,
    is_ready: bool,
}

impl PendingTransactions {
    /// Takes a transaction. Returns whether it is new.
    ///
    /// # Errors
    /// It could not be in the next block, nor after other transactions of its signer; or too many wait.
    pub fn admit(
        &mut self,
        signed: SignedTransaction,
        state: &LedgerState,
    ) -> Result<bool, InvalidTransaction> {
        let hash = signed.hash();
        if self.contains(&hash) {
            return Ok(false);
        }
        let transaction = *signed.transaction();
        let is_ready = check(&signed, state)?;
        let signer = PendingSigner::of(&transaction);
        let of_signer = self.signers.get(&signer);
        let waits = of_signer.map_or(0, BTreeMap::len);
        let max = if waits == 0 { MAX_PENDING } else { MAX_PENDING - RESERVED };
        if waits >= MAX_WAITING || self.waiting.len() >= max {
            return Err(InvalidTransaction::Full);
        }
        let (number, nonce) = (self.next, transaction.nonce);
        let place = if transaction.is_claim() { number } else { nonce };
        if of_signer.is_some_and(|places| places.contains_key(&place)) {
            return Err(InvalidTransaction::Nonce);
        }
        // This is what costs time, so it comes last.
        signed.verify(state.genesis_hash())?;
        self.next += 1;
        self.signers.entry(signer).or_default().insert(place, number);
        self.numbers.insert(hash, number);
        let since = state.height();
        self.waiting.insert(number, WaitingTransaction { signed, hash, since, is_ready });
        self.ready += usize::from(is_ready);
        Ok(true)
    }

    /// Whether none of the transactions could be in the next block.
    pub fn is_empty(&self) -> bool {
        self.ready == 0
    }

    /// How many wait, also those that could not be in the next block.
    pub fn count(&self) -> usize {
        self.waiting.len()
    }

    pub fn contains(&self, hash: &TransactionHash) -> bool {
        self.numbers.contains_key(hash)
    }

    pub fn get(&self, hash: &TransactionHash) -> Option<&SignedTransaction> {
        let waiting = self.waiting.get(self.numbers.get(hash)?)?;
        Some(&waiting.signed)
    }

    /// Those with the number `first` or a higher one, in the order in which they came, with their numbers. Whoever
    /// passes them on remembers up to which.
    pub fn since(&self, first: u64) -> impl Iterator<Item = (u64, &SignedTransaction)> {
        self.waiting.range(first..).map(|(number, waiting)| (*number, &waiting.signed))
    }

    /// The next block, with those that are valid: oldest first, but the transactions of one owner in the order of
    /// their nonces.
    pub fn block(&self, state: &LedgerState, round: u32) -> Block {
        let (mut next, mut transactions, mut size) = (state.clone(), vec![], Block::HEADER);
        for (number, waiting) in &self.waiting {
            let mut taken = Some((*number, waiting));
            while let Some((number, waiting)) = taken {
                let with_it = size + Block::PER_TRANSACTION + waiting.signed.to_bytes().len();
                let has_room = with_it <= MAX_BLOCK && transactions.len() < MAX_TRANSACTIONS;
                if !has_room || next.run(waiting.signed.transaction()).is_err() {
                    break;
                }
                size = with_it;
                transactions.push(waiting.signed);
                taken = self.passed_over(number, waiting);
            }
        }
        Block {
            height: state.height().saturating_add(1),
            parent: state.tip(),
            state: state.hash(),
            round,
            transactions,
        }
    }

    /// The one with the nonce after that of `waiting`, if it came earlier.
    fn passed_over(
        &self,
        number: u64,
        waiting: &WaitingTransaction,
    ) -> Option<(u64, &WaitingTransaction)> {
        let transaction = waiting.signed.transaction();
        let places = self.signers.get(&PendingSigner::of(transaction))?;
        let following = places.get(&transaction.nonce.checked_add(1)?)?;
        let is_passed_over = !transaction.is_claim() && *following < number;
        is_passed_over.then_some((*following, self.waiting.get(following)?))
    }

    /// Forgets what `state`, after a new block, makes invalid for good, and what has waited too long without being
    /// valid.
    pub fn prune(&mut self, state: &LedgerState) {
        let mut gone = vec![];
        self.ready = 0;
        for (number, waiting) in &mut self.waiting {
            match check(&waiting.signed, state) {
                Ok(is_ready) => waiting.is_ready = is_ready,
                Err(why) if why.is_final() || why == InvalidTransaction::Nonce => {
                    gone.push(*number);
                }
                Err(_) => waiting.is_ready = false,
            }
            let waited = state.height().saturating_sub(waiting.since);
            if !waiting.is_ready && waited > MAX_HEIGHTS {
                gone.push(*number);
            }
            self.ready += usize::from(waiting.is_ready);
        }
        for number in gone {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(waiting) = self.waiting.remove(&number) else { return };
        self.ready -= usize::from(waiting.is_ready);
        self.numbers.remove(&waiting.hash);
        let transaction = waiting.signed.transaction();
        let signer = PendingSigner::of(transaction);
        if let Some(places) = self.signers.get_mut(&signer) {
            places.remove(if transaction.is_claim() { &number } else { &transaction.nonce });
            if places.is_empty() {
                self.signers.remove(&signer);
            }
        }
    }
}

/// Whether a transaction could be in the next block, or else only after others of its signer. Signatures are not
/// verified.
fn check(signed: &SignedTransaction, state: &LedgerState) -> Result<bool, InvalidTransaction> {
    let transaction = signed.transaction();
    if !transaction.is_claim() {
        let account = state.account(&transaction.signer).ok_or(InvalidTransaction::Balance)?;
        match transaction.nonce.checked_sub(account.nonce) {
            None | Some(0) => return Err(InvalidTransaction::Nonce),
            Some(1) => {}
            Some(ahead) if ahead > MAX_WAITING as u64 => return Err(InvalidTransaction::Nonce),
            Some(_) if account.balance < state.parameters().fee => {
                return Err(InvalidTransaction::Balance);
            }
            Some(_) => return Ok(false),
        }
    }
    state.try_run(transaction).map(|()| true)
}
