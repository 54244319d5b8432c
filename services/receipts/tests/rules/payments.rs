//! Receipts, their confirmation, changes of the terms, settlements.

use octet_receipts::{AccountError, Agreement, PayeeState, PayerState, SignedReceipt};

use crate::pair::{A_BYTE, CHARGES, PAYS, Pair, W, carriage};

#[test]
fn what_was_carried_is_paid() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    assert_eq!(
        (pair.p.row().paying, pair.e.row().serving),
        (PayerState::Paying, PayeeState::Serving)
    );
    for _ in 0..10 {
        assert_eq!(pair.serve(W / 3), W / 3);
        pair.run(1);
    }
    let all = 10 * (W / 3);
    let (p, e) = (pair.p.row(), pair.e.row());
    assert_eq!((p.bought, p.signed, p.owe), (all, all, all));
    assert_eq!((e.served, e.received, e.owed, e.unsigned), (all, all, all, 0));
    assert_eq!((p.own_count, p.their_count), (all, all));
    assert_eq!((p.net(), e.net()), (-i128::from(all), i128::from(all)));
    let [receipt] = &e.taken_receipts[..] else { panic!("{e:?}") };
    assert_eq!(Some(receipt), p.given_receipt.as_ref());
    assert_eq!(SignedReceipt::from_bytes(receipt).unwrap().verify(&[0; 32]), Ok(()));
}

#[test]
fn little_is_signed_when_time_has_passed() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.run(6);
    pair.serve(W / 4 - 1);
    // The last receipt is more than 5 s old.
    pair.run(1);
    assert_eq!(pair.e.row().received, W / 4 - 1);
    pair.serve(9);
    pair.run(4);
    assert_eq!(pair.e.row().unsigned, 9);
    pair.run(1);
    assert_eq!(pair.e.row().unsigned, 0);
    // A quarter of the window is signed at once.
    pair.serve(W / 4);
    pair.run(1);
    assert_eq!(pair.e.row().unsigned, 0);
}

#[test]
fn a_lost_receipt_is_sent_again() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W / 2);
    let lost = pair.sent_by_p();
    assert_eq!(lost.len(), 1);
    pair.run(4);
    assert_eq!(pair.e.row().received, 0);
    pair.run(1);
    assert_eq!(pair.e.row().received, W / 2);
    // A confirmed one is not.
    pair.now += std::time::Duration::from_secs(6);
    assert_eq!(pair.sent_by_p(), Vec::<Vec<u8>>::new());
}

/// The first receipt is for no bytes: without it the payee does not know that it is paid.
#[test]
fn the_first_receipt_is_sent_until_it_has_come() {
    for times in [1, 2] {
        let mut pair = Pair::new(PAYS, CHARGES);
        let hello = pair.sent_by_p();
        pair.e_handles(&hello);
        let offer = pair.sent_by_e();
        for _ in 0..times {
            pair.p_handles(&offer);
        }
        let lost = pair.sent_by_p();
        assert_eq!(lost.len(), 1, "the offer has come {times} times");
        pair.p_handles(&offer);
        assert_eq!(pair.e.row().serving, PayeeState::Free);
        pair.run(6);
        assert_eq!(pair.e.row().serving, PayeeState::Serving);
        // A confirmed one is not sent again.
        pair.now += std::time::Duration::from_secs(6);
        assert_eq!(pair.sent_by_p(), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn nothing_is_sent_before_it_is_stored() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W / 2);
    pair.p.book.tick(pair.now);
    assert!(pair.p.book.is_dirty());
    assert!(pair.p.book.take_messages().is_empty());
    pair.p.disk = pair.p.book.to_bytes();
    assert!(pair.p.book.take_messages().is_empty());
    pair.p.book.persisted();
    let messages = pair.p.book.take_messages();
    assert_eq!(messages.len(), 1);
    // Neither is it confirmed, nor served for.
    let before = pair.remaining();
    for (_, message) in messages {
        pair.e.book.handle(&pair.p.node, &message, pair.now).unwrap();
    }
    assert!(pair.e.book.is_dirty());
    assert!(pair.e.book.take_messages().is_empty());
    assert_eq!(pair.remaining(), before);
    pair.e.write();
    assert_eq!(pair.e.book.take_messages().len(), 1);
    assert_eq!(pair.remaining(), Some(W));
}

#[test]
fn what_comes_during_a_write_is_in_the_next() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W / 2);
    let messages = pair.sent_by_p();
    let limit = pair.remaining();
    pair.e.disk = pair.e.book.to_bytes();
    for message in &messages {
        pair.e.book.handle(&pair.p.node, message, pair.now).unwrap();
    }
    pair.e.book.persisted();
    assert_eq!((pair.remaining(), pair.e.book.is_dirty()), (limit, true));
    pair.e.write();
    assert_eq!(pair.remaining(), Some(W));
}

#[test]
fn a_new_price_closes_the_epoch_first() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(1000);
    let half = Agreement { price: Some(A_BYTE / 2), ..CHARGES };
    pair.e.book.agree(carriage(pair.p.node), half).unwrap();
    pair.run(2);
    pair.serve(1000);
    pair.run(6);
    let (p, e) = (pair.p.row(), pair.e.row());
    assert_eq!((p.owe, e.owed, e.received, p.signed), (1500, 1500, 2000, 2000));
    assert_eq!((p.paid_price, e.taken_receipts.len()), (Some(A_BYTE / 2), 2));
}

#[test]
fn the_last_receipt_of_an_epoch_is_sent_until_it_has_come() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(1000);
    let half = Agreement { price: Some(A_BYTE / 2), ..CHARGES };
    pair.e.book.agree(carriage(pair.p.node), half).unwrap();
    let offer = pair.sent_by_e();
    pair.p_handles(&offer);
    assert_eq!(pair.p.row().paying, PayerState::Closing);
    let lost = pair.sent_by_p();
    assert_eq!(lost.len(), 1);
    // Nothing of the new epoch is signed before.
    assert_eq!(pair.serve(W / 2), W / 2);
    assert_eq!(pair.sent_by_p(), Vec::<Vec<u8>>::new());
    pair.run(6);
    let (p, e) = (pair.p.row(), pair.e.row());
    assert_eq!((p.paying, p.signed, e.received), (PayerState::Paying, 1000 + W / 2, 1000 + W / 2));
    assert_eq!((p.owe, e.owed), (1000 + W / 4, 1000 + W / 4));
}

#[test]
fn a_price_that_is_too_high_is_not_paid() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.run(1);
    let more = Agreement { price: Some(A_BYTE + 1), ..CHARGES };
    pair.e.book.agree(carriage(pair.p.node), more).unwrap();
    pair.run(2);
    assert_eq!(pair.p.row().paying, PayerState::PriceTooHigh);
    // Under new terms nobody is served more than a window before signing for them.
    let mut served = 0;
    for _ in 0..20 {
        served += pair.serve(W / 2);
        pair.run(6);
    }
    assert_eq!((served, pair.e.row().serving), (W, PayeeState::Stopped));
    let pays = Agreement { max_price: Some(A_BYTE + 1), ..PAYS };
    pair.p.book.agree(carriage(pair.e.node), pays).unwrap();
    pair.run(12);
    assert_eq!((pair.p.row().paying, pair.remaining()), (PayerState::Paying, Some(W)));
    assert_eq!(pair.p.row().owe, pair.e.row().owed);
}

#[test]
fn who_is_not_charged_is_not_limited() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W / 2);
    pair.run(6);
    let free = Agreement { price: None, ..CHARGES };
    pair.e.book.agree(carriage(pair.p.node), free).unwrap();
    pair.run(2);
    assert_eq!((pair.remaining(), pair.p.row().paid_price), (None, Some(0)));
    pair.serve(9 * W);
    pair.run(6);
    assert_eq!((pair.p.row().owe, pair.e.row().owed), (W / 2, W / 2));
    pair.e.book.agree(carriage(pair.p.node), CHARGES).unwrap();
    pair.run(2);
    assert_eq!(pair.remaining(), Some(W));
    // What a payer did not hear of is not held against it either.
    pair.e.book.agree(carriage(pair.p.node), free).unwrap();
    pair.e.counters.served += 7 * W;
    pair.observe();
    pair.e.book.agree(carriage(pair.p.node), CHARGES).unwrap();
    pair.e.write();
    assert_eq!(pair.remaining(), Some(W));
}

#[test]
fn a_settlement_pays_what_is_owed() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(1000);
    pair.run(6);
    let p = pair.p.node;
    let refused = AccountError::MoreThanOwed { owed: 1000, amount: 1001 };
    assert_eq!(pair.e.book.settle(&carriage(p), 1001), Err(refused));
    assert_eq!(pair.e.book.settle(&carriage(pair.e.node), 1), Err(AccountError::NoAccount));
    assert_eq!(pair.e.book.settle(&carriage(p), 400), Ok(()));
    assert_eq!(pair.e.row().owed, 600);
    // Not before it is stored.
    assert!(pair.e.book.take_messages().is_empty());
    pair.run(1);
    assert_eq!(pair.p.row().owe, 600);
    assert_eq!(pair.e.book.settle(&carriage(p), 600), Ok(()));
    pair.run(1);
    pair.run(11);
    assert_eq!((pair.p.row().owe, pair.e.row().owed), (0, 0));
    assert!(pair.e.book.settle(&carriage(p), 1).is_err());
}
