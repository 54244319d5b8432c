//! `octetctl --box BOX wallet`: the owner's coins on a ledger. Transactions are signed on this machine; the box has a
//! node of the ledger, which hands them over.

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
        WalletVerb::VoteAdd { owner, key: validator, consent, epoch } => {
            let change = VotedChange::Add { owner: *owner, key: *validator, epoch: *epoch };
            vote(client, &genesis, key, change, Some(*consent))
        }
        WalletVerb::VoteRemove { owner } => {
            vote(client, &genesis, key, VotedChange::Remove { owner: *owner }, None)
        }
        WalletVerb::Member(verb) => pool::run(verb, client, &genesis, key),
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

fn vote<S: Read + Write>(
    client: &mut Client<S>,
    genesis: &Genesis,
    key: &PrivateKey,
    change: VotedChange,
    consent: Option<Possession>,
) -> Result<String, WalletError> {
    let account = account(client, genesis, &key.public())?;
    let action = Action::Vote { change, consent };
    let height = order(client, genesis, key, account.nonce + 1, action)?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use octet_node::Peer;
    use octet_node::control::{Failure, FailureCode};
    use tempfile::TempDir;

    use super::*;

    pub(super) fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed([seed; 32]).unwrap()
    }

    pub(super) fn genesis() -> String {
        let mut text = "name = \"valley\"\n".to_owned();
        for seed in 0..4 {
            let [owner, validator] = [seed, 10 + seed].map(|seed| key(seed).public());
            text += &format!("[[validator]]\nowner = \"{owner}\"\nkey = \"{validator}\"\n");
        }
        text + &format!("[[account]]\nowner = \"{}\"\nbalance = 5000000\n", key(0).public())
    }

    /// Runs the command at a box whose ledger has this genesis, and takes a transaction if it `takes`. Returns what is
    /// printed, and the transactions that came.
    pub(super) fn wallet(
        words: &str,
        of_box: &Genesis,
        takes: bool,
    ) -> (Result<String, WalletError>, Vec<SignedTransaction>) {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("genesis.toml"), genesis()).unwrap();
        let (own, theirs) = UnixStream::pair().unwrap();
        let hash = of_box.hash().to_string();
        let serving = thread::spawn(move || {
            let (mut peer, mut came) = (Peer::new(theirs), vec![]);
            while let Ok(Some(request)) = peer.next_request() {
                let answer = match request.verb.as_str() {
                    "account" => {
                        let nonce = 6 + came.len();
                        Ok(
                            json!({ "balance": 5_000_000, "nonce": nonce, "genesis": hash, "height": 7 }),
                        )
                    }
                    "submit" if takes => {
                        let text = request.args["transaction"].as_str().unwrap();
                        let bytes = BASE64.decode(text.as_bytes()).unwrap();
                        came.push(SignedTransaction::from_bytes(&bytes).unwrap());
                        Ok(Value::Null)
                    }
                    "submit" => Err(Failure::new(FailureCode::Failed, "no room", "wait")),
                    verb => panic!("{verb}"),
                };
                peer.end(request.id, answer).unwrap();
            }
            came
        });
        let words = format!("wallet {words}");
        let line = WalletLine::try_parse_from(words.split(' ')).unwrap();
        let result = run(&line, &mut Client::new(own), &key(0), folder.path());
        (result, serving.join().unwrap())
    }

    #[test]
    fn what_is_signed_is_what_was_said() {
        let own = Genesis::from_toml(&genesis()).unwrap();
        let to = key(9).public();
        let (printed, came) = wallet(&format!("transfer {to} 1.25"), &own, true);
        assert_eq!(printed.unwrap(), format!("1.250000 coins are {to}'s since height 7\n"));
        let [signed] = came[..] else { panic!("{came:?}") };
        signed.verify(&own.hash()).unwrap();
        let action = Action::Transfer { to, amount: 1_250_000 };
        let expected = Transaction { signer: key(0).public(), nonce: 7, action };
        assert_eq!(*signed.transaction(), expected);
        let (shown, came) = wallet("show", &own, true);
        let expected = format!("{}\n5.000000 coins at height 7\n", key(0).public());
        assert_eq!((shown.unwrap(), came), (expected, vec![]));
    }

    #[test]
    fn a_vote_has_the_consent() {
        let own = Genesis::from_toml(&genesis()).unwrap();
        let (owner, validator) = (key(8).public(), key(18));
        let consent = Possession::of_validator(&own.hash(), &owner, 1, &validator);
        let text = BASE64.encode(&consent.0);
        let words = format!("vote-add {owner} {} {text}", validator.public());
        let (_, came) = wallet(&words, &own, true);
        let change = VotedChange::Add { owner, key: validator.public(), epoch: 1 };
        let expected = Action::Vote { change, consent: Some(consent) };
        assert_eq!(came[0].transaction().action, expected);
        came[0].verify(&own.hash()).unwrap();
        let (_, came) = wallet(&format!("vote-remove {owner}"), &own, true);
        let expected = Action::Vote { change: VotedChange::Remove { owner }, consent: None };
        assert_eq!(came[0].transaction().action, expected);
    }

    /// Nothing is signed for a ledger that is not the one of the file.
    #[test]
    fn another_ledger_is_noticed() {
        let other = Genesis::from_toml(&genesis().replace("valley", "hill")).unwrap();
        let (refused, came) = wallet(&format!("transfer {} 1", key(9).public()), &other, true);
        assert!(matches!(refused, Err(WalletError::OtherLedger { .. })), "{refused:?}");
        assert_eq!(came, []);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let own = Genesis::from_toml(&genesis()).unwrap();
        let to = key(9).public();
        // The fee is 0.0001.
        let (refused, came) = wallet(&format!("transfer {to} 4.999901"), &own, true);
        assert!(matches!(refused, Err(WalletError::TooFew { .. })), "{refused:?}");
        assert_eq!(came, []);
        assert!(wallet(&format!("transfer {to} 4.9999"), &own, true).0.is_ok());
        let (refused, _) = wallet(&format!("transfer {to} 1"), &own, false);
        assert!(matches!(refused, Err(WalletError::Remote(_))), "{refused:?}");
        for bad in ["0", "-1", "0.0000001", "1,5"] {
            let words = ["wallet", "transfer", &to.to_string(), bad].map(str::to_owned);
            assert!(WalletLine::try_parse_from(words).is_err(), "{bad}");
        }
    }
}
