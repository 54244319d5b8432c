//! Messages between the `accounts` of two neighbours, and the stored accounts.

use std::sync::Arc;
use std::time::Duration;

use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;
use octet_receipts::{
    AccountBook, AccountId, AccountMessage, Agreement, NeighbourCounters, ServiceKind,
    SignedReceipt, UNIT,
};
use ring::digest::{SHA256, digest};

/// The node that the book belongs to, and the neighbour whose messages come: their seeds, as in the corpus.
const NODES: [u8; 2] = [1, 2];
const KEYS: [u8; 2] = [11, 12];

const AGREEMENT: Agreement = Agreement {
    price: Some(1 << 30),
    window: 1 << 20,
    max_price: Some(1 << 30),
    max_debt: u64::MAX / 2,
    max_loss: 10,
    genesis: [0; 32],
};

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed([seed; 32]).expect("any seed is a key")
}

fn identity(node: u8, seed: u8) -> Certified {
    let (node, key) = (key(node), key(seed));
    let unit = UNIT.parse().expect("the name of a unit");
    let statement =
        KeyStatement { node: node.public(), unit, key: key.public(), epoch: 1, issued: 0 };
    let certificate = Certificate::sign(statement, &node).expect("a certificate");
    Certified { key: Arc::new(key), certificate }
}

/// Bytes are refused, or are the canonical encoding of a message, a receipt, or stored accounts. A message that is
/// refused changes nothing; what is signed never exceeds what was counted; and stored accounts are decoded again
/// after any message.
pub fn accounts(bytes: &[u8]) {
    if let Some(message) = AccountMessage::from_bytes(bytes) {
        assert_eq!(message.to_bytes(), bytes);
    }
    if let Some(receipt) = SignedReceipt::from_bytes(bytes) {
        assert_eq!(receipt.to_bytes(), bytes);
    }
    for (own, other) in [(0, 1), (1, 0)] {
        receive(bytes, identity(NODES[own], KEYS[own]), key(NODES[other]).public());
    }
    // Mutations would seldom meet the checksum.
    let stored = [bytes, digest(&SHA256, bytes).as_ref()].concat();
    if let Some(mut book) = AccountBook::from_bytes(&stored) {
        assert_eq!(book.to_bytes(), stored);
        let ids: Vec<_> =
            book.rows().iter().map(|row| AccountId { node: row.node, kind: row.kind }).collect();
        book.set_identity(identity(NODES[0], KEYS[0]));
        for id in ids {
            go_on(&mut book, id);
        }
    }
}

fn receive(message: &[u8], identity: Certified, from: PublicKey) {
    let mut book = AccountBook::default();
    book.set_identity(identity);
    let ids = ServiceKind::ALL.map(|kind| AccountId { node: from, kind });
    for id in ids {
        book.agree(id, AGREEMENT).expect("there is room");
    }
    let before = book.to_bytes();
    if book.handle(&from, message, Duration::ZERO).is_err() {
        assert_eq!(book.to_bytes(), before);
    }
    for id in ids {
        go_on(&mut book, id);
    }
}

fn go_on(book: &mut AccountBook, id: AccountId) {
    // The accounts may be full.
    if book.agree(id, AGREEMENT).is_err() {
        return;
    }
    let of = |book: &AccountBook| {
        let row = book.rows().into_iter().find(|row| (row.node, row.kind) == (id.node, id.kind));
        row.map_or((0, 0), |row| (row.signed, row.bought))
    };
    let (before, _) = of(book);
    let (bought, served) = (3 << 20, 3 << 20);
    let counters = NeighbourCounters { epoch: [1; 16], bought, served, limit: None };
    for seconds in 0..20 {
        book.observe(&id, counters);
        book.tick(Duration::from_secs(seconds));
        let stored = book.to_bytes();
        book.persisted();
        assert!(AccountBook::from_bytes(&stored).is_some());
        book.take_messages();
        book.grant(&id);
    }
    let (signed, bought) = of(book);
    assert!(signed <= before.max(bought));
}
