//! What a ledger begins with.

mod file;
mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use octet_node::control::PublicKey;
use octet_receipts::is_strong;

use crate::block::BlockHash;
use crate::sha256;
use crate::state::Validator;

pub use pool::PoolParameters;
pub(crate) use pool::part;

/// Fewer validators tolerate no fault.
pub const MIN_VALIDATORS: usize = 4;

pub const MAX_VALIDATORS: usize = 64;

/// The maximum sum of all balances, in millionths of a coin.
pub const MAX_COINS: u64 = 1 << 62;

/// The maximum of `fee`, in millionths of a coin.
const MAX_FEE: u64 = 1_000_000_000;

/// The maximum of each number of heights: with the shortest spacing, more than three years.
const MAX_HEIGHTS: u64 = 100_000_000;

/// The maximum length of a ledger's name, in bytes.
const MAX_NAME: usize = 63;

/// The longest interval of blocks.
const MAX_SPACING: Duration = Duration::from_secs(3600);

const SECONDS_OF_A_DAY: u64 = 86_400;

/// How a ledger counts. All of it is fixed by the genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerParameters {
    /// The shortest interval of blocks, in whole milliseconds.
    pub spacing: Duration,
    /// So many heights are a day of `max_per_day`.
    pub heights_per_day: u64,
    /// A lock returns so many heights after its notice.
    pub withdrawal_heights: u64,
    /// For so many heights after a key was closed, claims with it are taken.
    pub claim_heights: u64,
    /// A vote lapses after so many heights.
    pub vote_heights: u64,
    /// The period of settlement, in heights.
    pub settlement_heights: u64,
    /// What a transaction costs, in millionths of a coin.
    pub fee: u64,
    /// Without it all fees stay in the pot.
    pub pool: Option<PoolParameters>,
}

/// What all validators must have in common before the first block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    name: String,
    /// In the order of their owners.
    validators: Vec<Validator>,
    balances: BTreeMap<PublicKey, u64>,
    parameters: LedgerParameters,
}

/// A mistake in a genesis file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct GenesisError {
    /// Counted from 1.
    pub line: usize,
    pub problem: GenesisProblem,
}

impl GenesisError {
    pub fn help(&self) -> &'static str {
        self.problem.help()
    }
}

/// Why a ledger cannot begin like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisProblem {
    #[error("{0}")]
    Syntax(String),
    #[error(
        "the name of the ledger is empty, too long, or has other characters than a-z, 0-9 and -"
    )]
    Name,
    #[error(
        "{0} validators are too few: with fewer than {MIN_VALIDATORS}, one that fails stops all"
    )]
    TooFewValidators(usize),
    #[error("{0} validators are more than {MAX_VALIDATORS}")]
    TooManyValidators(usize),
    #[error("{0} owns two validators")]
    OwnerTwice(PublicKey),
    #[error("{0} is the key of two validators")]
    KeyTwice(PublicKey),
    #[error("{0} has two accounts")]
    AccountTwice(PublicKey),
    #[error("{0} is no key that can sign")]
    WeakKey(PublicKey),
    #[error("a balance of 0 is no account")]
    Zero,
    #[error("the balances add up to more than {MAX_COINS}")]
    TooManyCoins,
    #[error("`{key}` is {value}, and may be {min} to {max}")]
    OutOfRange { key: &'static str, value: u64, min: u64, max: u64 },
}

impl GenesisProblem {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "docs/ledger.md lists all keys of a genesis file",
            Self::Name => "choose at most 63 characters, such as `valley-2027`",
            Self::TooFewValidators(_) => {
                "find four owners who run a validator; until then, receipts between two need no ledger"
            }
            Self::TooManyValidators(_) => "leave some out: each vote goes to all of them",
            Self::OwnerTwice(_) => "an owner runs one validator; remove the other [[validator]]",
            Self::KeyTwice(_) => "each validator has a key of its own: ask its owner for it",
            Self::AccountTwice(_) => "write one [[account]] with the sum",
            Self::WeakKey(_) => "ask the owner for the key again: everybody can sign with this one",
            Self::Zero => "remove the [[account]]: the first credit creates it",
            Self::TooManyCoins => "divide all balances; they are in millionths of a coin",
            Self::OutOfRange { .. } => {
                "choose a number of that range, or remove the key for its default"
            }
        }
    }
}

impl LedgerParameters {
    /// The defaults: a day to claim, a week to withdraw and to vote, an hour for a settlement.
    pub fn with_spacing(spacing: Duration) -> Self {
        let milliseconds = u64::try_from(spacing.as_millis()).unwrap_or(u64::MAX).max(1);
        let day = (SECONDS_OF_A_DAY * 1000 / milliseconds).max(24);
        Self {
            spacing,
            heights_per_day: day,
            withdrawal_heights: 7 * day,
            claim_heights: day,
            vote_heights: 7 * day,
            settlement_heights: day / 24,
            fee: 100,
            pool: None,
        }
    }

    fn check(&self) -> Result<(), GenesisProblem> {
        let spacing = u64::try_from(self.spacing.as_millis()).unwrap_or(u64::MAX);
        let max_spacing = MAX_SPACING.as_secs() * 1000;
        for (key, value, min, max) in [
            ("spacing", spacing, 0, max_spacing),
            ("heights_per_day", self.heights_per_day, 1, MAX_HEIGHTS),
            ("withdrawal_heights", self.withdrawal_heights, 1, MAX_HEIGHTS),
            ("claim_heights", self.claim_heights, 1, MAX_HEIGHTS),
            ("vote_heights", self.vote_heights, 1, MAX_HEIGHTS),
            ("settlement_heights", self.settlement_heights, 1, MAX_HEIGHTS),
            ("fee", self.fee, 1, MAX_FEE),
        ] {
            if !(min..=max).contains(&value) {
                return Err(GenesisProblem::OutOfRange { key, value, min, max });
            }
        }
        self.pool.map_or(Ok(()), |pool| pool.check())
    }
}

impl Genesis {
    /// Validators and balances in any order give the same genesis.
    ///
    /// # Errors
    /// No ledger can begin like this.
    pub fn new(
        name: &str,
        mut validators: Vec<Validator>,
        balances: BTreeMap<PublicKey, u64>,
        parameters: LedgerParameters,
    ) -> Result<Self, GenesisProblem> {
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
            return Err(GenesisProblem::Name);
        }
        match validators.len() {
            ..MIN_VALIDATORS => return Err(GenesisProblem::TooFewValidators(validators.len())),
            MIN_VALIDATORS..=MAX_VALIDATORS => {}
            more => return Err(GenesisProblem::TooManyValidators(more)),
        }
        let (mut owners, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for validator in &validators {
            if !owners.insert(validator.owner) {
                return Err(GenesisProblem::OwnerTwice(validator.owner));
            }
            if !keys.insert(validator.key) {
                return Err(GenesisProblem::KeyTwice(validator.key));
            }
        }
        let all = owners.iter().chain(&keys).chain(balances.keys());
        if let Some(weak) = all.copied().find(|key| !is_strong(key)) {
            return Err(GenesisProblem::WeakKey(weak));
        }
        if balances.values().any(|balance| *balance == 0) {
            return Err(GenesisProblem::Zero);
        }
        let sum = balances.values().try_fold(0u64, |sum, balance| sum.checked_add(*balance));
        if sum.is_none_or(|sum| sum > MAX_COINS) {
            return Err(GenesisProblem::TooManyCoins);
        }
        parameters.check()?;
        validators.sort_by_key(|validator| validator.owner);
        Ok(Self { name: name.to_owned(), validators, balances, parameters })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// The balances of owners, in millionths of a coin.
    pub fn balances(&self) -> &BTreeMap<PublicKey, u64> {
        &self.balances
    }

    pub fn parameters(&self) -> &LedgerParameters {
        &self.parameters
    }

    /// The shortest interval of blocks.
    pub fn spacing(&self) -> Duration {
        self.parameters.spacing
    }

    /// All coins that there are, in millionths.
    pub fn sum(&self) -> u64 {
        self.balances.values().sum()
    }

    /// The SHA-256 of `octet genesis 1`, a zero byte, and the encoding (numbers are big-endian): the name after its
    /// length (1 byte); the number of validators (2) and each one's owner (32) and key (32), in the order of owners;
    /// the number of accounts (4) and each one's owner (32) and balance (8), in the order of owners; and of 8 bytes
    /// each the spacing in milliseconds, `heights_per_day`, `withdrawal_heights`, `claim_heights`, `vote_heights`,
    /// `settlement_heights` and `fee`; then 1 byte, which is 1 if there is a pool, and the numbers of that.
    pub fn hash(&self) -> BlockHash {
        let mut bytes = b"octet genesis 1\0".to_vec();
        bytes.push(self.name.len() as u8);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.extend_from_slice(&(self.validators.len() as u16).to_be_bytes());
        for validator in &self.validators {
            bytes.extend_from_slice(validator.owner.as_bytes());
            bytes.extend_from_slice(validator.key.as_bytes());
        }
        bytes.extend_from_slice(&(self.balances.len() as u32).to_be_bytes());
        for (owner, balance) in &self.balances {
            bytes.extend_from_slice(owner.as_bytes());
            bytes.extend_from_slice(&balance.to_be_bytes());
        }
        let it = &self.parameters;
        for number in [
            it.spacing.as_millis() as u64,
            it.heights_per_day,
            it.withdrawal_heights,
            it.claim_heights,
            it.vote_heights,
            it.settlement_heights,
            it.fee,
        ] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.push(it.pool.is_some().into());
        if let Some(pool) = it.pool {
            pool.encode(&mut bytes);
        }
        BlockHash(sha256(&bytes))
    }
}
