//! What is carried is paid on a ledger: from the counters of `forward` to the coins of the payee's owner.

use data_encoding::BASE64;
use octet_accounts::LedgerOfReceipts;
use octet_as_pid_1::wait_until;
use octet_coins::{Action, LedgerParameters, Possession};
use octet_node::control::PublicKey;
use octet_receipts::ServiceKind::{self, Carriage, Objects};
use serde_json::{Value, json};

use crate::ledger_node::{Ledger, owner};
use crate::pair::{Accounts, OBJECT_PRICE, WINDOW, accounts_section, pair_on};

/// The owners of the payer and of the payee.
const PAYER: u8 = 0;
const PAYEE: u8 = 1;

/// At least as many rounds as `accounts` does until it asks the ledger again.
const LEDGER_ROUNDS: u64 = 5;

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

fn served(payee: &Accounts, kind: ServiceKind) -> u64 {
    payee.link.lock().unwrap().of(kind).served
}

/// What was served of both kinds costs, in millionths of a coin.
fn cost(payee: &Accounts) -> u64 {
    served(payee, Carriage) + 2 * served(payee, Objects)
}

#[test]
fn both_kinds_are_paid_in_coins_within_one_lock() {
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
        pair_on(accounts_section(1 << 30), Some(OBJECT_PRICE), Some(&of_receipts), |sockets| {
            ledger.start(sockets);
        });

    // Without a lock nothing is served to a payer that has agreed, whatever `max_debt` is.
    for kind in ServiceKind::ALL {
        wait_until("it has agreed", || payee.shown_of(kind, "serving") == "nothing locked");
        wait_until("nothing is served", || payee.limit_of(kind) == Some(0));
        assert_eq!(payer.shown_of(kind, "paying"), "paying");
    }
    let [payer_key, payee_key] =
        [(&payer, PAYER), (&payee, PAYEE)].map(|(of, seed)| bind(&ledger, of, seed));
    let lock_coins =
        |amount| ledger.order(PAYER, Action::Lock { payer: payer_key, payee: payee_key, amount });
    lock_coins(3 * WINDOW);
    wait_until("both know", || {
        lock(&payee, "locked_for_us") == 3 * WINDOW && lock(&payer, "locked_for_them") == 3 * WINDOW
    });
    assert_eq!(ledger.balance(PAYEE), 0, "the fee of its key");

    // A byte of carriage costs a millionth of a coin, and one of objects two.
    wait_until("all of the lock is served", || {
        for kind in ServiceKind::ALL {
            payer.buy_within(kind, &payee, WINDOW / 8);
            assert!(cost(&payee) <= 3 * WINDOW, "{} of {}", cost(&payee), 3 * WINDOW);
        }
        cost(&payee) == 3 * WINDOW
    });
    let [carriage, objects] = ServiceKind::ALL.map(|kind| served(&payee, kind));
    assert!(carriage > WINDOW / 2 && objects > WINDOW / 2, "{carriage} {objects}");
    // Both are claimed by themselves. What is worth no fee can wait.
    let paid = || lock(&payee, "paid_to_us").as_u64().unwrap();
    wait_until("both are paid", || {
        ServiceKind::ALL.iter().all(|kind| {
            let owed = payee.shown_of(*kind, "owed_to_us").as_u64().unwrap();
            payee.shown_of(*kind, "signed_by_them") == served(&payee, *kind) && owed < 20 * fee
        })
    });
    assert!((3 * WINDOW - 40 * fee..=3 * WINDOW).contains(&paid()), "{}", paid());
    let earned = payee.call("earnings", json!({})).unwrap();
    let sums = ["last_hour", "last_day", "total"].map(|key| earned[key].as_u64().unwrap());
    assert!(sums.iter().all(|sum| (3 * WINDOW - 40 * fee..=3 * WINDOW).contains(sum)), "{sums:?}");
    let receipts = payee.call("receipts", json!({})).unwrap();
    let amount = |kind: &str| {
        let rows = receipts.as_array().unwrap().iter();
        rows.filter(|row| row["kind"] == kind)
            .map(|row| row["amount"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!((amount("carriage"), amount("objects")), (carriage, 2 * objects));
    for kind in ServiceKind::ALL {
        assert_eq!(payer.buy_within(kind, &payee, WINDOW), 0, "nothing is left");
    }

    // The payer's box is stolen and goes on signing; its owner closes its key.
    lock_coins(WINDOW);
    for kind in ServiceKind::ALL {
        let mut more = WINDOW / 4;
        wait_until("it is served again", || {
            more -= payer.buy_within(kind, &payee, more);
            more == 0
        });
        wait_until("it is signed", || {
            payee.shown_of(kind, "signed_by_them") == served(&payee, kind)
        });
    }
    ledger.order(PAYER, Action::RevokeKey { key: payer_key });
    for kind in ServiceKind::ALL {
        wait_until("nothing more is served", || payee.limit_of(kind) == Some(served(&payee, kind)));
    }
    let all = 3 * WINDOW + 3 * WINDOW / 4;
    assert_eq!(cost(&payee), all);
    wait_until("what was signed is claimed", || paid() >= all - 2 * fee);
    // The payer's unit signs nothing more once it knows, and it may know later than the payee's.
    payer.wait_for_rounds(2 * LEDGER_ROUNDS);
    // After `claim_heights` the key is void, and what is left of the lock is its owner's again.
    payer.buy_of(Carriage, &payee, WINDOW / 4);
    payer.buy_of(Objects, &payee, WINDOW / 4);
    wait_until("the rest returns", || ledger.balance(PAYER) == COINS - paid() - 4 * fee);
    assert!((all - 2 * fee..=all).contains(&paid()), "{}", paid());
}
