//! Lost books and new keys.

use octet_receipts::{AccountBook, NeighbourCounters};

use crate::pair::{CHARGES, End, PAYS, Pair, W, carriage, certified};

fn begin_anew(end: &mut End, book: AccountBook) {
    end.book = book;
    end.disk = end.book.to_bytes();
    end.book.persisted();
}

/// A payee that has lost its book gets a new key, and the payer pays under it.
#[test]
fn a_payee_without_its_book_is_paid_again() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W / 2);
    pair.run(2);
    pair.e.book.settle(&carriage(pair.p.node), 1000).unwrap();
    pair.serve(5000);
    pair.run(1);
    let mut book = AccountBook::default();
    book.set_identity(certified(2, 22, 2));
    book.agree(carriage(pair.p.node), CHARGES).unwrap();
    begin_anew(&mut pair.e, book);
    pair.may_refuse = true;
    pair.run(60);
    assert_eq!(pair.remaining(), Some(W));
    // What was not signed under the old key is signed under the new one.
    assert_eq!(pair.p.row().signed, W / 2 + 5000);
    let owed = pair.e.row().owed;
    assert_eq!(pair.p.row().owe, W / 2 + 5000 - 1000);
    // The settlements of the new book count from 0.
    assert!(owed <= 5000, "{owed}");
    pair.serve(W / 2);
    pair.run(6);
    pair.e.book.settle(&carriage(pair.p.node), 2000).unwrap();
    pair.run(2);
    assert_eq!(pair.p.row().owe, W + 5000 - 3000);
}

/// A payer that has lost its book is stopped at most until it has signed with its new key.
#[test]
fn a_payer_without_its_book_is_served_again() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W / 2);
    pair.run(2);
    pair.e.book.settle(&carriage(pair.p.node), W / 2).unwrap();
    assert_eq!(pair.serve(W), W);
    assert_eq!(pair.serve(W), 0);
    let mut book = AccountBook::default();
    book.set_identity(certified(1, 21, 2));
    book.agree(carriage(pair.e.node), PAYS).unwrap();
    begin_anew(&mut pair.p, book);
    pair.observe();
    pair.run(3);
    assert_eq!(pair.remaining(), Some(W));
    pair.serve(300);
    pair.run(6);
    assert_eq!((pair.p.row().owe, pair.e.row().owed), (300, 300));

    // Once more within the hour, it gets nothing for nothing.
    assert_eq!(pair.serve(W), W);
    let mut book = AccountBook::default();
    book.set_identity(certified(1, 31, 3));
    book.agree(carriage(pair.e.node), PAYS).unwrap();
    begin_anew(&mut pair.p, book);
    pair.observe();
    pair.run(3);
    assert_eq!(pair.remaining(), Some(0));
}

#[test]
fn keys_change_without_loss() {
    for (of_payer, runs) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut pair = Pair::agreed(PAYS, CHARGES);
        pair.serve(W / 2);
        pair.run(1);
        pair.serve(700);
        let (end, other, new, agreement) = match of_payer {
            true => (&mut pair.p, pair.e.node, certified(1, 21, 2), PAYS),
            false => (&mut pair.e, pair.p.node, certified(2, 22, 2), CHARGES),
        };
        if !runs {
            // The old key is gone.
            end.book = AccountBook::from_bytes(&end.disk).unwrap();
        }
        end.book.set_identity(new);
        end.book.agree(carriage(other), agreement).unwrap();
        pair.run(60);
        let what = format!("of payer {of_payer}, runs {runs}");
        let (p, e) = (pair.p.row(), pair.e.row());
        assert_eq!((p.signed, e.received), (W / 2 + 700, W / 2 + 700), "{what}");
        assert_eq!((p.owe, e.owed), (W / 2 + 700, W / 2 + 700), "{what}");
        pair.serve(W);
        pair.run(6);
        assert_eq!(pair.p.row().owe, pair.e.row().owed, "{what}");
        assert_eq!(pair.p.row().signed, W / 2 + 700 + W, "{what}");
    }
}

/// What was counted before `forward` began again is stored before the unit can be killed.
#[test]
fn counters_that_begin_anew_are_stored_at_once() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.run(6);
    pair.serve(1000);
    assert!(!pair.p.book.is_dirty(), "a count alone is not written");
    for end in [&mut pair.p, &mut pair.e] {
        end.counters = NeighbourCounters { epoch: [2; 16], bought: 0, served: 0, limit: None };
    }
    pair.observe();
    for (end, node, key_seed) in [(&mut pair.p, 1, 11), (&mut pair.e, 2, 12)] {
        end.write();
        end.book = AccountBook::from_bytes(&end.disk).unwrap();
        end.book.set_identity(certified(node, key_seed, 1));
    }
    pair.p.book.agree(carriage(pair.e.node), PAYS).unwrap();
    pair.e.book.agree(carriage(pair.p.node), CHARGES).unwrap();
    pair.run(12);
    assert_eq!(
        (pair.p.row().signed, pair.e.row().received, pair.e.row().served),
        (1000, 1000, 1000)
    );
}
