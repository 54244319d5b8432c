//! `octetctl --box BOX wallet`: the owner's coins on a ledger. Transactions are signed on this machine; the box has a
//! node of the ledger, which hands them over.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use data_encoding::BASE64;
use octet_coins::{Action, Genesis, GenesisError, SignedTransaction, Transaction};
use octet_control::{Client, PublicKey, parse_millionths, show_millionths};
use octet_node::key::PrivateKey;
use serde_json::{Map, Value, json};

use crate::remote::RemoteError;

/// The unit that has the ledger.
const UNIT: &str = "ledger";

/// How long a transaction is waited for, and how often the box is asked.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);

/// Shows and moves your coins on a ledger
///
/// The coins belong to your key (`--key`). The box only hands over what you sign. Keep the ledger's genesis file: a
/// box that has another ledger is noticed.
#[derive(Debug, Parser)]
#[command(name = "octetctl wallet", bin_name = "octetctl --box BOX wallet")]
pub struct WalletLine {
    /// The ledger's genesis file [default: ~/.config/octet/genesis.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub genesis: Option<PathBuf>,
    #[command(subcommand)]
    pub verb: WalletVerb,
}

#[derive(Debug, Subcommand)]
pub enum WalletVerb {
    /// Shows the balance of an owner
    Show {
        /// The owner's key (a did:key) [default: yours]
        owner: Option<PublicKey>,
    },
    /// Gives coins to another owner, and waits for the block
    Transfer {
        /// The owner's key (a did:key)
        to: PublicKey,
        /// Coins, with at most six decimals, such as 0.25
        #[arg(value_parser = amount)]
        amount: u64,
    },
}

fn amount(text: &str) -> Result<u64, String> {
    let parsed = parse_millionths(text).filter(|amount| *amount > 0);
    parsed.ok_or_else(|| "write a number of coins with at most six decimals, such as 0.25".into())
}

#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("cannot read {}: {error}", file.display())]
    Read { file: PathBuf, error: io::Error },
    #[error("{}: {error}", file.display())]
    Genesis { file: PathBuf, error: GenesisError },
    #[error("the box has another ledger: its genesis is {theirs}, and that of your file {own}")]
    OtherLedger { own: String, theirs: String },
    #[error("the box's answer is not understood")]
    Answer,
    #[error("you have {has} coins, and this takes {needs} with the fee")]
    TooFew { has: String, needs: String },
    #[error("no block had the transaction within {} s", PATIENCE.as_secs())]
    Late,
}

impl WalletError {
    pub fn help(&self) -> &str {
        match self {
            Self::Remote(error) => error.help(),
            Self::Read { .. } => "name the file that all owners of the ledger have: --genesis FILE",
            Self::Genesis { error, .. } => error.help(),
            Self::OtherLedger { .. } => {
                "ask a box of your ledger, or name its file: --genesis FILE"
            }
            Self::Answer => "update the box or this program, so that both are of one version",
            Self::TooFew { .. } => "`wallet show` tells what you have",
            Self::Late => {
                "a later block may still have it: look at `wallet show` before you repeat it"
            }
        }
    }
}

impl From<octet_control::CallError> for WalletError {
    fn from(error: octet_control::CallError) -> Self {
        Self::Remote(RemoteError::Box(error))
    }
}

/// The account of an owner, as the box has it.
struct Account {
    balance: u64,
    nonce: u64,
    height: u64,
}

/// Runs the command, and returns what it prints. `client` is connected to the box; `folder` has the genesis file, if
/// none is named.
///
/// # Errors
/// The box does not answer, has another ledger, or refuses the transaction.
pub fn run<S: Read + Write>(
    line: &WalletLine,
    client: &mut Client<S>,
    key: &PrivateKey,
    folder: &Path,
) -> Result<String, WalletError> {
    let file = line.genesis.clone().unwrap_or_else(|| folder.join("genesis.toml"));
    let genesis = read(&file)?;
    client.set_unit(UNIT.parse().ok());
    let own = key.public();
    match &line.verb {
        WalletVerb::Show { owner } => {
            let owner = owner.unwrap_or(own);
            let account = account(client, &genesis, &owner)?;
            let Account { balance, height, .. } = account;
            Ok(format!("{owner}\n{} coins at height {height}\n", show_millionths(balance)))
        }
        WalletVerb::Transfer { to, amount } => {
            let account = account(client, &genesis, &own)?;
            let needs = amount.saturating_add(genesis.parameters().fee);
            if account.balance < needs {
                let [has, needs] = [account.balance, needs].map(show_millionths);
                return Err(WalletError::TooFew { has, needs });
            }
            let action = Action::Transfer { to: *to, amount: *amount };
            let height = order(client, &genesis, key, account.nonce + 1, action)?;
            let given = show_millionths(*amount);
            Ok(format!("{given} coins are {to}'s since height {height}\n"))
        }
    }
}

fn read(file: &Path) -> Result<Genesis, WalletError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| WalletError::Read { file: file.to_owned(), error })?;
    Genesis::from_toml(&text).map_err(|error| WalletError::Genesis { file: file.to_owned(), error })
}

/// Asks for an account. A box could otherwise have a transaction signed for another ledger.
fn account<S: Read + Write>(
    client: &mut Client<S>,
    genesis: &Genesis,
    owner: &PublicKey,
) -> Result<Account, WalletError> {
    let answer = client.call("account", object(json!({ "owner": owner.to_string() })))?;
    let own = genesis.hash().to_string();
    match answer["genesis"].as_str() {
        Some(theirs) if theirs == own => {}
        Some(theirs) => {
            return Err(WalletError::OtherLedger { own, theirs: theirs.to_owned() });
        }
        None => return Err(WalletError::Answer),
    }
    let number = |key: &str| answer[key].as_u64().ok_or(WalletError::Answer);
    Ok(Account { balance: number("balance")?, nonce: number("nonce")?, height: number("height")? })
}

/// Signs and hands over, and waits until a block has it. Returns the height at which that was seen.
fn order<S: Read + Write>(
    client: &mut Client<S>,
    genesis: &Genesis,
    key: &PrivateKey,
    nonce: u64,
    action: Action,
) -> Result<u64, WalletError> {
    let transaction = Transaction { signer: key.public(), nonce, action };
    let signed = SignedTransaction::sign(transaction, &genesis.hash(), key);
    let text = BASE64.encode(&signed.to_bytes());
    client.call("submit", object(json!({ "transaction": text })))?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let account = account(client, genesis, &key.public())?;
        if account.nonce >= nonce {
            return Ok(account.height);
        }
        sleep(INTERVAL);
    }
    Err(WalletError::Late)
}

fn object(args: Value) -> Map<String, Value> {
    match args {
        Value::Object(args) => args,
        _ => Map::new(),
    }
}
