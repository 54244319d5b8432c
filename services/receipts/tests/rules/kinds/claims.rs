//! The claims of both kinds.

use octet_receipts::{Agreement, ServiceKind, SignedReceipt};

use ServiceKind::{Carriage, Objects};

use super::{agreed_on, exposure, limit, serve};
use crate::ledger::{Ledger, RULES, TAKES_COINS, claims, settle};
use crate::pair::{A_BYTE, W, carriage};

/// Each kind is claimed by itself: neither marks the other as claimed, nor waits for it.
#[test]
fn each_kind_is_claimed_by_itself() {
    let mut ledger = Ledger::new(20 * W);
    let mut pair = agreed_on(&ledger);
    for kind in ServiceKind::ALL {
        limit(&mut pair, kind);
        assert_eq!(serve(&mut pair, kind, W / 2), W / 2);
    }
    pair.run(6);
    assert_eq!(claims(&mut pair), []);
    pair.now += RULES.interval;
    let due = claims(&mut pair);
    let amounts: Vec<_> = due.iter().map(|it| it.receipt().amount).collect();
    assert_eq!(amounts, [W / 2, W]);
    assert_eq!(claims(&mut pair), [], "both wait for a block");
    // No block has that of carriage. That of objects is paid, and claimed again after the interval.
    assert!(ledger.claim(due[1].receipt()));
    ledger.tell_both(&mut pair);
    assert_eq!((pair.e.row_of(Carriage).coins, pair.e.row_of(Objects).coins), (0, W));
    limit(&mut pair, Objects);
    assert_eq!(serve(&mut pair, Objects, W / 2), W / 2);
    pair.run(6);
    pair.now += RULES.interval;
    let due = claims(&mut pair);
    let amounts: Vec<_> = due.iter().map(|it| it.receipt().amount).collect();
    assert_eq!(amounts, [W / 2, 2 * W]);
    settle(&mut pair, &mut ledger);
    assert_eq!(ledger.paid, W / 2 + 2 * W);
}

/// An earlier epoch of one kind is claimed first, and the other kind does not wait for it.
#[test]
fn an_epoch_of_one_kind_does_not_hold_the_other() {
    let mut ledger = Ledger::new(20 * W);
    let mut pair = agreed_on(&ledger);
    limit(&mut pair, Carriage);
    serve(&mut pair, Carriage, W / 2);
    pair.run(6);
    let half = Agreement { price: Some(A_BYTE / 2), ..TAKES_COINS };
    pair.e.book.agree(carriage(pair.p.node), half).unwrap();
    pair.run(12);
    for kind in ServiceKind::ALL {
        limit(&mut pair, kind);
        assert_eq!(serve(&mut pair, kind, W / 2), W / 2);
    }
    pair.run(6);
    // The end of the epoch of carriage is claimed at once, and reaches no block.
    let amounts =
        |due: &[SignedReceipt]| due.iter().map(|it| it.receipt().amount).collect::<Vec<_>>();
    assert_eq!(amounts(&claims(&mut pair)), [W / 2]);
    pair.now += RULES.interval;
    let due = claims(&mut pair);
    assert_eq!(amounts(&due), [W / 2, W]);
    assert!(ledger.claim(due[1].receipt()));
    ledger.tell_both(&mut pair);
    assert_eq!(pair.e.row_of(Objects).owed, 0);
    settle(&mut pair, &mut ledger);
    assert_eq!(ledger.paid, W / 2 + W / 4 + W);
}

/// The day's limit of the payer's key is for both kinds: together they do not wait with a half of it.
#[test]
fn both_kinds_use_one_day() {
    let mut ledger = Ledger::new(20 * W);
    ledger.max_per_day = 2 * W;
    let mut pair = agreed_on(&ledger);
    limit(&mut pair, Carriage);
    assert_eq!(serve(&mut pair, Carriage, W - 2), W - 2);
    pair.run(6);
    assert_eq!(claims(&mut pair), [], "less than a half");
    limit(&mut pair, Objects);
    let fee = RULES.fee;
    assert_eq!(serve(&mut pair, Objects, 20 * fee), 20 * fee);
    pair.run(6);
    let due = claims(&mut pair);
    assert_eq!(due.len(), 2);
    due.iter().for_each(|it| assert!(ledger.claim(it.receipt())));
    ledger.tell_both(&mut pair);
    assert_eq!(exposure(&pair), 0);
}
