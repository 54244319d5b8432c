//! The verbs of this unit.

mod pool;

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use octet_coins::{ClaimedReceipt, KeyState, LedgerState, PendingTransactions, SignedTransaction};
use octet_node::control::{ColumnKind, Failure, FailureCode, Permission, PublicKey, Verb};
use octet_node::serve::threads::{Call, ConnectionLimits, Verbs};
use octet_node::serve::verbs::{
    VerbArgs, file, nothing, option, optional_integer, public_key as key, text,
};
use octet_node::settings::Which;
use serde_json::{Value, json};

use crate::inbox::LedgerInbox;
use crate::run::SNAPSHOT;
use crate::settings::{LedgerSettings, LedgerSettingsError};
use crate::snapshot::{self, LedgerSnapshot};
use crate::store::{StoredBlock, write_snapshot};
use crate::unit::SharedLedger;

/// The maximum number of clients, the number reserved for operators, and the maximum per user.
pub const LIMITS: ConnectionLimits = ConnectionLimits { all: 8, for_operators: 6, of_one: 2 };

/// A verb's state.
type State = Arc<SharedLedger>;

pub fn verbs() -> Verbs<State> {
    use Permission::{Operate, Own, Read};

    Verbs::default()
        .with(
            Verb::new("show", Read, "Shows the ledger of this node, and its newest block")
                .columns(ColumnKind::Millionths, &["coins", "pot", "fee"]),
            nothing(),
            |shared, _: &mut Call<'_>, ()| show(shared),
        )
        .with(
            Verb::new("validators", Read, "Lists the validators, in the order of their turns"),
            nothing(),
            |shared, _, ()| validators(shared),
        )
        .with(
            Verb::new("account", Read, "Shows the account of an owner")
                .columns(ColumnKind::Millionths, &["balance", "last_claims", "last_pool"]),
            key("owner", "The owner's key (a did:key)"),
            |shared, _, owner| account(shared, &owner),
        )
        .with(
            Verb::new("pool", Read, "Shows the pool: its keys, members, and settlement period")
                .columns(
                    ColumnKind::Millionths,
                    &[
                        "per_period",
                        "schedule",
                        "fees",
                        "work",
                        "payout",
                        "last_payout",
                        "last_claims",
                        "last_pool",
                    ],
                ),
            nothing(),
            |shared, _, ()| pool::pool(&newest(shared)?.1),
        )
        .with(
            Verb::new("key", Read, "Shows a key that an owner has bound for a node")
                .columns(ColumnKind::Millionths, &["max_per_day"]),
            key("key", "The key of a unit `accounts` (a did:key)"),
            |shared, _, key| bound_key(shared, &key),
        )
        .with(
            Verb::new("lock", Read, "Shows what a payer's key can pay to a payee's key")
                .columns(ColumnKind::Millionths, &["amount", "max_per_day", "day_left"]),
            key("payer", "The payer's key").and(key("payee", "The payee's key")).and(scopes()),
            |shared, _, ((payer, payee), scopes)| lock(shared, &payer, &payee, &scopes),
        )
        .with(
            Verb::new("blocks", Read, "Prints blocks with the votes that decided them, in base64"),
            optional_integer("from", "The height of the first one [default: 1]"),
            |shared, _, from| blocks(shared, from.unwrap_or(1)),
        )
        .with(
            Verb::new(
                "snapshot",
                Read,
                "Prints a copy of the state, for a node that lacks old blocks",
            ),
            nothing(),
            |shared, call, ()| print_snapshot(shared, call),
        )
        .with(
            Verb::new("restore", Own, "Has this node go on from a snapshot of another one"),
            file("snapshot", "What `ledger snapshot --json` of the other node has printed").and(
                text("state", "The hash `state` in its `ledger show`, from a node that you trust"),
            ),
            |shared, call, (_, state)| restore(shared, call, &state),
        )
        .with(
            Verb::new("consent", Own, "Has this node's key agree to be the validator of an owner"),
            key("owner", "The owner's key (a did:key)").and(optional_integer(
                "epoch",
                "Higher than that of the owner's former key [default: 1]",
            )),
            |shared, _, (owner, epoch)| consent(shared, &owner, epoch.unwrap_or(1)),
        )
        .with(
            Verb::new("submit", Operate, "Hands a signed transaction to the validators"),
            text("transaction", "The transaction, in base64"),
            |shared, _, transaction| submit(shared, &transaction),
        )
        .with_settings(
            |shared| Ok(LedgerSettings::read(&shared.sockets, Which::Next).map(drop)?),
            |shared| {
                shared.set_settings(LedgerSettings::read(&shared.sockets, Which::InForce)?);
                Ok(())
            },
        )
}

impl From<LedgerSettingsError> for Failure {
    fn from(error: LedgerSettingsError) -> Self {
        match error {
            LedgerSettingsError::Settings(error) => error.into(),
            LedgerSettingsError::Genesis(error) => {
                let message = format!("`genesis` of [ledger]: {error}");
                Self::new(FailureCode::BadArgument, message, error.help())
            }
        }
    }
}

/// The most scopes of one call.
const MAX_SCOPES: usize = 64;

fn scopes() -> VerbArgs<Vec<[u8; 32]>> {
    let help = "Shows claims of these scopes of receipts, too: hexadecimal, with commas between";
    option("scopes", help).parse(|text| {
        let text = text.unwrap_or_default();
        let words: Vec<_> = text.split(',').filter(|word| !word.is_empty()).collect();
        let scope = |word: &&str| HEXLOWER.decode(word.as_bytes()).ok()?.try_into().ok();
        let scopes: Option<Vec<_>> = words.iter().map(scope).collect();
        scopes.filter(|scopes| scopes.len() <= MAX_SCOPES).ok_or_else(|| {
            let message = format!("`{text}` are not at most {MAX_SCOPES} scopes");
            let help = "a scope has 64 hexadecimal digits";
            Failure::new(FailureCode::BadArgument, message, help)
        })
    })
}

/// The node that runs, and the state after its newest block.
fn newest(shared: &State) -> Result<(Arc<LedgerInbox>, Arc<LedgerState>), Failure> {
    if shared.settings().is_none() {
        let help = "`[ledger]` in appliance.toml names one (docs/ledger.md)";
        return Err(Failure::new(FailureCode::NotFound, "this node has no ledger", help));
    }
    let inbox = shared.inbox();
    let newest = inbox.and_then(|inbox| Some((Arc::clone(&inbox), inbox.newest()?)));
    newest.ok_or_else(|| {
        let message = "this node has not opened its ledger yet";
        let help = "try again; `logd show --unit ledger` says what it waits for";
        Failure::new(FailureCode::Failed, message, help)
    })
}

fn show(shared: &State) -> Result<Value, Failure> {
    let own = shared.key();
    let Some(settings) = shared.settings() else {
        // Whoever writes the genesis needs the key.
        return Ok(json!({ "ledger": null, "key": own }));
    };
    let (_, state) = newest(shared)?;
    let is_validator = state.validators().iter().any(|one| Some(one.key) == own);
    let parameters = state.parameters();
    Ok(json!({
        "ledger": settings.genesis.name(),
        "genesis": state.genesis_hash().to_string(),
        "key": own,
        "role": if is_validator { "validator" } else { "follower" },
        "height": state.height(),
        "block": state.tip().to_string(),
        "state": HEXLOWER.encode(&state.hash()),
        "validators": state.validators().len(),
        "coins": state.total(),
        "pot": state.pot(),
        "fee": parameters.fee,
        "spacing_seconds": parameters.spacing.as_secs(),
    }))
}

fn validators(shared: &State) -> Result<Value, Failure> {
    let (_, state) = newest(shared)?;
    let own = shared.key();
    let row = |validator: &octet_coins::Validator| {
        json!({
            "owner": validator.owner,
            "key": validator.key,
            "is_own": Some(validator.key) == own,
            "epoch": state.validator_epoch(&validator.owner),
        })
    };
    Ok(state.validators().iter().map(row).collect())
}

fn account(shared: &State, owner: &PublicKey) -> Result<Value, Failure> {
    let (_, state) = newest(shared)?;
    let account = state.account(owner).unwrap_or_default();
    let mut shown = json!({
        "owner": owner,
        "balance": account.balance,
        "nonce": account.nonce,
        "genesis": state.genesis_hash().to_string(),
        "height": state.height(),
    });
    if let Some(shown) = shown.as_object_mut() {
        shown.extend(pool::earned(&state, owner));
    }
    Ok(shown)
}

fn bound_key(shared: &State, key: &PublicKey) -> Result<Value, Failure> {
    let (_, state) = newest(shared)?;
    let Some(bound) = state.key(key) else {
        let message = format!("{key} was never bound");
        return Err(Failure::new(
            FailureCode::NotFound,
            message,
            "its owner binds it to its node with a transaction",
        ));
    };
    let (stands, until) = match bound.state {
        KeyState::Open => ("open", None),
        KeyState::Closed { void_at } => ("closed", Some(void_at)),
        KeyState::Void => ("void", None),
    };
    Ok(json!({
        "key": key,
        "owner": bound.owner,
        "node": bound.node,
        "epoch": bound.epoch,
        "max_per_day": bound.max_per_day,
        "state": stands,
        "void_at": until,
    }))
}

fn lock(
    shared: &State,
    payer: &PublicKey,
    payee: &PublicKey,
    scopes: &[[u8; 32]],
) -> Result<Value, Failure> {
    let (_, state) = newest(shared)?;
    let lock = state.coin_lock(payer, payee);
    let bound = state.key(payer);
    // The next block can have a claim first.
    let day = (state.height() + 1) / state.parameters().heights_per_day;
    let day_left = bound.map_or(0, |key| {
        let paid = if key.day == day { key.paid } else { 0 };
        key.max_per_day.saturating_sub(paid)
    });
    let is_open = |key: &PublicKey| state.key(key).is_some_and(|it| it.state == KeyState::Open);
    let claims = scopes.iter().filter_map(|scope| {
        let claim = state.claimed(payer, payee, scope)?;
        let ClaimedReceipt { epoch, amount, paid, .. } = claim;
        let scope = HEXLOWER.encode(scope);
        Some(json!({ "scope": scope, "epoch": epoch, "amount": amount, "paid": paid }))
    });
    Ok(json!({
        "payer": payer,
        "payee": payee,
        "amount": lock.map_or(0, |lock| lock.amount),
        "returns_at": lock.and_then(|lock| lock.returns_at),
        "max_per_day": bound.map_or(0, |key| key.max_per_day),
        "day_left": day_left,
        "is_open": is_open(payer) && is_open(payee),
        "claims": claims.collect::<Value>(),
        "genesis": state.genesis_hash().to_string(),
        "height": state.height(),
    }))
}

fn consent(shared: &State, owner: &PublicKey, epoch: u64) -> Result<Value, Failure> {
    let (_, state) = newest(shared)?;
    let consent = shared.consent(state.genesis_hash(), owner, epoch).ok_or_else(|| {
        let help = "`identity show` tells whether the node has a key";
        Failure::new(FailureCode::Failed, "this node has no certified key yet", help)
    })?;
    Ok(json!({
        "owner": owner,
        "key": shared.key(),
        "epoch": epoch,
        "consent": BASE64.encode(&consent.0),
    }))
}

fn blocks(shared: &State, from: u64) -> Result<Value, Failure> {
    let (inbox, _) = newest(shared)?;
    let range = inbox.blocks(from).ok_or_else(|| {
        let help = "try again in a while";
        Failure::new(FailureCode::Failed, "too many ask for blocks", help)
    })?;
    let row = |(height, (block, votes)): (u64, StoredBlock)| json!({ "height": height, "block": BASE64.encode(&block), "votes": BASE64.encode(&votes) });
    let rows: Vec<_> = range.blocks.into_iter().map(row).collect();
    Ok(json!({ "newest": range.newest, "blocks": rows }))
}

fn print_snapshot(shared: &State, call: &mut Call<'_>) -> Result<Value, Failure> {
    let (inbox, state) = newest(shared)?;
    let range = inbox.blocks(state.height());
    let stored = range.and_then(|range| range.blocks.into_iter().next());
    let stored = stored.filter(|(height, _)| *height == state.height()).ok_or_else(|| {
        let help = "try again in a while; a ledger without blocks needs no snapshot";
        Failure::new(FailureCode::Failed, "there is no newest block to give", help)
    })?;
    for item in snapshot::to_items(&state, &stored.1) {
        if call.peer.item(call.id, item).is_err() {
            break;
        }
    }
    Ok(Value::Null)
}

fn restore(shared: &State, call: &mut Call<'_>, text: &str) -> Result<Value, Failure> {
    let (_, own) = newest(shared)?;
    let genesis = shared.settings().map(|settings| settings.genesis);
    let genesis = genesis.ok_or_else(|| {
        Failure::new(FailureCode::NotFound, "this node has no ledger", "see docs/ledger.md")
    })?;
    let hash = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    let hash = hash.ok_or_else(|| {
        let message = format!("`{text}` is not a hash");
        let help = "a hash has 64 hexadecimal digits";
        Failure::new(FailureCode::BadArgument, message, help)
    })?;
    let bytes = call.peer.read_file(call.id, snapshot::MAX_SNAPSHOT)?;
    let snapshot = LedgerSnapshot::parse(&bytes, &genesis, hash)
        .map_err(|error| Failure::new(FailureCode::BadArgument, error.to_string(), error.help()))?;
    drop(bytes);
    let height = snapshot.state.height();
    if height <= own.height() {
        let message = format!("this node has block {} already", own.height());
        let help = "only a node that lacks blocks needs a snapshot";
        return Err(Failure::new(FailureCode::BadArgument, message, help));
    }
    let path = shared.folder_of(&genesis).join(SNAPSHOT);
    write_snapshot(&path, &genesis, &snapshot)
        .map_err(|error| Failure::new(FailureCode::Failed, error.to_string(), error.help()))?;
    shared.begin_anew();
    Ok(json!({ "height": height, "block": snapshot.state.tip().to_string() }))
}

fn submit(shared: &State, text: &str) -> Result<Value, Failure> {
    let (inbox, state) = newest(shared)?;
    let bytes = BASE64.decode(text.trim().as_bytes()).ok();
    let signed =
        bytes.and_then(|bytes| SignedTransaction::from_bytes(&bytes)).ok_or_else(|| {
            let help = "hand over what `octetctl wallet` prints, all of it";
            Failure::new(FailureCode::BadArgument, "this is not a transaction", help)
        })?;
    // The consensus checks it again; here its sender learns why it is refused.
    PendingTransactions::default()
        .admit(signed, &state)
        .map_err(|error| Failure::new(FailureCode::BadArgument, error.to_string(), error.help()))?;
    if !inbox.submit(signed) {
        let help = "try again in a while";
        return Err(Failure::new(FailureCode::Failed, "too many transactions wait", help));
    }
    Ok(json!({ "transaction": HEXLOWER.encode(&signed.hash().0) }))
}
