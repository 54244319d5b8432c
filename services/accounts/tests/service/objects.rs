//! Objects beside carriage.

use octet_appliance::AccountsSection;
use octet_as_pid_1::wait_until;
use octet_receipts::ServiceKind::{self, Carriage, Objects};
use serde_json::{Value, json};

use crate::pair::{Accounts, Answers, OBJECT_PRICE, WINDOW, accounts_section, pair, pair_on};

fn pair_with_objects() -> (Accounts, Accounts) {
    let (payer, payee) = pair_on(accounts_section(1 << 30), Some(OBJECT_PRICE), None, |_| {});
    wait_until("it pays both", || {
        ServiceKind::ALL.iter().all(|kind| payee.shown_of(*kind, "serving") == "serving")
    });
    (payer, payee)
}

#[test]
fn objects_have_an_account_of_their_own() {
    let (payer, payee) = pair_with_objects();
    payer.buy_of(Carriage, &payee, WINDOW);
    payer.buy_of(Objects, &payee, WINDOW / 2 + 3);
    wait_until("all is signed", || {
        payee.shown_of(Carriage, "signed_by_them") == WINDOW
            && payee.shown_of(Objects, "signed_by_them") == WINDOW / 2 + 3
    });
    assert_eq!(payee.shown_of(Carriage, "owed_to_us"), WINDOW);
    assert_eq!(payee.shown_of(Objects, "owed_to_us"), WINDOW + 6);
    let limit = Some(WINDOW / 2 + 3 + WINDOW + (WINDOW / 2 + 3) / 100);
    wait_until("the limit follows", || payee.limit_of(Objects) == limit);
    let receipts = payee.call("receipts", json!({})).unwrap();
    let kinds = |rows: &Value| {
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| (row["kind"].clone(), row["bytes"].clone())).collect::<Vec<_>>()
    };
    let all = [(json!("carriage"), json!(WINDOW)), (json!("objects"), json!(WINDOW / 2 + 3))];
    assert_eq!(kinds(&receipts), all);

    // 6 millionths of the debt for objects.
    let settle = |kind: &str| {
        payee.call("settle", json!({ "neighbour": "other", "amount": "0.000006", "kind": kind }))
    };
    settle("objects").unwrap();
    wait_until("the payer has heard of it", || payer.shown_of(Objects, "owed_by_us") == WINDOW);
    assert_eq!(payer.shown_of(Carriage, "owed_by_us"), WINDOW);
    let refused = settle("messages").unwrap_err();
    assert!(refused.contains("no kind of service"), "{refused}");
}

/// Objects that have no price have a row when there is something to be seen.
#[test]
fn objects_without_a_price_are_shown() {
    let (payer, payee) = pair(accounts_section(1 << 30), |_| {});
    wait_until("it pays", || payee.shown("serving") == "serving");
    let asked = || payee.link.lock().unwrap().objects.asked;
    let before = asked();
    wait_until("rounds are done", || asked() > before + 2);
    assert_eq!(payee.shown_of(Objects, "served"), Value::Null);
    payer.buy_of(Objects, &payee, 5 * WINDOW);
    wait_until("it is shown", || {
        payee.shown_of(Objects, "served") == 5 * WINDOW
            && payer.shown_of(Objects, "bought") == 5 * WINDOW
    });
    assert_eq!((payee.shown_of(Objects, "serving"), payee.limit_of(Objects)), (json!("off"), None));
}

/// `cache` measures no link.
#[test]
fn the_window_of_objects_is_that_of_the_link() {
    let section = accounts_section(1 << 30).map(|it| AccountsSection { max_window: 1 << 29, ..it });
    let (payer, payee) = pair_on(section, Some(OBJECT_PRICE), None, |_| {});
    wait_until("it pays", || payee.shown_of(Objects, "serving") == "serving");
    wait_until("nothing was measured", || payee.limit_of(Objects) == Some(WINDOW));
    // 4 s of 8 Mbit/s.
    payee.link.lock().unwrap().kilobits = 8000;
    wait_until("it grows", || payee.limit_of(Objects) == Some(4 * WINDOW));
    wait_until("so does that of carriage", || payee.limit() == Some(4 * WINDOW));
    payer.buy_of(Objects, &payee, WINDOW);
    wait_until("it is signed", || payee.shown_of(Objects, "signed_by_them") == WINDOW);
}

/// Neither a dead unit nor one that hangs stops what the other serves.
#[test]
fn a_unit_that_does_not_answer_stops_its_own_kind_only() {
    for answers in [Answers::Never, Answers::Hangs] {
        for (dead, other) in [(Objects, Carriage), (Carriage, Objects)] {
            let (payer, payee) = pair_with_objects();
            // Without `forward` of the payee, the payer's receipts would not come.
            let (of, bytes) =
                if dead == Objects { (&payee, 5 * WINDOW) } else { (&payee, WINDOW / 2) };
            of.answers(dead, answers);
            let asked = || of.link.lock().unwrap().of(other).asked;
            let before = asked();
            wait_until("the other is asked", || asked() > before + 3);
            payer.buy_of(other, &payee, bytes);
            wait_until("the other is counted", || payee.shown_of(other, "served") == bytes);
            if dead == Objects {
                wait_until("it is signed", || payee.shown_of(other, "signed_by_them") == bytes);
                let limit = Some(bytes + WINDOW + bytes / 100);
                wait_until("it is served", || payee.limit_of(other) == limit);
            }
            payer.buy_of(dead, &payee, WINDOW / 2);
            assert_eq!(payee.shown_of(dead, "served"), 0);
            if answers == Answers::Never {
                of.answers(dead, Answers::Always);
                wait_until("it goes on", || payee.shown_of(dead, "signed_by_them") == WINDOW / 2);
                wait_until("so does the other", || {
                    payee.shown_of(other, "signed_by_them") == bytes
                });
            }
        }
    }
}
