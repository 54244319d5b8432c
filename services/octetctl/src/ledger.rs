//! `octetctl ledger genesis` checks a genesis file on the owner's machine, and `ledger audit` recomputes a ledger there.
//! Other verbs of `ledger` are the unit's.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use octet_coins::{Genesis, GenesisError, PoolParameters};
use octet_control::show_millionths;
use serde_json::{Value, json};

use crate::audit::AuditLine;

/// Checks the genesis file of a ledger, or all of its blocks
#[derive(Debug, Parser)]
#[command(name = "octetctl ledger", bin_name = "octetctl ledger")]
pub struct LedgerLine {
    #[command(subcommand)]
    pub verb: LedgerVerb,
}

#[derive(Debug, Subcommand)]
pub enum LedgerVerb {
    /// Checks a genesis file, and prints the hash by which all owners know that they have the same one
    Genesis {
        /// The genesis file
        file: PathBuf,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Recomputes the ledger of a box from its blocks, on this machine: `octetctl --box BOX ledger audit`
    Audit(AuditLine),
}

#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    #[error("cannot read {}: {error}", file.display())]
    Read { file: PathBuf, error: io::Error },
    #[error("{}: {error}", file.display())]
    Mistake { file: PathBuf, error: GenesisError },
}

impl GenesisFileError {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Read { .. } => "name the file that all owners of the ledger have",
            Self::Mistake { error, .. } => error.help(),
        }
    }
}

/// Whether `words` are a command of this program, and not a verb of the unit with that name.
pub fn is_ledger_command(words: &[String]) -> bool {
    words.get(1).is_some_and(|verb| verb == "genesis" || verb == "audit")
}

/// What `ledger genesis` prints.
pub fn run(file: &Path, json: bool) -> Result<String, GenesisFileError> {
    let genesis = read(file)?;
    Ok(if json { format!("{:#}\n", to_json(&genesis)) } else { to_text(&genesis) })
}

fn read(file: &Path) -> Result<Genesis, GenesisFileError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| GenesisFileError::Read { file: file.to_owned(), error })?;
    Genesis::from_toml(&text)
        .map_err(|error| GenesisFileError::Mistake { file: file.to_owned(), error })
}

fn hash(genesis: &Genesis) -> String {
    genesis.hash().to_string()
}

fn to_json(genesis: &Genesis) -> Value {
    let parameters = genesis.parameters();
    let validators: Vec<_> = genesis
        .validators()
        .iter()
        .map(|validator| {
            json!({ "owner": validator.owner.to_string(), "key": validator.key.to_string() })
        })
        .collect();
    json!({
        "name": genesis.name(),
        "genesis": hash(genesis),
        "validators": validators,
        "accounts": genesis.balances().len(),
        "sum": genesis.sum(),
        "fee": parameters.fee,
        "spacing_seconds": parameters.spacing.as_secs(),
        "heights_per_day": parameters.heights_per_day,
        "withdrawal_heights": parameters.withdrawal_heights,
        "claim_heights": parameters.claim_heights,
        "vote_heights": parameters.vote_heights,
        "settlement_heights": parameters.settlement_heights,
        "pool": parameters.pool.map(|pool| json!({
            "per_period": pool.per_period,
            "halving_periods": pool.halving_periods,
            "fees_percent": pool.fees_percent,
            "owner_percent": pool.owner_percent,
            "levy_permille": pool.levy_permille,
        })),
    })
}

fn to_text(genesis: &Genesis) -> String {
    let parameters = genesis.parameters();
    let rows = [
        ("genesis", hash(genesis)),
        ("name", genesis.name().to_owned()),
        (
            "coins",
            format!("{} in {} accounts", show_millionths(genesis.sum()), genesis.balances().len()),
        ),
        ("fee", format!("{} a transaction", show_millionths(parameters.fee))),
        ("spacing", format!("{} s", parameters.spacing.as_secs())),
        ("day", format!("{} heights", parameters.heights_per_day)),
        ("withdrawal", format!("{} heights", parameters.withdrawal_heights)),
        ("claims", format!("{} heights after a key was closed", parameters.claim_heights)),
        ("votes", format!("{} heights", parameters.vote_heights)),
        ("settlement", format!("{} heights", parameters.settlement_heights)),
        ("pool", parameters.pool.as_ref().map_or_else(|| "none".to_owned(), pool)),
        ("validators", genesis.validators().len().to_string()),
    ];
    let mut out = String::new();
    for (name, value) in rows {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<12}{value}");
    }
    for validator in genesis.validators() {
        let _ = writeln!(out, "  {} of {}", validator.key, validator.owner);
    }
    out
}

fn pool(pool: &PoolParameters) -> String {
    let halving = match pool.halving_periods {
        0 => String::new(),
        periods => format!(", half after {periods}"),
    };
    format!(
        "at most {} a settlement period{halving}, {} % of its fees, {} % of that to an owner; of claims {} permille go \
         to the fees",
        show_millionths(pool.per_period),
        pool.fees_percent,
        pool.owner_percent,
        pool.levy_permille
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::key::PrivateKey;

    fn file(validators: u8) -> String {
        let key = |seed: u8| PrivateKey::from_seed([seed; 32]).unwrap().public();
        let mut text = "name = \"valley\"\n".to_owned();
        for number in 1..=validators {
            let (owner, key) = (key(number), key(number + 100));
            writeln!(text, "[[validator]]\nowner = \"{owner}\"\nkey = \"{key}\"").unwrap();
        }
        write!(text, "[[account]]\nowner = \"{}\"\nbalance = 1500000\n", key(1)).unwrap();
        text
    }

    #[test]
    fn a_genesis_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genesis.toml");
        std::fs::write(&path, file(4)).unwrap();
        let text = run(&path, false).unwrap();
        let genesis = hash(&Genesis::from_toml(&file(4)).unwrap());
        assert!(
            text.starts_with(&format!("genesis     {genesis}\nname        valley\n")),
            "{text}"
        );
        assert!(text.contains("coins       1.500000 in 1 accounts\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains(" of did:key:")).count(), 4);
        let json: Value = serde_json::from_str(&run(&path, true).unwrap()).unwrap();
        assert_eq!(json["genesis"], genesis);
        assert_eq!(json["sum"], 1_500_000);
        assert_eq!(json["validators"].as_array().unwrap().len(), 4);
        assert_eq!(json["pool"], Value::Null);
        std::fs::write(&path, file(4) + "[pool]\nper_period = 2500000\nhalving_periods = 9\n")
            .unwrap();
        let text = run(&path, false).unwrap();
        assert!(
            text.contains("pool        at most 2.500000 a settlement period, half after 9, 50 %"),
            "{text}"
        );
        let json: Value = serde_json::from_str(&run(&path, true).unwrap()).unwrap();
        assert_eq!(json["pool"]["owner_percent"], 10);
    }

    #[test]
    fn a_mistake_has_its_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genesis.toml");
        let missing = run(&path, false).unwrap_err();
        assert!(missing.to_string().contains("cannot read"), "{missing}");
        std::fs::write(&path, file(3)).unwrap();
        let few = run(&path, false).unwrap_err();
        assert!(
            few.to_string().contains("genesis.toml: line 8: 3 validators are too few"),
            "{few}"
        );
        assert!(few.help().contains("four owners"));
        std::fs::write(&path, file(4)).unwrap();
        assert!(run(&path, false).is_ok());
    }
}
