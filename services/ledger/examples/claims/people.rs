//! Owners with a bound key each, who lock coins for the next one.

use std::fmt::Write;
use std::time::Duration;

use octet_coins::{Action, BlockHash, Genesis, Possession, SignedTransaction, Transaction};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_receipts::{Receipt, SignedReceipt, UNIT_BYTES};

use super::ledger::{Ledger, NODES};
use super::{Failed, node};

/// What each owner has at first, and locks for the next one.
const BALANCE: u64 = 1 << 30;
const LOCK: u64 = 1 << 28;

/// What a claim pays. Of it the payee pays the fee.
const PAYMENT: u64 = 1000;

struct Person {
    owner: PrivateKey,
    key: PrivateKey,
    nonce: u64,
    /// What its receipts to the next one promise.
    promised: u64,
}

pub struct People {
    /// The genesis file.
    pub genesis: String,
    hash: BlockHash,
    all: Vec<Person>,
    /// Whose claim is the next.
    next: usize,
}

fn key(of: u8, number: usize) -> Result<PrivateKey, Failed> {
    let mut seed = [of; 32];
    seed[..4].copy_from_slice(&(number as u32).to_be_bytes());
    Ok(PrivateKey::from_seed(seed).ok_or("a key")?)
}

impl People {
    pub fn new(count: usize, spacing: Duration) -> Result<Self, Failed> {
        let mut genesis = format!("name = \"bench\"\nspacing_seconds = {}\n", spacing.as_secs());
        for number in 0..NODES {
            let (owner, key) = (key(2, number)?.public(), node::key(number)?.public());
            writeln!(genesis, "[[validator]]\nowner = \"{owner}\"\nkey = \"{key}\"")?;
        }
        let mut all = vec![];
        for number in 0..count {
            let (owner, key) = (key(3, number)?, key(4, number)?);
            writeln!(genesis, "[[account]]\nowner = \"{}\"\nbalance = {BALANCE}", owner.public())?;
            all.push(Person { owner, key, nonce: 0, promised: 0 });
        }
        let hash = Genesis::from_toml(&genesis)?.hash();
        Ok(Self { genesis, hash, all, next: 0 })
    }

    /// Binds all keys, and locks coins of each for the next.
    pub fn begin(&mut self, ledger: &mut Ledger) -> Result<(), Failed> {
        for number in 0..self.all.len() {
            let person = &self.all[number];
            let (owner, key) = (person.owner.public(), person.key.public());
            let node = PublicKey::new([7; 32]);
            let consent = Possession::of_sub_key(&self.hash, &owner, &node, 1, &person.key);
            let action = Action::BindKey { node, key, epoch: 1, max_per_day: u64::MAX, consent };
            let transaction = self.order(number, action);
            ledger.submit(number, &transaction)?;
        }
        ledger.settle()?;
        for number in 0..self.all.len() {
            let (payer, payee) = self.pair(number);
            let transaction = self.order(number, Action::Lock { payer, payee, amount: LOCK });
            ledger.submit(number, &transaction)?;
        }
        ledger.settle()
    }

    /// The next claim, and whose it is: they take turns.
    pub fn claim(&mut self) -> Result<(usize, SignedTransaction), Failed> {
        let number = self.next % self.all.len();
        self.next += 1;
        self.all[number].promised += PAYMENT;
        let (payer, payee) = self.pair(number);
        let bytes = self.all[number].promised;
        let receipt = Receipt {
            payer,
            payee,
            scope: [1; 32],
            epoch: 1,
            bytes,
            price: UNIT_BYTES,
            amount: bytes,
        };
        let receipt = SignedReceipt::sign(receipt, &self.hash.0, &self.all[number].key)?;
        let payee = &self.all[(number + 1) % self.all.len()].key;
        let action = Action::Claim { receipt };
        let transaction = Transaction { signer: payee.public(), nonce: 0, action };
        Ok((number, SignedTransaction::sign(transaction, &self.hash, payee)))
    }

    /// A transaction of the first owner.
    pub fn transfer(&mut self) -> SignedTransaction {
        let to = self.all[1].owner.public();
        self.order(0, Action::Transfer { to, amount: 1 })
    }

    /// From now on heights go on by themselves.
    pub fn withdraw(&mut self, ledger: &mut Ledger) -> Result<(), Failed> {
        let (payer, payee) = self.pair(0);
        let transaction = self.order(0, Action::Withdraw { payer, payee });
        ledger.submit(0, &transaction)?;
        ledger.settle()
    }

    fn pair(&self, number: usize) -> (PublicKey, PublicKey) {
        let payee = &self.all[(number + 1) % self.all.len()];
        (self.all[number].key.public(), payee.key.public())
    }

    fn order(&mut self, number: usize, action: Action) -> SignedTransaction {
        let person = &mut self.all[number];
        person.nonce += 1;
        let transaction =
            Transaction { signer: person.owner.public(), nonce: person.nonce, action };
        SignedTransaction::sign(transaction, &self.hash, &person.owner)
    }
}
