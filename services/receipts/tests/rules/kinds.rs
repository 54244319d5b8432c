//! Carriage and objects beside each other: two accounts with one neighbour.

mod claims;

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use octet_receipts::{
    AccountBook, AccountId, AccountMessage, Agreement, NeighbourCounters, PayeeState, Receipt,
    Refused, ServiceKind, SignedReceipt,
};

use crate::ledger::{self, Ledger, PAYS_COINS, TAKES_COINS, settle};
use crate::pair::{A_BYTE, CHARGES, PAYS, Pair, W, carriage, certified, key, objects};

use ServiceKind::{Carriage, Objects};

/// Objects cost twice as much.
const OBJECT_PRICE: u64 = 2 * A_BYTE;

fn of_objects(agreement: Agreement) -> Agreement {
    Agreement {
        price: agreement.price.map(|_| OBJECT_PRICE),
        max_price: agreement.max_price.map(|_| OBJECT_PRICE),
        ..agreement
    }
}

fn agree(pair: &mut Pair, pays: Agreement, charges: Agreement) {
    let (p, e) = (pair.p.node, pair.e.node);
    pair.p.book.agree(carriage(e), pays).unwrap();
    pair.p.book.agree(objects(e), of_objects(pays)).unwrap();
    pair.e.book.agree(carriage(p), charges).unwrap();
    pair.e.book.agree(objects(p), of_objects(charges)).unwrap();
}

/// A pair that has agreed on both kinds.
fn agreed(pays: Agreement, charges: Agreement) -> Pair {
    let mut pair = Pair::new(pays, charges);
    agree(&mut pair, pays, charges);
    pair.run(3);
    for (kind, price) in [(Carriage, A_BYTE), (Objects, OBJECT_PRICE)] {
        assert_eq!(pair.p.row_of(kind).paid_price, Some(price), "{kind:?}");
    }
    pair
}

fn agreed_on(ledger: &Ledger) -> Pair {
    let mut pair = agreed(PAYS_COINS, TAKES_COINS);
    ledger.tell_both(&mut pair);
    pair
}

fn of_p(pair: &Pair, kind: ServiceKind) -> AccountId {
    AccountId { node: pair.p.node, kind }
}

/// E's unit of this kind gets the limit that its book grants.
fn limit(pair: &mut Pair, kind: ServiceKind) {
    pair.observe();
    let bytes = pair.e.book.grant(&of_p(pair, kind));
    let counters = pair.e.counters_of(kind);
    counters.limit = bytes.map(|bytes| counters.served + bytes);
}

fn limit_both(pair: &mut Pair) {
    ServiceKind::ALL.into_iter().for_each(|kind| limit(pair, kind));
}

/// E's unit serves as much of `bytes` as it may with the limit that it has.
fn serve(pair: &mut Pair, kind: ServiceKind, bytes: u64) -> u64 {
    let counters = pair.e.counters_of(kind);
    let bytes =
        counters.limit.map_or(u64::MAX, |limit| limit.saturating_sub(counters.served)).min(bytes);
    counters.served += bytes;
    pair.p.counters_of(kind).bought += bytes;
    bytes
}

fn price(kind: ServiceKind) -> u64 {
    if kind == Carriage { 1 } else { 2 }
}

/// What E has served and P has not paid.
fn exposure(pair: &Pair) -> u64 {
    let of = |kind| {
        let (row, counters) =
            (pair.e.row_of(kind), if kind == Carriage { pair.e.counters } else { pair.e.objects });
        row.owed + price(kind) * (counters.served - row.received)
    };
    of(Carriage) + of(Objects)
}

#[test]
fn each_kind_has_its_own_price_and_count() {
    let mut pair = agreed(PAYS, CHARGES);
    limit(&mut pair, Carriage);
    limit(&mut pair, Objects);
    assert_eq!((serve(&mut pair, Carriage, 1000), serve(&mut pair, Objects, 70)), (1000, 70));
    pair.run(6);
    for (kind, bytes, owed) in [(Carriage, 1000, 1000), (Objects, 70, 140)] {
        let (p, e) = (pair.p.row_of(kind), pair.e.row_of(kind));
        assert_eq!((e.served, e.received, e.owed, e.unsigned), (bytes, bytes, owed, 0), "{kind:?}");
        assert_eq!(
            (p.bought, p.signed, p.owe, p.their_count),
            (bytes, bytes, owed, bytes),
            "{kind:?}"
        );
        assert_eq!(e.taken_receipts, [p.given_receipt.unwrap()], "{kind:?}");
    }
    // A payment is of one kind, and so is its confirmation.
    pair.e.book.settle(&of_p(&pair, Objects), 100).unwrap();
    assert!(pair.e.book.settle(&of_p(&pair, Objects), 41).is_err());
    pair.run(2);
    assert_eq!((pair.e.row_of(Objects).owed, pair.p.row_of(Objects).owe), (40, 40));
    assert_eq!((pair.e.row_of(Carriage).owed, pair.p.row_of(Carriage).owe), (1000, 1000));
}

/// One greeting is for both, and each kind has an offer of its own.
#[test]
fn a_neighbour_is_greeted_once() {
    let mut pair = Pair::new(PAYS, CHARGES);
    agree(&mut pair, PAYS, CHARGES);
    pair.observe();
    let sent = pair.sent_by_p();
    let [hello] = &sent[..] else { panic!("{} messages", sent.len()) };
    assert!(matches!(AccountMessage::from_bytes(hello), Some(AccountMessage::Hello { .. })));
    pair.e_handles(&sent);
    let kinds: BTreeSet<_> = pair
        .sent_by_e()
        .iter()
        .map(|message| match AccountMessage::from_bytes(message) {
            Some(AccountMessage::Offer(offer)) => offer.body().terms.kind,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ServiceKind::ALL.into());
}

#[test]
fn a_receipt_counts_for_the_kind_of_its_scope() {
    // The same price: only the scope tells the kinds apart.
    let mut pair = Pair::agreed(PAYS, CHARGES);
    let (p, e) = (pair.p.node, pair.e.node);
    pair.p.book.agree(objects(e), PAYS).unwrap();
    pair.e.book.agree(objects(p), CHARGES).unwrap();
    pair.run(3);
    let [of_carriage, of_objects] = ServiceKind::ALL.map(|kind| {
        let given = pair.p.row_of(kind).given_receipt.unwrap();
        *SignedReceipt::from_bytes(&given).unwrap().receipt()
    });
    assert_eq!((of_carriage.epoch, of_carriage.price), (of_objects.epoch, of_objects.price));
    assert_ne!(of_carriage.scope, of_objects.scope);
    let pay = |pair: &mut Pair, receipt: Receipt| {
        let receipt = SignedReceipt::sign(receipt, &[0; 32], &key(11)).unwrap();
        let message = AccountMessage::Pay { receipt }.to_bytes();
        pair.e.book.handle(&p, &message, pair.now)
    };
    let paid = |pair: &Pair| ServiceKind::ALL.map(|kind| pair.e.row_of(kind).received);
    assert_eq!(pay(&mut pair, Receipt { bytes: 50, amount: 50, ..of_objects }), Ok(()));
    assert_eq!(paid(&pair), [0, 50]);
    assert_eq!(pay(&mut pair, Receipt { bytes: 7, amount: 7, ..of_carriage }), Ok(()));
    assert_eq!(paid(&pair), [7, 50]);
    // The terms of objects for another price.
    let dearer = Receipt { bytes: 60, price: 2 * A_BYTE, amount: 120, ..of_objects };
    assert_eq!(pay(&mut pair, dearer), Err(Refused::OtherTerms));
    let unknown = Receipt { scope: [5; 32], bytes: 60, amount: 60, ..of_objects };
    assert_eq!(pay(&mut pair, unknown), Err(Refused::OtherTerms));
    assert_eq!(paid(&pair), [7, 50]);
}

/// Who has agreed on carriage alone pays no objects.
#[test]
fn a_kind_without_an_agreement_is_not_paid() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    let (p, e) = (pair.p.node, pair.e.node);
    pair.e.book.agree(objects(p), CHARGES).unwrap();
    pair.e
        .book
        .handle(
            &p,
            &AccountMessage::Hello { certificate: certified(1, 11, 1).certificate }.to_bytes(),
            pair.now,
        )
        .unwrap();
    let offers = pair.sent_by_e();
    assert_eq!(offers.len(), 2);
    let taken = offers.iter().map(|offer| pair.p.book.handle(&e, offer, pair.now));
    assert_eq!(taken.collect::<Vec<_>>(), [Ok(()), Err(Refused::NotPaying)]);
    assert_eq!(pair.p.book.rows().len(), 1);
    pair.p.book.agree(objects(e), PAYS).unwrap();
    assert_eq!(pair.p.book.handle(&e, &offers[1], pair.now), Ok(()));
    // The agreement of one kind ends without the other.
    pair.p.book.retain(Objects, &BTreeSet::new());
    let is_neighbour = ServiceKind::ALL.map(|kind| pair.p.row_of(kind).is_neighbour);
    assert_eq!(is_neighbour, [true, false]);
}

#[test]
fn without_a_ledger_each_kind_has_its_own_debt() {
    let limited = Agreement { max_debt: 1500, ..CHARGES };
    let mut pair = agreed(PAYS, limited);
    limit(&mut pair, Carriage);
    assert_eq!(serve(&mut pair, Carriage, W), 1500);
    pair.run(6);
    assert_eq!(pair.e.row_of(Carriage).serving, PayeeState::DebtLimit);
    assert_eq!(pair.e.row_of(Objects).serving, PayeeState::Serving);
    limit(&mut pair, Objects);
    assert_eq!(serve(&mut pair, Objects, W), 750);
    pair.run(6);
    assert_eq!(pair.e.row_of(Objects).serving, PayeeState::DebtLimit);
    assert_eq!(exposure(&pair), 3000);
    pair.e.book.settle(&of_p(&pair, Objects), 500).unwrap();
    pair.e.write();
    let remaining = ServiceKind::ALL.map(|kind| pair.e.book.remaining(&of_p(&pair, kind)));
    assert_eq!(remaining, [Some(0), Some(250)]);
}

#[test]
fn both_kinds_are_served_within_one_lock() {
    let mut ledger = Ledger::new(4 * W);
    let mut pair = agreed_on(&ledger);
    let mut served = [0, 0];
    for _ in 0..60 {
        for kind in ServiceKind::ALL {
            limit(&mut pair, kind);
            served[kind as usize - 1] += serve(&mut pair, kind, W / 4);
            assert!(exposure(&pair) <= 4 * W, "{served:?}");
        }
        pair.run(1);
    }
    assert!(served.iter().all(|bytes| *bytes > W / 2), "{served:?}");
    assert_eq!(served[0] + 2 * served[1], 4 * W, "all of the lock, and not a byte more");
    let p = ServiceKind::ALL.map(|kind| pair.p.row_of(kind).owe);
    assert_eq!(p, [served[0], 2 * served[1]]);
    settle(&mut pair, &mut ledger);
    assert_eq!((ledger.paid, ledger.locked), (4 * W, 0));
    assert_eq!(ServiceKind::ALL.map(|kind| pair.e.row_of(kind).coins), p);
}

/// Between a grant and the next look at the unit's limit, the other kind is granted nothing of it.
#[test]
fn a_grant_counts_before_it_is_observed() {
    let mut pair = agreed_on(&Ledger::new(3 * W));
    limit_both(&mut pair);
    assert_eq!(serve(&mut pair, Objects, W), W);
    // The window of objects is used, and carriage has the rest.
    pair.e.counters.limit = Some(0);
    pair.observe();
    assert_eq!(pair.e.book.grant(&of_p(&pair, Carriage)), Some(W));
    // A receipt comes, and objects want another window.
    let receipts = pair.sent_by_p();
    pair.e_handles(&receipts);
    assert_eq!(pair.e.row_of(Objects).unsigned, 0);
    assert_eq!(pair.e.book.grant(&of_p(&pair, Objects)), Some(0));
    // With the limit of before, which could not be set, objects may have a half.
    pair.observe();
    assert_eq!(pair.e.book.grant(&of_p(&pair, Objects)), Some(W / 4));
}

/// No part of a lock is kept for the other kind.
#[test]
fn one_kind_may_use_all_of_the_lock() {
    for one in ServiceKind::ALL {
        let ledger = Ledger::new(4 * W);
        let mut pair = agreed_on(&ledger);
        let both = |pair: &Pair| ServiceKind::ALL.map(|kind| pair.e.row_of(kind).serving);
        assert_eq!(both(&pair), [PayeeState::Serving; 2]);
        let mut served = 0;
        for _ in 0..80 {
            limit_both(&mut pair);
            served += serve(&mut pair, one, W);
            pair.run(1);
        }
        limit_both(&mut pair);
        // A byte of objects costs two.
        assert!(4 * W - price(one) * served <= 2, "{one:?}: {served}");
        if one == Carriage {
            assert_eq!(both(&pair), [PayeeState::LockUsed; 2]);
        }
        assert!(serve(&mut pair, one.other(), W) <= 1, "{one:?}");
        // The payer signs no more, either, whatever it was given.
        pair.p.counters_of(one.other()).bought += W;
        pair.run(6);
        assert!(pair.p.row_of(one.other()).signed <= 2, "{one:?}");
    }
}

/// The lock is for what is served of both, in whichever order limits are set, receipts come, and blocks are made.
#[test]
fn random_pairs_stay_within_the_lock() {
    let mut paid = [0, 0];
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let mut ledger = Ledger::new(rng.u64(1..5) * W);
        ledger.max_per_day = if rng.bool() { u64::MAX } else { 2 * W };
        let mut pair = agreed_on(&ledger);
        limit_both(&mut pair);
        let mut waiting: Vec<SignedReceipt> = vec![];
        for _ in 0..200 {
            let kind = if rng.bool() { Carriage } else { Objects };
            match rng.u32(0..12) {
                0..=2 => drop(serve(&mut pair, kind, rng.u64(0..W))),
                3..=5 => {
                    // A limit that could not be set is the old one.
                    let before = pair.e.counters_of(kind).limit;
                    limit(&mut pair, kind);
                    if rng.u32(0..5) == 0 {
                        pair.e.counters_of(kind).limit = before;
                    }
                }
                6 | 7 => pair.run(rng.u32(1..8)),
                8 => pair.now += Duration::from_secs(rng.u64(0..900)),
                9 => waiting.extend(ledger::claims(&mut pair)),
                10 if !waiting.is_empty() => {
                    let one = waiting.swap_remove(rng.usize(..waiting.len()));
                    ledger.claim(one.receipt());
                    ledger.tell_both(&mut pair);
                }
                _ => match rng.u32(0..4) {
                    0 => restart(&mut pair),
                    1 => {
                        ledger.locked += rng.u64(0..W);
                        ledger.tell_both(&mut pair);
                    }
                    _ => {}
                },
            }
            pair.p.write();
            pair.e.write();
            let (due, bound) = (exposure(&pair), ledger.locked);
            assert!(due <= bound, "{seed}: {due} of {bound}");
        }
        pair.run(30);
        for kind in ServiceKind::ALL {
            let (p, e) = (pair.p.row_of(kind), pair.e.row_of(kind));
            assert_eq!((p.signed, p.bought), (e.received, e.served), "{seed}: {kind:?}");
            paid[kind as usize - 1] += u64::from(e.received > W);
        }
    }
    assert!(paid.iter().all(|worlds| *worlds > 20), "{paid:?}");
}

/// Both units begin again with what is on their disks. Limits of before are in force.
fn restart(pair: &mut Pair) {
    for (end, node, seed) in [(&mut pair.p, 1, 11), (&mut pair.e, 2, 12)] {
        end.book = AccountBook::from_bytes(&end.disk).unwrap();
        end.book.set_identity(certified(node, seed, 1));
    }
    agree(pair, PAYS_COINS, TAKES_COINS);
    pair.observe();
}

/// Where a box begins again with what is on its disk.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// How many writes of both boxes come before.
    writes: usize,
    /// Whether the last write has reached the disk.
    is_written: bool,
}

/// Both kinds are served while one box is cut at one of its writes. It returns the pair and the number of writes.
fn with_cut(cut: Option<Cut>) -> (Pair, usize) {
    let mut pair = agreed(PAYS, CHARGES);
    let mut writes = 0;
    for round in 0..8 {
        pair.now += Duration::from_secs(1);
        for kind in ServiceKind::ALL {
            limit(&mut pair, kind);
            serve(&mut pair, kind, W / 4 + 100 * round + kind as u64);
        }
        pair.observe();
        for is_payer in [true, false] {
            let end = if is_payer { &mut pair.p } else { &mut pair.e };
            end.book.tick(pair.now);
            if end.book.is_dirty() {
                let cut = cut.filter(|cut| cut.writes == writes);
                writes += 1;
                let bytes = end.book.to_bytes();
                if cut.is_none_or(|cut| cut.is_written) {
                    end.disk = bytes;
                }
                if cut.is_some() {
                    let (node, seed) = if is_payer { (1, 11) } else { (2, 12) };
                    end.book = AccountBook::from_bytes(&end.disk).unwrap();
                    end.book.set_identity(certified(node, seed, 1));
                    agree(&mut pair, PAYS, CHARGES);
                    continue;
                }
                end.book.persisted();
            }
            let messages = end.book.take_messages();
            // What comes is written in the other box's turn.
            let (to, from) = match is_payer {
                true => (&mut pair.e, pair.p.node),
                false => (&mut pair.p, pair.e.node),
            };
            for (_, message) in messages {
                to.book.handle(&from, &message, pair.now).unwrap();
            }
        }
    }
    pair.run(30);
    (pair, writes)
}

/// Whichever write is the last one before a restart, nothing is paid twice, or for the other kind, or not at all.
#[test]
fn a_restart_at_every_write_keeps_both() {
    let (_, writes) = with_cut(None);
    assert!(writes >= 16, "{writes}");
    for writes in 0..writes {
        for is_written in [true, false] {
            let cut = Cut { writes, is_written };
            let (mut pair, _) = with_cut(Some(cut));
            for kind in ServiceKind::ALL {
                let bytes = pair.p.counters_of(kind).bought;
                let (p, e) = (pair.p.row_of(kind), pair.e.row_of(kind));
                assert!(bytes > W, "{cut:?}: {kind:?}");
                let all = (bytes, bytes, bytes);
                assert_eq!((p.signed, e.received, e.served), all, "{cut:?}: {kind:?}");
                let owed = price(kind) * bytes;
                assert_eq!((p.owe, e.owed), (owed, owed), "{cut:?}: {kind:?}");
            }
        }
    }
}

/// What `cache` counts is not carriage, also when either begins anew.
#[test]
fn counters_of_one_kind_begin_anew_alone() {
    let mut pair = agreed(PAYS, CHARGES);
    for kind in ServiceKind::ALL {
        limit(&mut pair, kind);
        serve(&mut pair, kind, 1000);
    }
    pair.run(6);
    for end in [&mut pair.p, &mut pair.e] {
        end.objects = NeighbourCounters { epoch: [2; 16], bought: 0, served: 0, limit: None };
    }
    limit(&mut pair, Objects);
    serve(&mut pair, Objects, 30);
    pair.run(6);
    for (kind, bytes) in [(Carriage, 1000), (Objects, 1030)] {
        let (p, e) = (pair.p.row_of(kind), pair.e.row_of(kind));
        assert_eq!((p.signed, e.received, e.served), (bytes, bytes, bytes), "{kind:?}");
    }
}
