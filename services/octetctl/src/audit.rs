//! `octetctl --box BOX ledger audit` recomputes a ledger on the owner's machine. Of the box it believes nothing: the
//! blocks have to follow from the genesis file, and to be signed by the validators.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use data_encoding::{BASE64, HEXLOWER};
use octet_auditor::{Audit, AuditError, AuditSummary, Difference};
use octet_control::{Client, show_millionths};
use serde_json::{Map, Value, json};

use crate::remote::RemoteError;

/// The unit that has the ledger.
const UNIT: &str = "ledger";

/// What is audited.
#[derive(Debug, Args)]
pub struct AuditLine {
    /// The ledger's genesis file [default: ~/.config/octet/genesis.toml]
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// Takes the blocks from a file with answers of the verb `blocks`, and asks no box
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerAuditError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("cannot read {}: {error}", file.display())]
    Read { file: PathBuf, error: io::Error },
    #[error("{}: {error}", file.display())]
    Genesis { file: PathBuf, error: AuditError },
    #[error("the answer about blocks is not understood")]
    Answer,
    #[error("there is no block {0}, and the newest is said to be {1}")]
    Missing(u64, u64),
    #[error(transparent)]
    Difference(#[from] Difference),
}

impl LedgerAuditError {
    pub fn help(&self) -> &str {
        match self {
            Self::Remote(error) => error.help(),
            Self::Read { .. } => "name the file that all owners of the ledger have: --genesis FILE",
            Self::Genesis { error, .. } => error.help(),
            Self::Answer => "update the box or this program, so that both are of one version",
            Self::Missing(..) => "ask another box of the ledger, which has all blocks",
            Self::Difference(difference) => difference.help(),
        }
    }
}

impl From<octet_control::CallError> for LedgerAuditError {
    fn from(error: octet_control::CallError) -> Self {
        Self::Remote(RemoteError::Box(error))
    }
}

/// Audits the ledger of a box, and returns what is printed. `folder` has the genesis file, if none is named.
///
/// # Errors
/// The box does not answer, or the first thing that does not add up.
pub fn of_box<S: Read + Write>(
    line: &AuditLine,
    client: &mut Client<S>,
    folder: &Path,
) -> Result<String, LedgerAuditError> {
    client.set_unit(UNIT.parse().ok());
    audit(line, folder, |from| {
        let args = Map::from_iter([("from".to_owned(), Value::from(from))]);
        Ok(client.call("blocks", args)?)
    })
}

/// Audits the answers in a file, one after the other.
///
/// # Errors
/// The file cannot be read, or the first thing that does not add up.
pub fn of_file(line: &AuditLine, file: &Path, folder: &Path) -> Result<String, LedgerAuditError> {
    let text = read(file)?;
    let mut answers = serde_json::Deserializer::from_str(&text).into_iter();
    // Beyond the last answer there are no blocks.
    audit(line, folder, |_| match answers.next() {
        Some(answer) => answer.map_err(|_| LedgerAuditError::Answer),
        None => Ok(json!({ "newest": 0, "blocks": [] })),
    })
}

fn read(file: &Path) -> Result<String, LedgerAuditError> {
    std::fs::read_to_string(file)
        .map_err(|error| LedgerAuditError::Read { file: file.to_owned(), error })
}

/// Audits all blocks up to the one that was the newest when the first answer came.
fn audit(
    line: &AuditLine,
    folder: &Path,
    mut answer_from: impl FnMut(u64) -> Result<Value, LedgerAuditError>,
) -> Result<String, LedgerAuditError> {
    let file = line.genesis.clone().unwrap_or_else(|| folder.join("genesis.toml"));
    let mut audit = Audit::new(&read(&file)?)
        .map_err(|error| LedgerAuditError::Genesis { file: file.clone(), error })?;
    let (mut next, mut newest) = (1, None);
    loop {
        let answer = answer_from(next)?;
        let last = answer["newest"].as_u64().ok_or(LedgerAuditError::Answer)?;
        let last = *newest.get_or_insert(last);
        let blocks = answer["blocks"].as_array().ok_or(LedgerAuditError::Answer)?;
        if blocks.is_empty() && next <= last {
            return Err(LedgerAuditError::Missing(next, last));
        }
        for block in blocks {
            if next > last {
                break;
            }
            audit.block(&bytes(&block["block"])?, &bytes(&block["votes"])?)?;
            next += 1;
        }
        if next > last {
            break;
        }
    }
    let found = audit.summary();
    Ok(if line.json { format!("{:#}\n", to_json(&found)) } else { to_text(&found) })
}

fn bytes(value: &Value) -> Result<Vec<u8>, LedgerAuditError> {
    let text = value.as_str().ok_or(LedgerAuditError::Answer)?;
    BASE64.decode(text.as_bytes()).map_err(|_| LedgerAuditError::Answer)
}

/// There are at most 2^62 millionths; what was claimed in all can be more.
fn amount(millionths: u128) -> u64 {
    u64::try_from(millionths).unwrap_or(u64::MAX)
}

fn to_json(found: &AuditSummary) -> Value {
    json!({
        "name": found.name,
        "genesis": HEXLOWER.encode(&found.genesis),
        "height": found.height,
        "block": HEXLOWER.encode(&found.block),
        "state": HEXLOWER.encode(&found.state),
        "sum": amount(found.coins),
        "pot": amount(found.pot),
        "accounts": found.accounts,
        "keys": found.keys,
        "locks": found.locks,
        "validators": found.validators,
        "claims": found.claims,
        "claimed": amount(found.claimed),
        "members": found.members,
        "pool_paid": amount(found.pool_paid),
    })
}

fn to_text(found: &AuditSummary) -> String {
    let [coins, pot, claimed, pool_paid] = [found.coins, found.pot, found.claimed, found.pool_paid]
        .map(|it| show_millionths(amount(it)));
    let mut out = format!("audited {} blocks of {}: all coins add up\n", found.height, found.name);
    let rows = [
        ("genesis", HEXLOWER.encode(&found.genesis)),
        ("block", HEXLOWER.encode(&found.block)),
        ("state", HEXLOWER.encode(&found.state)),
        (
            "coins",
            format!("{coins} in {} accounts, {} locks and the pot", found.accounts, found.locks),
        ),
        ("pot", pot),
        ("claims", format!("{} have paid {claimed}", found.claims)),
        ("pool", format!("{} members; it has paid {pool_paid}", found.members)),
        ("keys", found.keys.to_string()),
        ("validators", found.validators.to_string()),
    ];
    for (name, value) in rows {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<12}{value}");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use octet_coins::{Action, Block, Genesis, LedgerState, SignedTransaction, Transaction};
    use octet_node::Peer;
    use octet_node::key::{Domain, PrivateKey};
    use tempfile::TempDir;

    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed([seed; 32]).unwrap()
    }

    fn genesis() -> String {
        let mut text = "name = \"valley\"\n".to_owned();
        for seed in 0..4 {
            let [owner, validator] = [seed, 10 + seed].map(|seed| key(seed).public());
            text += &format!("[[validator]]\nowner = \"{owner}\"\nkey = \"{validator}\"\n");
        }
        text + &format!("[[account]]\nowner = \"{}\"\nbalance = 5000000\n", key(0).public())
    }

    /// So many blocks, each with a transfer of a coin, as a box has them.
    fn blocks(count: u64) -> Vec<Value> {
        let genesis = Genesis::from_toml(&genesis()).unwrap();
        let (hash, mut state) = (genesis.hash(), LedgerState::new(&genesis));
        let mut all = vec![];
        for height in 1..=count {
            let action = Action::Transfer { to: key(9).public(), amount: 1_000_000 };
            let transaction = Transaction { signer: key(0).public(), nonce: height, action };
            let transactions = vec![SignedTransaction::sign(transaction, &hash, &key(0))];
            let (parent, before) = (state.tip(), state.hash());
            let block = Block { height, parent, state: before, round: 0, transactions };
            let (number, round) = (height.to_be_bytes(), 0u32.to_be_bytes());
            let of = block.hash().0;
            let vote = [&hash.0[..], &[2], &number, &round, &[1], &of].concat();
            let mut votes = [&number[..], &round, &of, &[0, 3]].concat();
            for seed in 10..13 {
                votes.extend_from_slice(key(seed).public().as_bytes());
                votes.extend_from_slice(&key(seed).sign(Domain::Vote, &vote));
            }
            state = state.check(&block).unwrap();
            let [block, votes] = [block.to_bytes(), votes].map(|it| BASE64.encode(&it));
            all.push(json!({ "height": height, "block": block, "votes": votes }));
        }
        all
    }

    /// Audits a box that has these blocks, and hands over two at a time. It says that `newest` is the newest.
    fn audited(all: Vec<Value>, newest: u64, json: bool) -> Result<String, LedgerAuditError> {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("genesis.toml"), genesis()).unwrap();
        let (own, theirs) = UnixStream::pair().unwrap();
        let serving = thread::spawn(move || {
            let (mut peer, mut newest) = (Peer::new(theirs), newest);
            while let Ok(Some(request)) = peer.next_request() {
                assert_eq!(request.verb, "blocks");
                let from = usize::try_from(request.args["from"].as_u64().unwrap()).unwrap();
                let two: Vec<_> = all.iter().skip(from - 1).take(2).collect();
                peer.end(request.id, Ok(json!({ "newest": newest, "blocks": two }))).unwrap();
                // The ledger goes on meanwhile.
                newest += 1;
            }
        });
        let line = AuditLine { genesis: None, from: None, json };
        let result = of_box(&line, &mut Client::new(own), folder.path());
        serving.join().unwrap();
        result
    }

    #[test]
    fn a_ledger_is_audited_up_to_the_newest_block() {
        // There is one more by the time.
        let text = audited(blocks(4), 3, false).unwrap();
        assert!(text.starts_with("audited 3 blocks of valley: all coins add up\n"), "{text}");
        assert!(
            text.contains("coins       5.000000 in 2 accounts, 0 locks and the pot\n"),
            "{text}"
        );
        let json: Value = serde_json::from_str(&audited(blocks(4), 4, true).unwrap()).unwrap();
        assert_eq!((&json["height"], &json["pot"]), (&json!(4), &json!(400)));
        let none = audited(vec![], 0, false).unwrap();
        assert!(none.starts_with("audited 0 blocks"), "{none}");
    }

    #[test]
    fn a_difference_has_its_height() {
        let mut all = blocks(4);
        all[2]["votes"] = all[1]["votes"].clone();
        let error = audited(all, 4, false).unwrap_err();
        assert_eq!(error.to_string(), "block 3: its votes are for another block");
        assert!(error.help().contains("another box"));
        let missing = audited(blocks(3), 4, false).unwrap_err();
        assert!(matches!(missing, LedgerAuditError::Missing(4, 4)), "{missing}");
        let mut all = blocks(1);
        all[0]["block"] = json!("?");
        assert!(matches!(audited(all, 1, false), Err(LedgerAuditError::Answer)));
        assert!(audited(blocks(4), 4, false).is_ok());
    }

    #[test]
    fn saved_answers_are_audited() {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("genesis.toml"), genesis()).unwrap();
        let (file, all) = (folder.path().join("blocks.json"), blocks(3));
        let line = AuditLine { genesis: None, from: None, json: false };
        let [first, rest] =
            [&all[..2], &all[2..]].map(|some| json!({ "newest": 3, "blocks": some }));
        std::fs::write(&file, format!("{first}\n{rest:#}\n")).unwrap();
        let text = of_file(&line, &file, folder.path()).unwrap();
        assert!(text.starts_with("audited 3 blocks"), "{text}");
        std::fs::write(&file, first.to_string()).unwrap();
        let cut = of_file(&line, &file, folder.path()).unwrap_err();
        assert!(matches!(cut, LedgerAuditError::Missing(3, 3)), "{cut}");
    }
}
