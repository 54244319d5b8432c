//! Each refusal, beside the message that is taken.

use octet_node::control::PublicKey;
use octet_node::signed::SignedStatement;
use octet_receipts::{
    AccountBook, AccountMessage, AccountTerms, Agreement, Offer, Receipt, Refused, ServiceKind,
    Settlement, SignedReceipt,
};

use crate::pair::{A_BYTE, CHARGES, PAYS, Pair, W, carriage, certificate, certified, key};

fn sign(offer: Offer, seed: u8) -> Vec<u8> {
    let signed = SignedStatement::sign(offer, &key(seed)).unwrap();
    AccountMessage::Offer(Box::new(signed)).to_bytes()
}

/// An offer that the payer takes as its first.
fn offer() -> Offer {
    let (genesis, kind) = ([0; 32], ServiceKind::Carriage);
    Offer {
        certificate: certificate(2, "accounts", 12, 1),
        terms: AccountTerms { genesis, kind, price: A_BYTE, window: W },
        epoch: 1 << 32,
        payer: key(11).public(),
        received: 0,
        counted: 0,
        closed_epoch: 1 << 32,
        closed_bytes: 0,
        settlement: None,
    }
}

fn take(pair: &mut Pair, message: &[u8]) -> Result<(), Refused> {
    let before = pair.p.book.to_bytes();
    let taken = pair.p.book.handle(&pair.e.node, message, pair.now);
    if taken.is_err() {
        assert_eq!(pair.p.book.to_bytes(), before, "{taken:?}");
    }
    taken
}

#[test]
fn offers() {
    let settlement = |payee: u8, payer: u8| {
        let (payee_key, payer) = (key(payee), key(payer).public());
        let body =
            Settlement { payee: payee_key.public(), payer, kind: ServiceKind::Carriage, amount: 5 };
        Some(SignedStatement::sign(body, &payee_key).unwrap())
    };
    let terms = offer().terms;
    let other = |terms| Offer { terms, ..offer() };
    let with = |certificate| Offer { certificate, ..offer() };
    let settled = |settlement| Offer { settlement, ..offer() };
    let of_objects = settlement(12, 11).map(|it: SignedStatement<Settlement>| {
        let body = Settlement { kind: ServiceKind::Objects, ..*it.body() };
        SignedStatement::sign(body, &key(12)).unwrap()
    });
    let too_high = Refused::PriceTooHigh { price: A_BYTE + 1, max: A_BYTE };
    let cases = [
        (other(AccountTerms { price: A_BYTE + 1, ..terms }), 12, too_high),
        (other(AccountTerms { genesis: [1; 32], ..terms }), 12, Refused::OtherLedger),
        (other(AccountTerms { kind: ServiceKind::Objects, ..terms }), 12, Refused::NotPaying),
        (Offer { payer: key(10).public(), ..offer() }, 12, Refused::OtherPayer),
        (Offer { received: 1, ..offer() }, 12, Refused::NeverSigned),
        (with(certificate(3, "accounts", 12, 1)), 12, Refused::WrongCertificate),
        (with(certificate(2, "gate", 12, 1)), 12, Refused::WrongCertificate),
        (settled(settlement(13, 11)), 12, Refused::WrongSettlement),
        (settled(settlement(12, 13)), 12, Refused::WrongSettlement),
        (settled(of_objects), 12, Refused::WrongSettlement),
    ];
    for (refused, seed, why) in cases {
        let mut pair = Pair::new(PAYS, CHARGES);
        assert_eq!(take(&mut pair, &sign(refused, seed)), Err(why));
        let valid = settled(settlement(12, 11));
        assert_eq!(take(&mut pair, &sign(valid, 12)), Ok(()), "instead of {why:?}");
    }

    let mut pair = Pair::new(Agreement { max_price: None, ..PAYS }, CHARGES);
    assert_eq!(take(&mut pair, &sign(offer(), 12)), Err(Refused::NotPaying));
    let node = key(5).public();
    let stranger = pair.p.book.handle(&node, &sign(offer(), 12), pair.now);
    assert_eq!(stranger, Err(Refused::UnknownNode));
    let mut book = AccountBook::default();
    book.agree(carriage(pair.e.node), PAYS).unwrap();
    assert_eq!(book.handle(&pair.e.node, &sign(offer(), 12), pair.now), Err(Refused::NoIdentity));
    book.set_identity(certified(1, 11, 1));
    assert_eq!(book.handle(&pair.e.node, &sign(offer(), 12), pair.now), Ok(()));
}

#[test]
fn offers_after_others() {
    let mut pair = Pair::new(PAYS, CHARGES);
    assert_eq!(take(&mut pair, &sign(offer(), 12)), Ok(()));
    let lower = Offer { epoch: (1 << 32) - 1, ..offer() };
    assert_eq!(take(&mut pair, &sign(lower, 12)), Err(Refused::LowerEpoch));
    let terms = AccountTerms { window: W / 2, ..offer().terms };
    let changed = Offer { terms, ..offer() };
    assert_eq!(take(&mut pair, &sign(changed.clone(), 12)), Err(Refused::ChangedTerms));
    let never = Offer { received: 7, ..offer() };
    assert_eq!(take(&mut pair, &sign(never, 12)), Err(Refused::NeverSigned));
    assert_eq!(take(&mut pair, &sign(offer(), 12)), Ok(()));
    let next = Offer { epoch: (1 << 32) + 1, ..changed };
    assert_eq!(take(&mut pair, &sign(next, 12)), Ok(()));
    assert_eq!(take(&mut pair, &sign(offer(), 12)), Err(Refused::LowerEpoch));
    // A newer key, then the older one, and another with the same number.
    let newer = certificate(2, "accounts", 22, 2);
    let newer = Offer { epoch: 2 << 32, certificate: newer, ..offer() };
    assert_eq!(take(&mut pair, &sign(newer.clone(), 22)), Ok(()));
    let older = Offer { epoch: 3 << 32, ..offer() };
    assert_eq!(take(&mut pair, &sign(older, 12)), Err(Refused::OldCertificate));
    let twin = Offer { certificate: certificate(2, "accounts", 23, 2), ..newer };
    assert_eq!(take(&mut pair, &sign(twin, 23)), Err(Refused::WrongCertificate));
}

fn hello(certificate: octet_node::certificate::Certificate) -> Vec<u8> {
    AccountMessage::Hello { certificate }.to_bytes()
}

#[test]
fn greetings() {
    let mut pair = Pair::new(PAYS, CHARGES);
    let mut say = |certificate| {
        let message = hello(certificate);
        pair.e.book.handle(&pair.p.node, &message, pair.now)
    };
    assert_eq!(say(certificate(2, "accounts", 11, 1)), Err(Refused::WrongCertificate));
    assert_eq!(say(certificate(1, "cache", 11, 1)), Err(Refused::WrongCertificate));
    assert_eq!(say(certificate(1, "accounts", 11, 2)), Ok(()));
    assert_eq!(say(certificate(1, "accounts", 13, 1)), Err(Refused::OldCertificate));
    assert_eq!(say(certificate(1, "accounts", 13, 2)), Err(Refused::WrongCertificate));
    assert_eq!(say(certificate(1, "accounts", 13, 3)), Ok(()));
    assert_eq!(pair.e.book.handle(&pair.p.node, b"hello", pair.now), Err(Refused::Malformed));
}

/// The receipt that P would sign, with its bytes.
fn signed(pair: &Pair, change: impl Fn(Receipt) -> Receipt, seed: u8) -> Vec<u8> {
    let given = pair.p.row().given_receipt.unwrap();
    let receipt = change(*SignedReceipt::from_bytes(&given).unwrap().receipt());
    let receipt = SignedReceipt::sign(receipt, &[0; 32], &key(seed)).unwrap();
    AccountMessage::Pay { receipt }.to_bytes()
}

fn more(receipt: Receipt) -> Receipt {
    Receipt { bytes: receipt.bytes + 10, amount: receipt.amount + 10, ..receipt }
}

#[test]
fn payments() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W);
    pair.run(2);
    let other = |seed: u8| -> PublicKey { key(seed).public() };
    let forged = {
        let mut bytes = signed(&pair, more, 11);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    let twice = |it: Receipt| Receipt { price: 2 * it.price, amount: 2 * it.amount, ..it };
    let cases = [
        (signed(&pair, |it| twice(more(it)), 11), Refused::OtherTerms),
        (signed(&pair, |it| Receipt { scope: [1; 32], ..more(it) }, 11), Refused::OtherTerms),
        (signed(&pair, |it| Receipt { payer: other(10), ..more(it) }, 10), Refused::WrongKeys),
        (signed(&pair, |it| Receipt { payee: other(10), ..more(it) }, 11), Refused::WrongKeys),
        (signed(&pair, |it| Receipt { epoch: it.epoch + 1, ..it }, 11), Refused::UnknownEpoch),
        (forged, Refused::Forged),
    ];
    let take = |pair: &mut Pair, bytes: &[u8]| pair.e.book.handle(&pair.p.node, bytes, pair.now);
    for (bytes, why) in cases {
        assert_eq!(take(&mut pair, &bytes), Err(why));
        assert_eq!((pair.e.row().received, pair.e.row().owed), (W, W), "{why:?}");
    }
    // An older one is ignored.
    let less = |it: Receipt| Receipt { bytes: 10, amount: 10, ..it };
    let older = signed(&pair, less, 11);
    assert_eq!(take(&mut pair, &older), Ok(()));
    let before = signed(&pair, |it| Receipt { epoch: it.epoch - 1, ..it }, 11);
    assert_eq!(take(&mut pair, &before), Ok(()));
    assert_eq!(pair.e.row().received, W);
    assert!(!pair.e.book.is_dirty());
    let newer = signed(&pair, more, 11);
    assert_eq!(take(&mut pair, &newer), Ok(()));
    assert_eq!((pair.e.row().received, pair.e.row().owed), (W + 10, W + 10));
}

/// For an epoch before one that is signed for, nothing is taken any more.
#[test]
fn payments_of_closed_epochs() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W);
    pair.run(2);
    let late = signed(&pair, more, 11);
    let half = Agreement { price: Some(A_BYTE / 2), ..CHARGES };
    pair.e.book.agree(carriage(pair.p.node), half).unwrap();
    pair.e.write();
    pair.e.book.handle(&pair.p.node, &late, pair.now).unwrap();
    assert_eq!(pair.e.row().received, W + 10);
    // The same with the payer's receipt for the new epoch before it.
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W);
    pair.run(2);
    let late = signed(&pair, more, 11);
    pair.e.book.agree(carriage(pair.p.node), half).unwrap();
    pair.run(3);
    pair.e.book.handle(&pair.p.node, &late, pair.now).unwrap();
    assert_eq!(pair.e.row().received, W);
}
