//! A ledger of four validators, and owners with their boxes' keys.

use std::collections::BTreeMap;
use std::time::Duration;

use octet_coins::{
    Action, Block, BlockHash, Genesis, InvalidBlock, InvalidTransaction, LedgerParameters,
    LedgerState, PendingTransactions, PoolParameters, Possession, SignedTransaction, Transaction,
    Validator,
};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_receipts::{Receipt, SignedReceipt, cost};

pub const FEE: u64 = 100;
pub const BALANCE: u64 = 1_000_000;
pub const WITHDRAWAL: u64 = 10;
pub const CLAIM: u64 = 6;
pub const VOTE: u64 = 8;
pub const DAY: u64 = 20;
pub const PERIOD: u64 = 5;

/// With this price, a byte costs a millionth.
pub const A_BYTE: u64 = 1 << 30;

/// An owner's key: 0 to 3 own validators, 4 and 5 do not, others have no account.
pub fn owner(number: u8) -> PrivateKey {
    PrivateKey::from_seed([number + 1; 32]).unwrap()
}

/// The key of an owner's validator; another one for each epoch.
pub fn validator(number: u8, epoch: u8) -> PrivateKey {
    let mut seed = [number + 1; 32];
    (seed[0], seed[1]) = (0xaa, epoch);
    PrivateKey::from_seed(seed).unwrap()
}

/// The key of the unit `accounts` of an owner's node.
pub fn sub_key(number: u8, epoch: u8) -> PrivateKey {
    let mut seed = [number + 1; 32];
    (seed[0], seed[1]) = (0xbb, epoch);
    PrivateKey::from_seed(seed).unwrap()
}

pub fn node(number: u8) -> PublicKey {
    PrivateKey::from_seed([0xcc - number; 32]).unwrap().public()
}

/// The neutral element: everybody can sign with it.
pub fn weak() -> PublicKey {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    PublicKey::new(neutral)
}

pub fn parameters() -> LedgerParameters {
    LedgerParameters {
        spacing: Duration::from_secs(10),
        heights_per_day: DAY,
        withdrawal_heights: WITHDRAWAL,
        claim_heights: CLAIM,
        vote_heights: VOTE,
        settlement_heights: PERIOD,
        fee: FEE,
        pool: None,
    }
}

pub fn genesis_with(validators: u8) -> Genesis {
    genesis_of(validators, parameters())
}

pub fn genesis_of(validators: u8, parameters: LedgerParameters) -> Genesis {
    let all = (0..validators).map(|number| Validator {
        owner: owner(number).public(),
        key: validator(number, 0).public(),
    });
    let balances: BTreeMap<_, _> =
        (0..validators + 2).map(|number| (owner(number).public(), BALANCE)).collect();
    Genesis::new("valley", all.collect(), balances, parameters).unwrap()
}

pub struct Ledger {
    pub genesis: Genesis,
    pub state: LedgerState,
}

impl Ledger {
    pub fn new() -> Self {
        Self::of(genesis_with(4))
    }

    pub fn of(genesis: Genesis) -> Self {
        Self { state: LedgerState::new(&genesis), genesis }
    }

    pub fn with_pool(pool: PoolParameters) -> Self {
        Self::of(genesis_of(4, LedgerParameters { pool: Some(pool), ..parameters() }))
    }

    pub fn hash(&self) -> BlockHash {
        self.genesis.hash()
    }

    pub fn next(&self, transactions: Vec<SignedTransaction>) -> Block {
        let (height, parent) = (self.state.height() + 1, self.state.tip());
        Block { height, parent, state: self.state.hash(), round: 0, transactions }
    }

    pub fn follow(&mut self, block: &Block) -> Result<(), InvalidBlock> {
        self.state = self.state.check(block)?;
        assert_eq!(self.state.total(), self.genesis.sum());
        Ok(())
    }

    /// A block with this transaction alone.
    pub fn run(&mut self, signed: SignedTransaction) -> Result<(), InvalidTransaction> {
        let block = self.next(vec![signed]);
        match self.follow(&block) {
            Ok(()) => Ok(()),
            Err(InvalidBlock::Transaction(0, why)) => {
                // Who offers it to the pool hears the same.
                let mut pool = PendingTransactions::default();
                assert_eq!(pool.admit(signed, &self.state), Err(why));
                Err(why)
            }
            Err(why) => panic!("{why}"),
        }
    }

    pub fn signed(&self, by: u8, action: Action) -> SignedTransaction {
        let nonce = self.state.account(&owner(by).public()).map_or(0, |it| it.nonce) + 1;
        self.numbered(by, nonce, action)
    }

    pub fn numbered(&self, by: u8, nonce: u64, action: Action) -> SignedTransaction {
        let transaction = Transaction { signer: owner(by).public(), nonce, action };
        SignedTransaction::sign(transaction, &self.hash(), &owner(by))
    }

    /// A block with what an owner orders.
    pub fn act(&mut self, by: u8, action: Action) -> Result<(), InvalidTransaction> {
        self.run(self.signed(by, action))
    }

    /// Blocks without transactions.
    pub fn pass(&mut self, heights: u64) {
        for _ in 0..heights {
            self.follow(&self.next(vec![])).unwrap();
        }
    }

    pub fn balance(&self, of: u8) -> u64 {
        self.state.account(&owner(of).public()).map_or(0, |it| it.balance)
    }

    pub fn bind_action(&self, by: u8, epoch: u8) -> Action {
        let key = sub_key(by, epoch);
        let (signer, node, epoch) = (owner(by).public(), node(by), u64::from(epoch));
        let consent = Possession::of_sub_key(&self.hash(), &signer, &node, epoch, &key);
        Action::BindKey { node, key: key.public(), epoch, max_per_day: u64::MAX, consent }
    }

    pub fn bind(&mut self, by: u8, epoch: u8) {
        self.act(by, self.bind_action(by, epoch)).unwrap();
    }

    /// The payer 4 and the payee 5 with bound keys, and a lock between these.
    pub fn with_lock(amount: u64) -> Self {
        let mut ledger = Self::new();
        ledger.bind(4, 1);
        ledger.bind(5, 1);
        ledger.act(4, lock(amount)).unwrap();
        ledger
    }

    /// A receipt from 4 to 5: so many bytes for as many millionths.
    pub fn receipt(&self, bytes: u64) -> SignedReceipt {
        self.sign_receipt(Receipt { bytes, ..receipt(bytes) })
    }

    pub fn sign_receipt(&self, receipt: Receipt) -> SignedReceipt {
        let receipt = Receipt { amount: cost(receipt.bytes, receipt.price), ..receipt };
        SignedReceipt::sign(receipt, &self.hash().0, &sub_key(4, 1)).unwrap()
    }

    pub fn claim_transaction(&self, receipt: SignedReceipt) -> SignedTransaction {
        let signer = sub_key(5, 1).public();
        let transaction = Transaction { signer, nonce: 0, action: Action::Claim { receipt } };
        SignedTransaction::sign(transaction, &self.hash(), &sub_key(5, 1))
    }

    /// A block with a claim by 5.
    pub fn claim(&mut self, receipt: SignedReceipt) -> Result<(), InvalidTransaction> {
        self.run(self.claim_transaction(receipt))
    }
}

pub fn receipt(bytes: u64) -> Receipt {
    Receipt {
        payer: sub_key(4, 1).public(),
        payee: sub_key(5, 1).public(),
        scope: [7; 32],
        epoch: 1,
        bytes,
        price: A_BYTE,
        amount: bytes,
    }
}

/// Of 4's key for 5's.
pub fn lock(amount: u64) -> Action {
    Action::Lock { payer: sub_key(4, 1).public(), payee: sub_key(5, 1).public(), amount }
}

pub fn withdraw() -> Action {
    Action::Withdraw { payer: sub_key(4, 1).public(), payee: sub_key(5, 1).public() }
}

pub fn transfer(to: u8, amount: u64) -> Action {
    Action::Transfer { to: owner(to).public(), amount }
}
