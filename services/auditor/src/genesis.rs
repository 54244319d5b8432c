//! The genesis file, as docs/ledger.md has it.

use std::collections::{BTreeMap, BTreeSet};

use octet_node::control::PublicKey;
use serde::Deserialize;

use crate::pool::PoolRules;
use crate::signatures::is_usable;
use crate::{Bytes32, sha256};

const MAX_VALIDATORS: usize = 64;
const MIN_VALIDATORS: usize = 4;
const MAX_COINS: u128 = 1 << 62;
const MAX_HEIGHTS: u64 = 100_000_000;

/// A genesis file with which no ledger begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    #[error("line {line}: {message}")]
    Syntax { line: usize, message: String },
    #[error("the name `{0}` is not 1 to 63 characters of a-z, 0-9 and -")]
    Name(String),
    #[error("{0} validators are not {MIN_VALIDATORS} to {MAX_VALIDATORS}")]
    Validators(usize),
    #[error("{0} is listed twice")]
    Twice(PublicKey),
    #[error("{0} is no key that can sign")]
    Unusable(PublicKey),
    #[error("the balance of {0} is 0")]
    Zero(PublicKey),
    #[error("the balances add up to {0}, more than 2^62")]
    Coins(u128),
    #[error("`{key}` is {value}, and may be {min} to {max}")]
    Range { key: &'static str, value: u64, min: u64, max: u64 },
}

impl AuditError {
    pub fn help(&self) -> &'static str {
        "`octetctl ledger genesis FILE` says what is wrong with a genesis file; use the one that all owners have"
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    spacing_seconds: Option<u64>,
    heights_per_day: Option<u64>,
    withdrawal_heights: Option<u64>,
    claim_heights: Option<u64>,
    vote_heights: Option<u64>,
    settlement_heights: Option<u64>,
    fee: Option<u64>,
    pool: Option<WrittenPool>,
    #[serde(default)]
    validator: Vec<WrittenValidator>,
    #[serde(default)]
    account: Vec<WrittenAccount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPool {
    per_period: u64,
    #[serde(default)]
    halving_periods: u64,
    fees_percent: Option<u64>,
    owner_percent: Option<u64>,
    levy_permille: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenValidator {
    owner: PublicKey,
    key: PublicKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAccount {
    owner: PublicKey,
    balance: u64,
}

/// How a ledger counts.
#[derive(Debug, Clone, Copy)]
pub struct Counting {
    pub heights_per_day: u64,
    pub withdrawal_heights: u64,
    pub claim_heights: u64,
    pub vote_heights: u64,
    pub settlement_heights: u64,
    pub fee: u64,
    pub pool: Option<PoolRules>,
}

/// What a ledger begins with.
#[derive(Debug, Clone)]
pub struct Beginning {
    pub name: String,
    /// The keys of validators, by their owners.
    pub validators: BTreeMap<Bytes32, Bytes32>,
    /// By owners.
    pub balances: BTreeMap<Bytes32, u64>,
    pub counting: Counting,
    pub hash: Bytes32,
}

impl Beginning {
    pub fn read(text: &str) -> Result<Self, AuditError> {
        let written: Written = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            let line = 1 + before.matches('\n').count();
            AuditError::Syntax { line, message: error.message().to_owned() }
        })?;
        written.check()?;
        let spacing = written.spacing_seconds.unwrap_or(10);
        let day = written.heights_per_day.unwrap_or((86_400 / spacing).max(24));
        // The defaults are those of the spacing, whatever `heights_per_day` says.
        let of_spacing = (86_400 / spacing).max(24);
        let counting = Counting {
            heights_per_day: day,
            withdrawal_heights: written.withdrawal_heights.unwrap_or(of_spacing * 7),
            claim_heights: written.claim_heights.unwrap_or(of_spacing),
            vote_heights: written.vote_heights.unwrap_or(of_spacing * 7),
            settlement_heights: written.settlement_heights.unwrap_or(of_spacing / 24),
            fee: written.fee.unwrap_or(100),
            pool: written.pool.as_ref().map(|pool| PoolRules {
                per_period: pool.per_period,
                halving_periods: pool.halving_periods,
                fees_percent: pool.fees_percent.unwrap_or(50),
                owner_percent: pool.owner_percent.unwrap_or(10),
                levy_permille: pool.levy_permille.unwrap_or(10),
            }),
        };
        let validators =
            written.validator.iter().map(|it| (*it.owner.as_bytes(), *it.key.as_bytes()));
        let balances = written.account.iter().map(|it| (*it.owner.as_bytes(), it.balance));
        let mut beginning = Self {
            name: written.name.clone(),
            validators: validators.collect(),
            balances: balances.collect(),
            counting,
            hash: [0; 32],
        };
        beginning.hash = sha256(&beginning.encoding(spacing * 1000));
        Ok(beginning)
    }

    /// `octet genesis 1`, a zero byte, the name after its length, the validators after their number, the accounts
    /// after their number, the other keys, and whether there is a pool, with its keys.
    fn encoding(&self, spacing: u64) -> Vec<u8> {
        let mut all: Vec<Vec<u8>> = vec![b"octet genesis 1\0".to_vec()];
        all.push(vec![u8::try_from(self.name.len()).unwrap_or(u8::MAX)]);
        all.push(self.name.clone().into_bytes());
        all.push(u16::try_from(self.validators.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec());
        all.extend(self.validators.iter().map(|(owner, key)| [*owner, *key].concat()));
        all.push(u32::try_from(self.balances.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec());
        all.extend(
            self.balances.iter().map(|(owner, it)| [&owner[..], &it.to_be_bytes()[..]].concat()),
        );
        let it = self.counting;
        let numbers = [
            spacing,
            it.heights_per_day,
            it.withdrawal_heights,
            it.claim_heights,
            it.vote_heights,
            it.settlement_heights,
            it.fee,
        ];
        all.extend(numbers.map(|number| number.to_be_bytes().to_vec()));
        match it.pool {
            None => all.push(vec![0]),
            Some(PoolRules {
                per_period,
                halving_periods,
                fees_percent,
                owner_percent,
                levy_permille,
            }) => {
                all.push(vec![1]);
                let numbers =
                    [per_period, halving_periods, fees_percent, owner_percent, levy_permille];
                all.extend(numbers.map(|number| number.to_be_bytes().to_vec()));
            }
        }
        all.concat()
    }
}

impl Written {
    fn check(&self) -> Result<(), AuditError> {
        let is_name = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
        if !(1..=63).contains(&self.name.len()) || !self.name.chars().all(is_name) {
            return Err(AuditError::Name(self.name.clone()));
        }
        if !(MIN_VALIDATORS..=MAX_VALIDATORS).contains(&self.validator.len()) {
            return Err(AuditError::Validators(self.validator.len()));
        }
        let owners = self.validator.iter().map(|it| it.owner);
        let keys = self.validator.iter().map(|it| it.key);
        let accounts = self.account.iter().map(|it| it.owner);
        for group in [owners.collect::<Vec<_>>(), keys.collect(), accounts.collect()] {
            let mut seen = BTreeSet::new();
            for key in group {
                if !seen.insert(key) {
                    return Err(AuditError::Twice(key));
                }
                if !is_usable(key.as_bytes()) {
                    return Err(AuditError::Unusable(key));
                }
            }
        }
        if let Some(empty) = self.account.iter().find(|it| it.balance == 0) {
            return Err(AuditError::Zero(empty.owner));
        }
        let sum = self.account.iter().map(|it| u128::from(it.balance)).sum();
        if sum > MAX_COINS {
            return Err(AuditError::Coins(sum));
        }
        let pool = self.pool.as_ref();
        let most_coins = u64::try_from(MAX_COINS).unwrap_or(u64::MAX);
        for (key, value, min, max) in [
            ("spacing_seconds", self.spacing_seconds, 1, 3600),
            ("heights_per_day", self.heights_per_day, 1, MAX_HEIGHTS),
            ("withdrawal_heights", self.withdrawal_heights, 1, MAX_HEIGHTS),
            ("claim_heights", self.claim_heights, 1, MAX_HEIGHTS),
            ("vote_heights", self.vote_heights, 1, MAX_HEIGHTS),
            ("settlement_heights", self.settlement_heights, 1, MAX_HEIGHTS),
            ("fee", self.fee, 1, 1_000_000_000),
            ("per_period", pool.map(|it| it.per_period), 1, most_coins),
            ("halving_periods", pool.map(|it| it.halving_periods), 0, MAX_HEIGHTS),
            ("fees_percent", pool.and_then(|it| it.fees_percent), 0, 100),
            ("owner_percent", pool.and_then(|it| it.owner_percent), 1, 100),
            ("levy_permille", pool.and_then(|it| it.levy_permille), 0, 100),
        ] {
            match value {
                Some(value) if !(min..=max).contains(&value) => {
                    return Err(AuditError::Range { key, value, min, max });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
