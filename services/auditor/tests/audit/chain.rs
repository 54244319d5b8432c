//! A ledger whose validators' keys the test has, so that it can sign any block.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use octet_auditor::{Audit, BrokenRule, Difference, Mismatch};
use octet_coins::{
    Action, Block, BlockHash, Genesis, LedgerState, Possession, SignedTransaction, Transaction,
    VotedChange,
};
use octet_node::control::PublicKey;
use octet_node::key::{Domain, PrivateKey};
use octet_receipts::{Receipt, SignedReceipt};

pub fn key(kind: u8, number: usize) -> PrivateKey {
    let mut seed = [kind; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    PrivateKey::from_seed(seed).unwrap()
}

/// An owner's key: the first ones own validators.
pub fn owner(number: usize) -> PrivateKey {
    key(1, number)
}

pub fn sub_key(number: usize) -> PrivateKey {
    key(2, number)
}

pub fn validator(number: usize) -> PrivateKey {
    key(3, number)
}

/// Heights of the genesis file.
#[derive(Clone, Copy)]
pub struct Heights {
    pub day: u64,
    pub withdrawal: u64,
    pub claim: u64,
    pub vote: u64,
    pub fee: u64,
    pub settlement: u64,
    /// `per_period`, `halving_periods`, `fees_percent`, `owner_percent` and `levy_permille`.
    pub pool: Option<[u64; 5]>,
}

pub const HEIGHTS: Heights =
    Heights { day: 20, withdrawal: 4, claim: 3, vote: 5, fee: 100, settlement: 6, pool: None };

pub fn genesis_file(name: &str, validators: usize, balances: &[u64], heights: Heights) -> String {
    let Heights { day, withdrawal, claim, vote, fee, settlement, pool } = heights;
    let mut text = format!(
        "name = \"{name}\"\nheights_per_day = {day}\nwithdrawal_heights = {withdrawal}\nclaim_heights = {claim}\n\
         vote_heights = {vote}\nfee = {fee}\nsettlement_heights = {settlement}\n"
    );
    if let Some([per_period, halving, fees, owner, levy]) = pool {
        write!(
            text,
            "[pool]\nper_period = {per_period}\nhalving_periods = {halving}\nfees_percent = {fees}\n\
             owner_percent = {owner}\nlevy_permille = {levy}\n"
        )
        .unwrap();
    }
    for number in 0..validators {
        let (owner, key) = (owner(number).public(), validator(number).public());
        writeln!(text, "[[validator]]\nowner = \"{owner}\"\nkey = \"{key}\"").unwrap();
    }
    for (number, balance) in balances.iter().enumerate().filter(|it| *it.1 > 0) {
        let owner = owner(number).public();
        writeln!(text, "[[account]]\nowner = \"{owner}\"\nbalance = {balance}").unwrap();
    }
    text
}

/// An encoded certificate of height, round and hash by these keys.
pub fn certificate(
    genesis: &BlockHash,
    (height, round, hash): (u64, u32, [u8; 32]),
    signers: &[&PrivateKey],
) -> Vec<u8> {
    let (height, round) = (height.to_be_bytes(), round.to_be_bytes());
    let vote = [&genesis.0[..], &[2], &height, &round, &[1], &hash].concat();
    let count = (signers.len() as u16).to_be_bytes();
    let mut out = [&height[..], &round, &hash, &count].concat();
    for signer in signers {
        out.extend_from_slice(signer.public().as_bytes());
        out.extend_from_slice(&signer.sign(Domain::Vote, &vote));
    }
    out
}

pub struct Chain {
    pub genesis: BlockHash,
    pub state: LedgerState,
    pub audit: Audit,
    /// All keys that may be a validator's.
    pub keys: BTreeMap<PublicKey, PrivateKey>,
    /// All blocks with their votes.
    pub blocks: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Chain {
    pub fn new(text: &str) -> Self {
        let genesis = Genesis::from_toml(text).unwrap();
        let audit = Audit::new(text).unwrap();
        let state = LedgerState::new(&genesis);
        assert_eq!(audit.summary().genesis, genesis.hash().0);
        assert_eq!(*audit.state(), state.hash());
        let keys = (0..200).map(validator).map(|key| (key.public(), key)).collect();
        Self { genesis: genesis.hash(), state, audit, keys, blocks: vec![] }
    }

    /// Four validators; six owners have coins.
    pub fn small() -> Self {
        Self::new(&genesis_file("valley", 4, &[1_000_000; 6], HEIGHTS))
    }

    /// The same with a pool.
    pub fn with_pool(pool: [u64; 5]) -> Self {
        let heights = Heights { pool: Some(pool), ..HEIGHTS };
        Self::new(&genesis_file("valley", 4, &[1_000_000; 6], heights))
    }

    pub fn block(&self, round: u32, transactions: Vec<SignedTransaction>) -> Block {
        let (height, parent) = (self.state.height() + 1, self.state.tip());
        Block { height, parent, state: self.state.hash(), round, transactions }
    }

    /// The votes of all validators for any block.
    pub fn votes(&self, block: &Block) -> Vec<u8> {
        let validators = self.state.validators().iter();
        let signers: Vec<_> = validators.map(|it| &self.keys[&it.key]).collect();
        self.votes_of(block, &signers)
    }

    pub fn votes_of(&self, block: &Block, signers: &[&PrivateKey]) -> Vec<u8> {
        certificate(&self.genesis, (block.height, block.round, block.hash().0), signers)
    }

    /// The auditor's opinion of any block that all validators have signed. Nothing follows from it.
    pub fn opinion(&self, block: &Block) -> Result<(), Difference> {
        self.audit.clone().block(&block.to_bytes(), &self.votes(block))
    }

    /// Both follow a block.
    pub fn follow(&mut self, block: &Block) {
        self.follow_with(block, self.votes(block));
    }

    pub fn follow_with(&mut self, block: &Block, votes: Vec<u8>) {
        let state = self.state.check(block).unwrap();
        let bytes = block.to_bytes();
        self.audit.block(&bytes, &votes).unwrap();
        self.state = state;
        assert_eq!(*self.audit.state(), self.state.hash());
        let summary = self.audit.summary();
        assert_eq!((summary.height, summary.block), (self.state.height(), self.state.tip().0));
        assert_eq!(summary.coins, u128::from(self.state.total()));
        assert_eq!(summary.pot, u128::from(self.state.pot()));
        self.blocks.push((bytes, votes));
    }

    pub fn run(&mut self, transactions: Vec<SignedTransaction>) {
        self.follow(&self.block(0, transactions));
    }

    pub fn act(&mut self, by: usize, action: Action) {
        self.run(vec![self.order(by, action)]);
    }

    pub fn pass(&mut self, heights: u64) {
        (0..heights).for_each(|_| self.run(vec![]));
    }

    /// The rule that a block breaks in its last transaction.
    pub fn rule(&self, transactions: Vec<SignedTransaction>) -> Option<BrokenRule> {
        let count = transactions.len();
        match self.opinion(&self.block(0, transactions)) {
            Ok(()) => None,
            Err(Difference { transaction, what: Mismatch::Rule(rule), .. }) => {
                assert_eq!(transaction, Some(count));
                Some(rule)
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// The next transaction of an owner.
    pub fn order(&self, by: usize, action: Action) -> SignedTransaction {
        self.order_after(by, 0, action)
    }

    /// The one after `others` more.
    pub fn order_after(&self, by: usize, others: u64, action: Action) -> SignedTransaction {
        let nonce = self.state.account(&owner(by).public()).map_or(0, |it| it.nonce) + 1 + others;
        let transaction = Transaction { signer: owner(by).public(), nonce, action };
        SignedTransaction::sign(transaction, &self.genesis, &owner(by))
    }

    /// Binds a key for the only node of an owner.
    pub fn bind(&self, by: usize, key: &PrivateKey, epoch: u64) -> Action {
        let (signer, node) = (owner(by).public(), PublicKey::new([by as u8; 32]));
        let consent = Possession::of_sub_key(&self.genesis, &signer, &node, epoch, key);
        Action::BindKey { node, key: key.public(), epoch, max_per_day: u64::MAX, consent }
    }
}

/// With this price, a byte costs a millionth.
pub const A_BYTE: u64 = 1 << 30;

/// The chain has two boxes: that of owner 4 pays, and that of owner 5 is paid.
impl Chain {
    pub fn payer() -> PrivateKey {
        sub_key(4)
    }

    pub fn payee() -> PrivateKey {
        sub_key(5)
    }

    pub fn lock_of(amount: u64) -> Action {
        let (payer, payee) = (Self::payer().public(), Self::payee().public());
        Action::Lock { payer, payee, amount }
    }

    pub fn withdrawal() -> Action {
        let (payer, payee) = (Self::payer().public(), Self::payee().public());
        Action::Withdraw { payer, payee }
    }

    /// With both keys bound, and a lock.
    pub fn with_lock(amount: u64) -> Self {
        let mut chain = Self::small();
        chain.lock(amount);
        chain
    }

    fn lock(&mut self, amount: u64) {
        let payer = self.order(4, self.bind(4, &Self::payer(), 1));
        let payee = self.order(5, self.bind(5, &Self::payee(), 1));
        self.run(vec![payer, payee]);
        self.act(4, Self::lock_of(amount));
    }

    /// A member is paid by others, and a period begins after the newest block.
    pub fn with_member(pool: [u64; 5], amount: u64) -> Self {
        let mut chain = Self::with_pool(pool);
        chain.lock(amount);
        let vote = Action::Vote { change: Self::member(5, true), consent: None };
        chain.run([0, 1, 2].map(|by| chain.order(by, vote)).to_vec());
        chain.pass(HEIGHTS.settlement - chain.state.height() % HEIGHTS.settlement);
        chain
    }

    /// The only node of an owner is admitted, or removed.
    pub fn member(of: usize, is_admitted: bool) -> VotedChange {
        let (owner, node) = (owner(of).public(), PublicKey::new([of as u8; 32]));
        match is_admitted {
            true => VotedChange::AddMember { owner, node },
            false => VotedChange::RemoveMember { owner, node },
        }
    }

    /// A claim of so many bytes.
    pub fn claim(&self, bytes: u64) -> SignedTransaction {
        self.claim_of(Receipt {
            payer: Self::payer().public(),
            payee: Self::payee().public(),
            scope: [7; 32],
            epoch: 1,
            bytes,
            price: A_BYTE,
            amount: bytes,
        })
    }

    pub fn claim_of(&self, receipt: Receipt) -> SignedTransaction {
        let receipt = SignedReceipt::sign(receipt, &self.genesis.0, &Self::payer()).unwrap();
        let action = Action::Claim { receipt };
        let transaction = Transaction { signer: Self::payee().public(), nonce: 0, action };
        SignedTransaction::sign(transaction, &self.genesis, &Self::payee())
    }

    /// A vote for a validator of an owner.
    pub fn vote_for(&self, by: usize, about: usize, key: &PrivateKey) -> SignedTransaction {
        let (owner, epoch) = (owner(about).public(), 1);
        let consent = Some(Possession::of_validator(&self.genesis, &owner, epoch, key));
        let change = VotedChange::Add { owner, key: key.public(), epoch };
        self.order(by, Action::Vote { change, consent })
    }

    pub fn rotation(&self, by: usize, key: &PrivateKey) -> Action {
        let consent = Possession::of_validator(&self.genesis, &owner(by).public(), 1, key);
        Action::RotateValidator { key: key.public(), epoch: 1, consent }
    }
}
