//! Two units as a whole, each with doubles of `forward`, `cache` and `identity`: threads at their sockets. The doubles of
//! `forward` carry messages to each other. Units of `ledger` are real.

#![cfg(test)]

mod ledger;
mod ledger_node;
mod objects;
mod pair;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use data_encoding::BASE64;
use octet_as_pid_1::wait_until;
use octet_node::control::Verb;
use octet_node::durable::ExistingFile;
use octet_node::key;
use octet_receipts::AccountBook;
use serde_json::json;

use pair::{Accounts, PRICE, WINDOW, accounts_section, pair};

/// A price of one for each byte: what is signed is what is owed.
#[test]
fn what_was_carried_is_signed_and_settled() {
    let (payer, payee) = pair(accounts_section(1 << 30), |_| {});
    wait_until("it pays", || {
        payer.shown("paying") == "paying" && payee.shown("serving") == "serving"
    });
    payer.buy(&payee, 5 * WINDOW + 7);
    // The rest, which is less than is due at once, follows after a while.
    wait_until("all is signed", || payee.shown("signed_by_them") == 5 * WINDOW + 7);
    wait_until("both know", || payer.shown("they_counted") == 5 * WINDOW + 7);
    let owed = json!(5 * WINDOW + 7);
    assert_eq!((payee.shown("owed_to_us"), payee.shown("balance")), (owed.clone(), owed.clone()));
    assert_eq!((payer.shown("owed_by_us"), payer.shown("owed_to_us")), (owed.clone(), json!(0)));
    let most = 6 * WINDOW + 7 + (5 * WINDOW + 7) / 100;
    wait_until("the limit follows", || payee.limit() == Some(most));
    assert_eq!(payer.limit(), None, "nothing is asked for");

    // Both have the same receipt, which anybody can check.
    let receipts = |of: &Accounts| of.call("receipts", json!({})).unwrap();
    let row = receipts(&payee)[0].clone();
    assert_eq!(
        (&row["signed_by"], &row["amount"], &row["price"]),
        (&json!("them"), &owed, &json!(PRICE))
    );
    assert_eq!(receipts(&payer)[0]["receipt"], row["receipt"]);
    let bytes = BASE64.decode(row["receipt"].as_str().unwrap().as_bytes()).unwrap();
    octet_receipts::SignedReceipt::from_bytes(&bytes).unwrap().verify(&[0; 32]).unwrap();

    let settle =
        |amount: &str| payee.call("settle", json!({ "neighbour": "other", "amount": amount }));
    // 5 WINDOW + 8, and a text that is no amount.
    for (amount, part) in [("5.242888", "owes"), ("5,2", "is not an amount")] {
        let refused = settle(amount).unwrap_err();
        assert!(refused.contains(part), "{refused}");
    }
    // 5 WINDOW
    settle("5.24288").unwrap();
    wait_until("the payer has heard of it", || payer.shown("owed_by_us") == 7);
    assert_eq!(payee.shown("owed_to_us"), 7);

    // What is written off is not asked for any more.
    payee.link.lock().unwrap().carriage.served += 100;
    wait_until("it is counted", || payee.shown("unsigned") == 100);
    let answer = payee.call("write-off", json!({ "neighbour": "other" })).unwrap();
    assert_eq!((answer, payee.shown("unsigned")), (json!({ "forgiven": 100 }), json!(0)));
    let refused = payee.call("write-off", json!({ "neighbour": "nobody" })).unwrap_err();
    assert!(refused.contains("[[neighbour]]"), "{refused}");
}

/// A payer whose disk fails signs nothing, and the payee does not wait for more than the window.
#[test]
fn what_cannot_be_written_is_not_sent() {
    let block = |folder: &Path| fs::create_dir_all(folder.join("book.new/full")).unwrap();
    let (payer, payee) = pair(accounts_section(1 << 30), block);
    payer.buy(&payee, WINDOW / 2);
    wait_until("it has a limit", || payee.limit().is_some());
    let asked = || payer.link.lock().unwrap().carriage.asked;
    let before = asked();
    wait_until("more rounds are done", || asked() > before + 20);
    assert_eq!(payer.call("receipts", json!({})).unwrap(), json!([]));
    assert_eq!(payee.shown("serving"), "free allowance");
    fs::remove_dir_all(payer.folder.path().join("book.new")).unwrap();
    wait_until("it pays", || payee.shown("serving") == "serving");
}

/// With a key that neighbours know they would take it for the lost book.
#[test]
fn a_damaged_book_is_set_aside_with_its_key() {
    for (book, is_kept) in [(&b"damaged"[..], false), (&AccountBook::default().to_bytes(), true)] {
        let before = Cell::new(vec![]);
        let (payer, payee) = pair(accounts_section(1 << 30), |folder| {
            fs::write(folder.join("book"), book).unwrap();
            key::create(&folder.join("key"), ExistingFile::Keep, |_| Ok(())).unwrap();
            before.set(fs::read(folder.join("key")).unwrap());
        });
        wait_until("it pays", || payee.shown("serving") == "serving");
        let folder = payer.folder.path();
        assert_eq!(fs::read(folder.join("key")).unwrap() == before.take(), is_kept);
        assert_eq!(fs::read(folder.join("book.damaged")).is_err(), is_kept);
    }
}

/// Without `[accounts]` limits of before are taken back, and nobody is asked again.
#[test]
fn nothing_is_on_by_itself() {
    let (payer, payee) = pair(None, |_| {});
    let has_none = || payee.limit().is_none() && payee.link.lock().unwrap().carriage.asked > 0;
    wait_until("a round is done", has_none);
    payer.buy(&payee, 10 * WINDOW);
    assert_eq!(payee.call("show", json!({})).unwrap(), json!([]));
    assert!(payer.link.lock().unwrap().waiting.is_empty());
    assert!(!payee.folder.path().join("book").exists());
}

/// Who may only read can change no account.
#[test]
fn an_account_is_changed_by_its_owner_only() {
    let (_, payee) = pair(None, |_| {});
    let verbs: Vec<Verb> = payee.connect().describe().unwrap();
    let needs: BTreeMap<_, _> =
        verbs.iter().map(|verb| (&*verb.name, format!("{:?}", verb.capability))).collect();
    let all = [
        ("config-apply", "Configure"),
        ("config-check", "Configure"),
        ("consent", "Own"),
        ("describe", "Read"),
        ("earnings", "Read"),
        ("locks", "Read"),
        ("receipts", "Read"),
        ("settle", "Own"),
        ("show", "Read"),
        ("write-off", "Own"),
    ];
    assert_eq!(needs, all.map(|(verb, need)| (verb, need.to_owned())).into());
}
