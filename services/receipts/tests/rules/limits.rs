//! How much is served, and how much is signed.

use std::time::Duration;

use octet_receipts::{AccountBook, Agreement, PayeeState, PayerState};

use crate::pair::{CHARGES, PAYS, Pair, W, carriage, certified};

#[test]
fn who_stops_signing_is_stopped_within_the_window() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W / 2);
    pair.run(1);
    assert_eq!(pair.remaining(), Some(W));
    let mut served = 0;
    for _ in 0..9 {
        served += pair.serve(W / 4);
    }
    assert_eq!((served, pair.remaining()), (W, Some(0)));
    assert_eq!(pair.e.row().serving, PayeeState::Stopped);
    assert_eq!(pair.e.book.write_off(&carriage(pair.p.node)), Ok(W));
    pair.e.write();
    assert_eq!(pair.remaining(), Some(W));
}

#[test]
fn a_share_of_what_is_signed_may_be_lost() {
    let mut pair = Pair::agreed(PAYS, Agreement { max_loss: 100, ..CHARGES });
    pair.serve(W);
    pair.run(1);
    assert_eq!(pair.remaining(), Some(W + W / 10));
    // A tenth does not reach the payer.
    pair.e.counters.served += W / 10;
    pair.observe();
    pair.run(6);
    assert_eq!((pair.remaining(), pair.e.row().unsigned), (Some(W), W / 10));
}

#[test]
fn a_window_an_hour_is_free_until_the_first_receipt() {
    let mut pair = Pair::new(Agreement { max_price: None, ..PAYS }, CHARGES);
    assert_eq!(pair.remaining(), Some(0), "the clock has not begun");
    pair.run(1);
    assert_eq!((pair.remaining(), pair.e.row().serving), (Some(W), PayeeState::Free));
    assert_eq!(pair.serve(2 * W), W);
    pair.run(60);
    assert_eq!((pair.remaining(), pair.e.row().serving), (Some(0), PayeeState::Stopped));
    // Three hours are one window, because it does not accumulate.
    pair.now += Duration::from_secs(3 * 3600);
    pair.run(1);
    assert_eq!(pair.remaining(), Some(W));
    assert_eq!(pair.serve(10), 10);
    assert_eq!(pair.remaining(), Some(W - 10));
    // The first receipt ends it: what was free is not owed.
    pair.p.book.agree(carriage(pair.e.node), PAYS).unwrap();
    pair.run(2);
    assert_eq!((pair.remaining(), pair.e.row().serving), (Some(W), PayeeState::Serving));
    assert_eq!((pair.p.row().owe, pair.e.row().owed), (0, 0));
    pair.serve(W);
    pair.now += Duration::from_secs(3600);
    pair.e.book.tick(pair.now);
    assert_eq!(pair.remaining(), Some(0));
}

#[test]
fn a_restart_gives_no_new_window() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.run(1);
    assert_eq!(pair.serve(W), W);
    pair.e.book = AccountBook::from_bytes(&pair.e.disk).unwrap();
    pair.e.book.set_identity(certified(2, 12, 1));
    pair.e.book.agree(carriage(pair.p.node), CHARGES).unwrap();
    assert_eq!(pair.remaining(), Some(0), "nothing was observed");
    pair.e.book.tick(Duration::ZERO);
    pair.observe();
    assert_eq!(pair.remaining(), Some(0));
    pair.now = Duration::ZERO;
    pair.run(6);
    assert_eq!(pair.remaining(), Some(W));
}

#[test]
fn the_payer_signs_within_its_debt_limit() {
    let mut pair = Pair::agreed(Agreement { max_debt: 1500, ..PAYS }, CHARGES);
    pair.serve(W);
    pair.run(1);
    assert_eq!((pair.p.row().owe, pair.p.row().paying), (1500, PayerState::DebtLimit));
    pair.run(12);
    assert_eq!((pair.p.row().owe, pair.e.row().owed), (1500, 1500));
    pair.e.book.settle(&carriage(pair.p.node), 1500).unwrap();
    pair.run(7);
    assert_eq!((pair.p.row().owe, pair.p.row().signed), (1500, 3000));
}

#[test]
fn the_payee_serves_within_its_debt_limit() {
    let mut pair = Pair::agreed(PAYS, Agreement { max_debt: 1500, ..CHARGES });
    pair.run(1);
    assert_eq!(pair.serve(1000), 1000);
    assert_eq!(pair.remaining(), Some(500));
    pair.run(6);
    assert_eq!(pair.remaining(), Some(500));
    assert_eq!(pair.serve(W), 500);
    pair.run(6);
    assert_eq!((pair.e.row().owed, pair.e.row().serving), (1500, PayeeState::DebtLimit));
    pair.e.book.settle(&carriage(pair.p.node), 1000).unwrap();
    pair.e.write();
    assert_eq!(pair.remaining(), Some(1000));
}

#[test]
fn a_counter_that_goes_back_is_shown_and_counts_nothing() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(1000);
    pair.e.counters.served -= 300;
    pair.observe();
    assert_eq!((pair.e.row().served, pair.e.row().counters_went_back), (1000, 1));
    pair.e.counters.served += 300;
    pair.observe();
    assert_eq!(pair.e.row().served, 1000);
}

#[test]
fn what_is_bought_while_nothing_is_paid_is_owed_up_to_a_window() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.p.book.agree(carriage(pair.e.node), Agreement { max_price: None, ..PAYS }).unwrap();
    pair.p.counters.bought += 5 * W;
    pair.run(20);
    assert_eq!((pair.p.row().signed, pair.p.row().paying), (0, PayerState::Off));
    pair.p.book.agree(carriage(pair.e.node), PAYS).unwrap();
    pair.run(20);
    assert_eq!(pair.p.row().signed, W);
}
