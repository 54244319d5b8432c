//! The book's bytes, and its bounds.

use std::collections::BTreeSet;
use std::time::Duration;

use octet_node::control::PublicKey;
use octet_receipts::{AccountBook, AccountError, Agreement, MAX_ACCOUNTS, ServiceKind};
use proptest::prelude::*;

use crate::pair::{A_BYTE, CHARGES, PAYS, Pair, W, carriage};

#[test]
fn a_book_is_read_as_it_was_written() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    for price in 0..20 {
        pair.serve(W);
        let new = Agreement { price: Some(A_BYTE - price), ..CHARGES };
        pair.e.book.agree(carriage(pair.p.node), new).unwrap();
        pair.run(3);
    }
    pair.e.book.settle(&carriage(pair.p.node), 5).unwrap();
    pair.run(1);
    assert_eq!(pair.e.row().taken_receipts.len(), 17);
    for end in [&mut pair.p, &mut pair.e] {
        let bytes = end.book.to_bytes();
        let mut again = AccountBook::from_bytes(&bytes).unwrap();
        assert_eq!(again.to_bytes(), bytes);
        let (old, new) = (end.row(), again.rows().remove(0));
        assert_eq!((old.owe, old.owed, old.signed), (new.owe, new.owed, new.signed));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(AccountBook::from_bytes(&changed).is_none(), "bit {bit}");
        }
        assert!(AccountBook::from_bytes(&bytes[..bytes.len() - 1]).is_none());
    }
    // The debts of epochs of which no receipt is kept are in the sum.
    assert_eq!(pair.p.row().owe, pair.e.row().owed);
}

#[test]
fn accounts_with_debts_stay() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W);
    pair.run(2);
    let book = &mut pair.e.book;
    let node = |number: usize| {
        let mut key = [0; 32];
        key[0] = u8::try_from(number).unwrap();
        PublicKey::new(key)
    };
    book.retain(ServiceKind::Carriage, &BTreeSet::new());
    let row = book.rows().remove(0);
    assert_eq!(
        (row.is_neighbour, row.owed, book.remaining(&carriage(pair.p.node))),
        (false, W, None)
    );
    for number in 1..MAX_ACCOUNTS {
        book.agree(carriage(node(number)), CHARGES).unwrap();
    }
    let full = Err(AccountError::Full(MAX_ACCOUNTS));
    assert_eq!(book.agree(carriage(node(199)), CHARGES), full);
    // One that is settled and no neighbour makes room.
    book.retain(ServiceKind::Carriage, &(2..MAX_ACCOUNTS).map(node).collect());
    assert_eq!(book.agree(carriage(node(199)), CHARGES), Ok(()));
    let nodes: Vec<_> = book.rows().into_iter().map(|row| row.node).collect();
    assert!(nodes.contains(&pair.p.node) && !nodes.contains(&node(1)));
    assert_eq!(book.agree(carriage(node(198)), CHARGES), full);
    book.settle(&carriage(pair.p.node), W).unwrap();
    assert_eq!(book.agree(carriage(node(198)), CHARGES), Ok(()));
    let bytes = book.to_bytes();
    assert_eq!(AccountBook::from_bytes(&bytes).unwrap().to_bytes(), bytes);
}

/// A write that failed is due again.
#[test]
fn a_failed_write_is_repeated() {
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W);
    pair.p.book.tick(Duration::from_secs(3));
    let _ = pair.p.book.to_bytes();
    assert!(!pair.p.book.is_dirty());
    pair.p.book.not_persisted();
    assert!(pair.p.book.is_dirty() && pair.p.book.take_messages().is_empty());
    pair.p.write();
    assert_eq!(pair.p.book.take_messages().len(), 1);
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(AccountBook::from_bytes(&bytes).is_none());
    }
}
