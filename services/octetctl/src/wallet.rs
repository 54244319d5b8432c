//! `octetctl --box BOX wallet`: the owner's coins on a ledger. Transactions are signed on this machine; the box has a
//! node of the ledger, which hands them over.

mod backup;
mod pool;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use data_encoding::BASE64;
use octet_coins::{
    Action, Genesis, GenesisError, Possession, SignedTransaction, Transaction, VotedChange,
};
use octet_control::{Client, PublicKey, parse_millionths, show_millionths};
use octet_node::key::PrivateKey;
use serde_json::{Map, Value, json};

use crate::key::{self, KeyError};
use crate::remote::RemoteError;
use backup::{BackupError, BackupLine};

/// The unit that has the ledger, and the one whose key pays.
const LEDGER: &str = "ledger";
const ACCOUNTS: &str = "accounts";

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
    /// Votes that an owner's node becomes a validator, and waits for the block
    VoteAdd {
        /// The owner of the new validator (a did:key)
        owner: PublicKey,
        /// The validator's key, of that node's unit `ledger` (a did:key)
        key: PublicKey,
        /// What `ledger consent OWNER` prints at that node
        #[arg(value_parser = consent)]
        consent: Possession,
        /// The epoch that the consent is for
        #[arg(long, value_name = "N", default_value_t = 1)]
        epoch: u64,
    },
    /// Votes that an owner's validator goes, and waits for the block
    VoteRemove {
        /// The owner of the validator (a did:key)
        owner: PublicKey,
    },
    #[command(flatten)]
    Member(pool::MemberVerb),
    /// Gives coins to another owner, and waits for the block
    Transfer {
        /// The owner's key (a did:key)
        to: PublicKey,
        /// Coins, with at most six decimals, such as 0.25
        #[arg(value_parser = amount)]
        amount: u64,
    },
    /// Lets the box pay with the coins that you lock, and be paid: binds the key of its unit `accounts`
    Bind {
        /// The most coins that are paid with the key in a day
        #[arg(value_parser = amount)]
        max_per_day: u64,
    },
    /// Locks coins for what the box buys from a neighbour
    Lock {
        /// The neighbour's name in [[neighbour]]
        neighbour: String,
        /// Coins, with at most six decimals, such as 0.25
        #[arg(value_parser = amount)]
        amount: u64,
    },
    /// Wants back what is left in the lock for a neighbour
    Withdraw {
        /// The neighbour's name in [[neighbour]]
        neighbour: String,
    },
    /// Copies your key into a file, under a passphrase; asks no box
    Export(BackupLine),
    /// Takes your key from such a copy; asks no box
    Import(BackupLine),
    /// Closes a key of a unit `accounts`, such as that of a stolen box
    Revoke {
        /// The key (a did:key), as `wallet bind` has printed it
        key: PublicKey,
    },
}

fn amount(text: &str) -> Result<u64, String> {
    let parsed = parse_millionths(text).filter(|amount| *amount > 0);
    parsed.ok_or_else(|| "write a number of coins with at most six decimals, such as 0.25".into())
}

fn consent(text: &str) -> Result<Possession, String> {
    let bytes = BASE64.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Possession).ok_or_else(|| "copy all of what `ledger consent` prints".into())
}

#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot read {}: {error}", file.display())]
    Read { file: PathBuf, error: io::Error },
    #[error("{}: {error}", file.display())]
    Genesis { file: PathBuf, error: GenesisError },
    #[error("the box has another ledger: its genesis is {theirs}, and that of your file {own}")]
    OtherLedger { own: String, theirs: String },
    #[error("the box's answer is not understood")]
    Answer,
    #[error("`{0}` is no neighbour that is paid on a ledger")]
    NoNeighbour(String),
    #[error("the key of `{0}` is not known yet")]
    NoKey(String),
    #[error("you have {has} coins, and this takes {needs} with the fee")]
    TooFew { has: String, needs: String },
    #[error("no block had the transaction within {} s", PATIENCE.as_secs())]
    Late,
}

impl WalletError {
    pub fn help(&self) -> &str {
        match self {
            Self::Remote(error) => error.help(),
            Self::Backup(error) => error.help(),
            Self::Key(error) => error.help(),
            Self::Read { .. } => "name the file that all owners of the ledger have: --genesis FILE",
            Self::Genesis { error, .. } => error.help(),
            Self::OtherLedger { .. } => {
                "ask a box of your ledger, or name its file: --genesis FILE"
            }
            Self::Answer => "update the box or this program, so that both are of one version",
            Self::NoNeighbour(_) => {
                "`accounts locks` lists them; the [[neighbour]] needs `ledger = true`"
            }
            Self::NoKey(_) => {
                "the two boxes need a link, and both `[accounts]`: try again when `accounts show` has the neighbour"
            }
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

impl WalletLine {
    /// Whether the command asks a box.
    pub fn asks_box(&self) -> bool {
        !matches!(self.verb, WalletVerb::Export(_) | WalletVerb::Import(_))
    }
}

/// Runs a command that asks no box. `path` is that of the key. Returns what it prints; `None` if it asks one.
///
/// # Errors
/// A file cannot be read or written, or the passphrase is wrong.
pub fn run_here(line: &WalletLine, path: &Path) -> Result<Option<String>, WalletError> {
    Ok(match &line.verb {
        WalletVerb::Export(copy) => Some(backup::export(copy, &key::read(path)?)?),
        WalletVerb::Import(copy) => Some(backup::import(copy, path)?),
        _ => None,
    })
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
    client.set_unit(LEDGER.parse().ok());
    let own = key.public();
    match &line.verb {
        WalletVerb::Show { owner } => {
            let owner = owner.unwrap_or(own);
            let account = account(client, &genesis, &owner)?;
            let Account { balance, height, .. } = account;
            Ok(format!("{owner}\n{} coins at height {height}\n", show_millionths(balance)))
        }
        WalletVerb::VoteAdd { owner, key: validator, consent, epoch } => {
            let change = VotedChange::Add { owner: *owner, key: *validator, epoch: *epoch };
            vote(client, &genesis, key, change, Some(*consent))
        }
        WalletVerb::VoteRemove { owner } => {
            vote(client, &genesis, key, VotedChange::Remove { owner: *owner }, None)
        }
        WalletVerb::Member(verb) => pool::run(verb, client, &genesis, key),
        WalletVerb::Transfer { to, amount } => {
            let action = Action::Transfer { to: *to, amount: *amount };
            let height = order_with_coins(client, &genesis, key, *amount, action)?;
            let given = show_millionths(*amount);
            Ok(format!("{given} coins are {to}'s since height {height}\n"))
        }
        WalletVerb::Bind { max_per_day } => bind(client, &genesis, key, *max_per_day),
        WalletVerb::Lock { neighbour, amount } => {
            let [payer, payee] = keys(client, neighbour)?;
            let action = Action::Lock { payer, payee, amount: *amount };
            let height = order_with_coins(client, &genesis, key, *amount, action)?;
            let bound = client.call("key", object(json!({ "key": payee })))?;
            let owner = bound["owner"].as_str().ok_or(WalletError::Answer)?;
            let locked = show_millionths(*amount);
            Ok(format!(
                "{locked} coins are locked for {neighbour} since height {height}\nits key is {payee}\nits owner is {owner}\n"
            ))
        }
        WalletVerb::Withdraw { neighbour } => {
            let [payer, payee] = keys(client, neighbour)?;
            let height = order(client, &genesis, key, Action::Withdraw { payer, payee })?;
            let returns_at = height.saturating_add(genesis.parameters().withdrawal_heights);
            Ok(format!(
                "what is left in the lock for {neighbour} returns at about height {returns_at}; now is {height}\n"
            ))
        }
        // `run_here` does these.
        WalletVerb::Export(_) | WalletVerb::Import(_) => Ok(String::new()),
        WalletVerb::Revoke { key: closed } => {
            let height = order(client, &genesis, key, Action::RevokeKey { key: *closed })?;
            Ok(format!("{closed} is closed since height {height}\n"))
        }
    }
}

/// Binds the key of the box's unit `accounts`.
fn bind<S: Read + Write>(
    client: &mut Client<S>,
    genesis: &Genesis,
    key: &PrivateKey,
    max_per_day: u64,
) -> Result<String, WalletError> {
    client.set_unit(ACCOUNTS.parse().ok());
    let answer = client.call("consent", object(json!({ "owner": key.public() })))?;
    client.set_unit(LEDGER.parse().ok());
    check_genesis(&answer, genesis)?;
    let of_key = |name: &str| answer[name].as_str().and_then(|text| text.parse().ok());
    let agreed = answer["consent"].as_str().and_then(|text| consent(text).ok());
    let (Some(node), Some(bound), Some(epoch), Some(consent)) =
        (of_key("node"), of_key("key"), answer["epoch"].as_u64(), agreed)
    else {
        return Err(WalletError::Answer);
    };
    let action = Action::BindKey { node, key: bound, epoch, max_per_day, consent };
    let height = order(client, genesis, key, action)?;
    let most = show_millionths(max_per_day);
    Ok(format!("{bound}\nis bound since height {height}, and pays at most {most} coins in a day\n"))
}

/// The keys of the box's unit `accounts` and of a neighbour's.
fn keys<S: Read + Write>(
    client: &mut Client<S>,
    neighbour: &str,
) -> Result<[PublicKey; 2], WalletError> {
    client.set_unit(ACCOUNTS.parse().ok());
    let rows = client.call("locks", Map::new())?;
    client.set_unit(LEDGER.parse().ok());
    let rows = rows.as_array().ok_or(WalletError::Answer)?;
    let row = rows.iter().find(|row| row["neighbour"] == neighbour);
    let row = row.ok_or_else(|| WalletError::NoNeighbour(neighbour.to_owned()))?;
    let of_key = |name: &str| row[name].as_str().and_then(|text| text.parse().ok());
    match (of_key("own_key"), of_key("their_key")) {
        (Some(own), Some(theirs)) => Ok([own, theirs]),
        _ => Err(WalletError::NoKey(neighbour.to_owned())),
    }
}

fn read(file: &Path) -> Result<Genesis, WalletError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| WalletError::Read { file: file.to_owned(), error })?;
    Genesis::from_toml(&text).map_err(|error| WalletError::Genesis { file: file.to_owned(), error })
}

fn vote<S: Read + Write>(
    client: &mut Client<S>,
    genesis: &Genesis,
    key: &PrivateKey,
    change: VotedChange,
    consent: Option<Possession>,
) -> Result<String, WalletError> {
    let height = order(client, genesis, key, Action::Vote { change, consent })?;
    Ok(format!(
        "your vote counts since height {height}; `ledger validators` shows whether it passed\n"
    ))
}

/// Asks for an account. A box could otherwise have a transaction signed for another ledger.
fn account<S: Read + Write>(
    client: &mut Client<S>,
    genesis: &Genesis,
    owner: &PublicKey,
) -> Result<Account, WalletError> {
    let answer = client.call("account", object(json!({ "owner": owner.to_string() })))?;
    check_genesis(&answer, genesis)?;
    let number = |key: &str| answer[key].as_u64().ok_or(WalletError::Answer);
    Ok(Account { balance: number("balance")?, nonce: number("nonce")?, height: number("height")? })
}

fn check_genesis(answer: &Value, genesis: &Genesis) -> Result<(), WalletError> {
    let own = genesis.hash().to_string();
    match answer["genesis"].as_str() {
        Some(theirs) if theirs == own => Ok(()),
        Some(theirs) => Err(WalletError::OtherLedger { own, theirs: theirs.to_owned() }),
        None => Err(WalletError::Answer),
    }
}

/// Like [`order`], for what takes so many coins.
fn order_with_coins<S: Read + Write>(
    client: &mut Client<S>,
    genesis: &Genesis,
    key: &PrivateKey,
    amount: u64,
    action: Action,
) -> Result<u64, WalletError> {
    let Account { balance, .. } = account(client, genesis, &key.public())?;
    let needs = amount.saturating_add(genesis.parameters().fee);
    if balance < needs {
        let [has, needs] = [balance, needs].map(show_millionths);
        return Err(WalletError::TooFew { has, needs });
    }
    order(client, genesis, key, action)
}

/// Signs and hands over, and waits until a block has it. Returns the height at which that was seen.
fn order<S: Read + Write>(
    client: &mut Client<S>,
    genesis: &Genesis,
    key: &PrivateKey,
    action: Action,
) -> Result<u64, WalletError> {
    let nonce = account(client, genesis, &key.public())?.nonce + 1;
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

#[cfg(test)]
mod tests;
