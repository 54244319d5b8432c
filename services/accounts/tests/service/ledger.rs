//! What is carried is paid on a ledger: from the counters of `forward` to the coins of the payee's owner.

use data_encoding::BASE64;
use octet_accounts::LedgerOfReceipts;
use octet_coins::{Action, LedgerParameters, Possession};
use octet_node::as_pid_1::wait_until;
use octet_node::control::PublicKey;
use serde_json::{Value, json};

use crate::ledger_node::{Ledger, owner};
use crate::pair::{Accounts, WINDOW, accounts_section, pair_on};

/// The owners of the payer and of the payee.
const PAYER: u8 = 0;
const PAYEE: u8 = 1;

const COINS: u64 = 100_000_000;

fn lock(of: &Accounts, key: &str) -> Value {
    of.call("locks", json!({})).unwrap()[0][key].clone()
}

/// The owner binds the key of its box.
fn bind(ledger: &Ledger, of: &Accounts, seed: u8) -> PublicKey {
    wait_until("it has a key", || lock(of, "own_key") != Value::Null);
    let consent = of.call("consent", json!({ "owner": owner(seed).public() })).unwrap();
    assert_eq!(consent["genesis"], ledger.genesis.hash().to_string());
    let key_of = |name: &str| consent[name].as_str().unwrap().parse().unwrap();
    let bytes = BASE64.decode(consent["consent"].as_str().unwrap().as_bytes()).unwrap();
    ledger.order(
        seed,
        Action::BindKey {
            node: key_of("node"),
            key: key_of("key"),
            epoch: consent["epoch"].as_u64().unwrap(),
            max_per_day: COINS,
            consent: Possession(bytes.try_into().unwrap()),
        },
    );
    key_of("key")
}

#[test]
fn what_was_carried_is_paid_in_coins() {
    let parameters = LedgerParameters {
        heights_per_day: 1_000_000,
        claim_heights: 6,
        settlement_heights: 1,
        ..LedgerParameters::with_spacing(std::time::Duration::from_secs(1))
    };
    let fee = parameters.fee;
    let balances = [(PAYER, COINS), (PAYEE, fee)].map(|(seed, it)| (owner(seed).public(), it));
    let ledger = Ledger::new(balances.into(), parameters);
    let of_receipts = LedgerOfReceipts::new(ledger.genesis.clone());
    let (payer, payee) =
        pair_on(accounts_section(1 << 30), Some(&of_receipts), |sockets| ledger.start(sockets));

    // Without a lock nothing is served to a payer that has agreed, whatever `max_debt` is.
    wait_until("it has agreed", || payee.shown("serving") == "nothing locked");
    assert_eq!((payer.shown("paying"), payee.limit()), (json!("paying"), Some(0)));
    let [payer_key, payee_key] =
        [(&payer, PAYER), (&payee, PAYEE)].map(|(of, seed)| bind(&ledger, of, seed));
    let lock_for_payee = Action::Lock { payer: payer_key, payee: payee_key, amount: 3 * WINDOW };
    ledger.order(PAYER, lock_for_payee);
    wait_until("both know", || {
        lock(&payee, "locked_for_us") == 3 * WINDOW && lock(&payer, "locked_for_them") == 3 * WINDOW
    });
    wait_until("it serves", || payee.limit() == Some(WINDOW));
    assert_eq!(ledger.balance(PAYEE), 0, "the fee of its key");

    // A byte costs a millionth of a coin. It is claimed by itself.
    payer.buy(&payee, WINDOW);
    payer.buy(&payee, WINDOW);
    wait_until("it is paid", || ledger.balance(PAYEE) >= 2 * WINDOW - 2 * fee);
    wait_until("both know", || {
        lock(&payee, "paid_to_us") == 2 * WINDOW && lock(&payer, "owed_by_us") == 0
    });
    assert_eq!(lock(&payee, "owed_to_us"), 0);
    let earned = payee.call("earnings", json!({})).unwrap();
    let sums = ["last_hour", "last_day", "total"].map(|key| earned[key].clone());
    assert_eq!(sums, [(); 3].map(|()| json!(2 * WINDOW)));
    // No more than is locked, though the window would have it.
    wait_until("the rest", || payee.limit() == Some(3 * WINDOW));
    let receipts = payee.call("receipts", json!({})).unwrap();
    assert_eq!(
        (&receipts[0]["signed_by"], &receipts[0]["amount"]),
        (&json!("them"), &json!(2 * WINDOW))
    );

    // The payer's box is stolen and goes on signing; its owner closes its key.
    payer.buy(&payee, WINDOW / 2);
    wait_until("it is signed", || payee.shown("signed_by_them") == 2 * WINDOW + WINDOW / 2);
    ledger.order(PAYER, Action::RevokeKey { key: payer_key });
    wait_until("nothing more is served", || payee.limit() == Some(2 * WINDOW + WINDOW / 2));
    wait_until("what was signed is claimed", || {
        lock(&payee, "paid_to_us") == 2 * WINDOW + WINDOW / 2
    });
    let before = ledger.balance(PAYEE);
    payer.buy(&payee, WINDOW / 4);
    // After `claim_heights` the key is void, and what is left of the lock is its owner's again.
    wait_until("the rest returns", || {
        ledger.balance(PAYER) == COINS - 2 * WINDOW - WINDOW / 2 - 3 * fee
    });
    assert_eq!(lock(&payee, "paid_to_us"), 2 * WINDOW + WINDOW / 2);
    assert_eq!(ledger.balance(PAYEE), before);
}
