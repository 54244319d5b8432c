//! The verbs of this unit.

use std::sync::Arc;

use data_encoding::BASE64;
use octet_coins::Possession;
use octet_node::control::{
    ColumnKind, Failure, FailureCode, Permission, PublicKey, Verb, parse_millionths,
};
use octet_node::serve::threads::{Call, ConnectionLimits, Verbs};
use octet_node::serve::verbs::{VerbArgs, nothing, option, optional_integer, public_key, text};
use octet_node::settings::Which;
use octet_receipts::{
    AccountBook, AccountError, AccountId, AccountRow, KeyPair, ServiceKind, SignedReceipt,
};
use serde_json::{Value, json};

use crate::SharedAccounts;
use crate::settings::{AccountSettingsError, Settings};

/// The maximum number of clients, the number reserved for operators, and the maximum per user.
pub const LIMITS: ConnectionLimits = ConnectionLimits { all: 8, for_operators: 6, of_one: 2 };

/// A verb's state.
type State = Arc<SharedAccounts>;

pub fn verbs() -> Verbs<State> {
    use Permission::{Own, Read};

    Verbs::default()
        .with(
            Verb::new("show", Read, "Shows who owes whom, in units of account")
                .columns(
                    ColumnKind::Bytes,
                    &[
                        "served",
                        "signed_by_them",
                        "unsigned",
                        "bought",
                        "signed_by_us",
                        "they_counted",
                    ],
                )
                .columns(ColumnKind::Millionths, &["owed_to_us", "owed_by_us", "balance"]),
            nothing(),
            |shared, _: &mut Call<'_>, ()| Ok(rows(shared)),
        )
        .with(
            Verb::new(
                "receipts",
                Read,
                "Prints the newest receipt of each epoch, as proof of a debt",
            )
            .columns(ColumnKind::Bytes, &["bytes"])
            .columns(ColumnKind::Millionths, &["price", "amount"]),
            nothing(),
            |shared, _, ()| Ok(receipts(shared)),
        )
        .with(
            Verb::new("locks", Read, "Shows what is locked on the ledger, and not paid yet")
                .columns(
                    ColumnKind::Millionths,
                    &["locked_for_us", "owed_to_us", "paid_to_us", "locked_for_them", "owed_by_us"],
                ),
            nothing(),
            |shared, _, ()| Ok(locks(shared)),
        )
        .with(
            Verb::new("earnings", Read, "Shows what the ledger has paid to this node")
                .columns(ColumnKind::Millionths, &["last_hour", "last_day", "total"]),
            nothing(),
            |shared, _, ()| Ok(earnings(shared)),
        )
        .with(
            Verb::new(
                "consent",
                Own,
                "Has this unit's key agree to be bound to an owner on the ledger",
            ),
            public_key("owner", "The owner's key (a did:key)").and(optional_integer(
                "epoch",
                "Higher than that of the node's former key [default: the number of this key]",
            )),
            |shared, _, (owner, epoch)| consent(shared, &owner, epoch),
        )
        .with(
            Verb::new("settle", Own, "Records that a neighbour has paid, and tells it so"),
            neighbour().and(amount()).and(kind()),
            |shared, _, ((neighbour, amount), kind)| {
                change(shared, &neighbour, kind, |book, id| {
                    book.settle(id, amount)?;
                    Ok(Value::Null)
                })
            },
        )
        .with(
            Verb::new(
                "write-off",
                Own,
                "Forgives a neighbour what it was served and has not signed",
            ),
            neighbour().and(kind()),
            |shared, _, (neighbour, kind)| {
                change(shared, &neighbour, kind, |book, id| {
                    Ok(json!({ "forgiven": book.write_off(id)? }))
                })
            },
        )
        .with_settings(
            |shared| Ok(Settings::read(&shared.sockets, Which::Next).map(drop)?),
            |shared| {
                let settings = Settings::read(&shared.sockets, Which::InForce)?;
                shared.change(|state| state.settings = settings);
                Ok(())
            },
        )
}

fn amount() -> VerbArgs<u64> {
    text("amount", "What was paid, in units of account, such as 0.25").parse(|text| {
        parse_millionths(&text).ok_or_else(|| {
            let message = format!("`{text}` is not an amount");
            let help = "write a number of units with at most six decimals, such as 0.25";
            Failure::new(FailureCode::BadArgument, message, help)
        })
    })
}

impl From<AccountSettingsError> for Failure {
    fn from(error: AccountSettingsError) -> Self {
        match error {
            AccountSettingsError::Settings(error) => error.into(),
            AccountSettingsError::Genesis(error) => {
                let message = format!("`genesis` of [ledger]: {error}");
                Self::new(FailureCode::BadArgument, message, error.help())
            }
        }
    }
}

fn neighbour() -> VerbArgs<String> {
    text("neighbour", "Its name in [[neighbour]], or its key")
}

fn kind() -> VerbArgs<ServiceKind> {
    let help = "What the debt is for: carriage or objects [default: carriage]";
    option("kind", help).parse(|text| {
        let Some(text) = text else { return Ok(ServiceKind::Carriage) };
        let found = ServiceKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| {
            let message = format!("`{text}` is no kind of service");
            Failure::new(FailureCode::BadArgument, message, "write `carriage` or `objects`")
        })
    })
}

fn rows(shared: &State) -> Value {
    let (settings, book) = (shared.settings(), shared.book());
    let row = |row: AccountRow| {
        json!({
            "neighbour": settings.name(&row.node),
            "kind": row.kind.as_str(),
            "owed_to_us": row.owed,
            "owed_by_us": row.owe,
            "balance": balance(&row),
            "served": row.served,
            "signed_by_them": row.received,
            "unsigned": row.unsigned,
            "serving": row.serving.as_str(),
            "bought": row.bought,
            "signed_by_us": row.signed,
            "they_counted": row.their_count,
            "paying": row.paying.as_str(),
            "node": row.node,
        })
    };
    book.rows().into_iter().map(row).collect()
}

/// JSON has no longer numbers.
fn balance(row: &AccountRow) -> i64 {
    let net = row.net();
    i64::try_from(net).unwrap_or(if net < 0 { i64::MIN } else { i64::MAX })
}

fn receipts(shared: &State) -> Value {
    let (settings, book) = (shared.settings(), shared.book());
    let rows = book.rows().into_iter().flat_map(|row| {
        let (name, kind) = (settings.name(&row.node), row.kind.as_str());
        let taken = row.taken_receipts.into_iter().map(|it| ("them", it));
        let all = taken.chain(row.given_receipt.map(|it| ("us", it)));
        all.filter_map(move |(by, bytes)| {
            let signed = SignedReceipt::from_bytes(&bytes)?;
            let receipt = signed.receipt();
            Some(json!({
                "neighbour": name,
                "kind": kind,
                "signed_by": by,
                "epoch": receipt.epoch,
                "bytes": receipt.bytes,
                "price": receipt.price,
                "amount": receipt.amount,
                "receipt": BASE64.encode(&bytes),
            }))
        })
    });
    rows.collect()
}

/// A row for each neighbour that is paid, or pays, on the ledger. Carriage and objects have a lock in common, so amounts are of
/// both.
fn locks(shared: &State) -> Value {
    let (settings, book) = (shared.settings(), shared.book());
    let own = book.identity().map(|it| it.key.public());
    let locked = |payer, payee| {
        let pair = KeyPair { payer: payer?, payee: payee? };
        Some(book.lock(&pair)?.locked)
    };
    let is_on_ledger =
        |node: &PublicKey| settings.neighbours.get(node).is_some_and(|line| line.ledger);
    let rows: Vec<AccountRow> =
        book.rows().into_iter().filter(|row| is_on_ledger(&row.node)).collect();
    let pairs = rows.chunk_by(|row, next| row.node == next.node);
    let row = |of_pair: &[AccountRow]| {
        let first = of_pair.first()?;
        let sum = |of: fn(&AccountRow) -> u64| of_pair.iter().map(of).fold(0, u64::saturating_add);
        Some(json!({
            "neighbour": settings.name(&first.node),
            "locked_for_us": locked(first.peer_key, own),
            "owed_to_us": sum(|row| row.owed),
            "paid_to_us": sum(|row| row.coins),
            "locked_for_them": locked(own, first.peer_key),
            "owed_by_us": sum(|row| row.owe),
            "own_key": own,
            "their_key": first.peer_key,
        }))
    };
    pairs.filter_map(row).collect()
}

fn earnings(shared: &State) -> Value {
    let total = shared.book().rows().iter().fold(0u64, |sum, row| sum.saturating_add(row.coins));
    let sums = shared.earnings().sums(shared.start.elapsed());
    json!({
        "last_hour": sums.last_hour,
        "last_day": sums.last_day,
        "total": total,
        "noted_seconds": sums.noted.as_secs(),
    })
}

fn consent(shared: &State, owner: &PublicKey, epoch: Option<u64>) -> Result<Value, Failure> {
    let ledger = shared.settings().ledger.ok_or_else(|| {
        let help = "`[ledger]` in appliance.toml names one (docs/ledger.md)";
        Failure::new(FailureCode::NotFound, "this node has no ledger", help)
    })?;
    let book = shared.book();
    let certified = book.identity().ok_or_else(|| {
        let help = "`identity show` tells whether the node has a key";
        Failure::new(FailureCode::Failed, "this unit has no certified key yet", help)
    })?;
    let certificate = certified.certificate.body();
    let epoch = epoch.unwrap_or(certificate.epoch);
    let genesis = ledger.genesis.hash();
    let consent = Possession::of_sub_key(&genesis, owner, &certificate.node, epoch, &certified.key);
    Ok(json!({
        "owner": owner,
        "node": certificate.node,
        "key": certificate.key,
        "epoch": epoch,
        "genesis": genesis.to_string(),
        "consent": BASE64.encode(&consent.0),
    }))
}

/// Changes an account of a neighbour. The change is on disk when this returns.
fn change(
    shared: &State,
    neighbour: &str,
    kind: ServiceKind,
    change: impl FnOnce(&mut AccountBook, &AccountId) -> Result<Value, AccountError>,
) -> Result<Value, Failure> {
    let node = shared.settings().find(neighbour).ok_or_else(|| {
        let message = format!("`{neighbour}` is neither a [[neighbour]] nor a public key");
        Failure::new(FailureCode::NotFound, message, "`accounts show` lists all accounts")
    })?;
    let mut book = shared.book();
    let answer = change(&mut book, &AccountId { node, kind })
        .map_err(|error| Failure::new(FailureCode::BadArgument, error.to_string(), error.help()))?;
    book.write().map_err(|error| {
        let help = "see whether the data partition is full or damaged";
        Failure::new(FailureCode::Failed, format!("the book cannot be written: {error}"), help)
    })?;
    drop(book);
    shared.change(|_| {});
    Ok(answer)
}
