//! The genesis file: TOML.

use std::collections::BTreeMap;
use std::time::Duration;

use octet_node::control::PublicKey;
use serde::Deserialize;
use toml::Spanned;

use super::{Genesis, GenesisError, GenesisProblem, LedgerParameters, MAX_SPACING, PoolParameters};
use crate::state::Validator;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenesisFile {
    name: Spanned<String>,
    spacing_seconds: Option<Spanned<u64>>,
    heights_per_day: Option<Spanned<u64>>,
    withdrawal_heights: Option<Spanned<u64>>,
    claim_heights: Option<Spanned<u64>>,
    vote_heights: Option<Spanned<u64>>,
    settlement_heights: Option<Spanned<u64>>,
    fee: Option<Spanned<u64>>,
    pool: Option<PoolEntry>,
    #[serde(default)]
    validator: Vec<Spanned<ValidatorEntry>>,
    #[serde(default)]
    account: Vec<Spanned<AccountEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolEntry {
    per_period: Spanned<u64>,
    halving_periods: Option<Spanned<u64>>,
    fees_percent: Option<Spanned<u64>>,
    owner_percent: Option<Spanned<u64>>,
    levy_permille: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidatorEntry {
    owner: PublicKey,
    key: PublicKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountEntry {
    owner: PublicKey,
    balance: u64,
}

impl Genesis {
    /// Parses a genesis file.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn from_toml(text: &str) -> Result<Self, GenesisError> {
        let file: GenesisFile = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let problem = GenesisProblem::Syntax(error.message().to_owned());
            GenesisError { line: line(text, at), problem }
        })?;
        file.check().map_err(|problem| {
            let at = file.position(&problem);
            GenesisError { line: line(text, at), problem }
        })
    }
}

/// The line of the byte `at`, counted from 1.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

impl GenesisFile {
    fn check(&self) -> Result<Genesis, GenesisProblem> {
        let number = |given: &Option<Spanned<u64>>| given.as_ref().map(|number| *number.get_ref());
        let spacing = number(&self.spacing_seconds).unwrap_or(10);
        let max = MAX_SPACING.as_secs();
        if !(1..=max).contains(&spacing) {
            let key = "spacing_seconds";
            return Err(GenesisProblem::OutOfRange { key, value: spacing, min: 1, max });
        }
        let mut parameters = LedgerParameters::with_spacing(Duration::from_secs(spacing));
        for (given, parameter) in [
            (&self.heights_per_day, &mut parameters.heights_per_day),
            (&self.withdrawal_heights, &mut parameters.withdrawal_heights),
            (&self.claim_heights, &mut parameters.claim_heights),
            (&self.vote_heights, &mut parameters.vote_heights),
            (&self.settlement_heights, &mut parameters.settlement_heights),
            (&self.fee, &mut parameters.fee),
        ] {
            *parameter = number(given).unwrap_or(*parameter);
        }
        parameters.pool = self.pool.as_ref().map(PoolEntry::parameters);
        let mut balances = BTreeMap::new();
        for account in self.account.iter().map(Spanned::get_ref) {
            if balances.insert(account.owner, account.balance).is_some() {
                return Err(GenesisProblem::AccountTwice(account.owner));
            }
        }
        let validators = self.validator.iter().map(Spanned::get_ref);
        let validators = validators.map(|it| Validator { owner: it.owner, key: it.key }).collect();
        Genesis::new(self.name.get_ref(), validators, balances, parameters)
    }

    /// Where the mistake is; if two places contradict each other, the second one.
    fn position(&self, problem: &GenesisProblem) -> usize {
        let validator = |is: &dyn Fn(&ValidatorEntry) -> bool| {
            self.validator.iter().rfind(|it| is(it.get_ref())).map(|it| it.span().start)
        };
        let account = |is: &dyn Fn(&AccountEntry) -> bool| {
            self.account.iter().rfind(|it| is(it.get_ref())).map(|it| it.span().start)
        };
        let at = match problem {
            GenesisProblem::Syntax(_) => None,
            GenesisProblem::Name => Some(self.name.span().start),
            GenesisProblem::TooFewValidators(_) | GenesisProblem::TooManyValidators(_) => {
                validator(&|_| true)
            }
            GenesisProblem::OwnerTwice(owner) => validator(&|it| it.owner == *owner),
            GenesisProblem::KeyTwice(key) => validator(&|it| it.key == *key),
            GenesisProblem::AccountTwice(owner) => account(&|it| it.owner == *owner),
            GenesisProblem::WeakKey(key) => validator(&|it| it.owner == *key || it.key == *key)
                .or_else(|| account(&|it| it.owner == *key)),
            GenesisProblem::Zero => account(&|it| it.balance == 0),
            GenesisProblem::TooManyCoins => account(&|_| true),
            GenesisProblem::OutOfRange { key, .. } => {
                let numbers = [
                    ("spacing_seconds", &self.spacing_seconds),
                    ("heights_per_day", &self.heights_per_day),
                    ("withdrawal_heights", &self.withdrawal_heights),
                    ("claim_heights", &self.claim_heights),
                    ("vote_heights", &self.vote_heights),
                    ("settlement_heights", &self.settlement_heights),
                    ("fee", &self.fee),
                ];
                let found = numbers.into_iter().find(|(name, _)| name == key);
                let found = found.and_then(|(_, given)| given.as_ref());
                let found = found.or_else(|| self.pool.as_ref()?.number(key));
                found.map(|given| given.span().start)
            }
        };
        at.unwrap_or(0)
    }
}

impl PoolEntry {
    fn parameters(&self) -> PoolParameters {
        let mut parameters = PoolParameters::with_per_period(*self.per_period.get_ref());
        for (given, parameter) in [
            (&self.halving_periods, &mut parameters.halving_periods),
            (&self.fees_percent, &mut parameters.fees_percent),
            (&self.owner_percent, &mut parameters.owner_percent),
            (&self.levy_permille, &mut parameters.levy_permille),
        ] {
            *parameter = given.as_ref().map_or(*parameter, |number| *number.get_ref());
        }
        parameters
    }

    fn number(&self, key: &str) -> Option<&Spanned<u64>> {
        match key {
            "per_period" => Some(&self.per_period),
            "halving_periods" => self.halving_periods.as_ref(),
            "fees_percent" => self.fees_percent.as_ref(),
            "owner_percent" => self.owner_percent.as_ref(),
            "levy_permille" => self.levy_permille.as_ref(),
            _ => None,
        }
    }
}
