//! Blocks, states and their hashes.

use octet_coins::{
    Block, BlockHash, InvalidBlock, InvalidTransaction, LedgerState, MAX_TRANSACTIONS,
};

use crate::ledger::{Ledger, lock, transfer};

#[test]
fn a_block_follows_one_block_and_state() {
    let mut ledger = Ledger::new();
    ledger.act(4, transfer(5, 1)).unwrap();
    let good = ledger.next(vec![ledger.signed(4, transfer(5, 2))]);
    let height = good.height;
    let check = |block: Block| ledger.state.check(&block).map(drop);
    let not_next = Err(InvalidBlock::NotNext);
    assert_eq!(check(Block { height: height + 1, ..good.clone() }), not_next);
    assert_eq!(check(Block { height: height - 1, ..good.clone() }), not_next);
    assert_eq!(check(Block { parent: BlockHash([1; 32]), ..good.clone() }), not_next);
    assert_eq!(check(Block { state: [1; 32], ..good.clone() }), Err(InvalidBlock::State));
    let many = vec![good.transactions[0]; MAX_TRANSACTIONS + 1];
    assert_eq!(check(Block { transactions: many, ..good.clone() }), Err(InvalidBlock::TooLarge));
    let second = ledger.numbered(4, 9, transfer(5, 3));
    let with_bad = vec![good.transactions[0], second];
    let refused = Err(InvalidBlock::Transaction(1, InvalidTransaction::Nonce));
    assert_eq!(check(Block { transactions: with_bad, ..good.clone() }), refused);
    assert_eq!(check(good.clone()), Ok(()));
    ledger.follow(&good).unwrap();
    assert_eq!(ledger.state.tip(), good.hash());
    assert_eq!(ledger.state.check(&good), Err(InvalidBlock::NotNext));
}

#[test]
fn a_block_is_not_too_large() {
    let ledger = Ledger::new();
    let one = ledger.signed(4, transfer(5, 1));
    assert_eq!(one.to_bytes().len(), 146);
    let (mut few, mut many) = (ledger.next(vec![]), ledger.next(vec![]));
    few.transactions = vec![one; 1024];
    assert_eq!(Block::from_bytes(&few.to_bytes()), Some(few));
    many.transactions = vec![one; 1025];
    assert_eq!(Block::from_bytes(&many.to_bytes()), None);
    // 299 bytes each.
    let with_lock = Ledger::with_lock(1);
    let claim = with_lock.claim_transaction(with_lock.receipt(1));
    let of = |count| Block { transactions: vec![claim; count], ..ledger.next(vec![]) };
    assert_eq!(with_lock.state.check(&of(871)).map(drop), Err(InvalidBlock::NotNext));
    let mut large = with_lock.next(vec![claim; 871]);
    assert_eq!(with_lock.state.check(&large).map(drop), Err(InvalidBlock::TooLarge));
    assert_eq!(Block::from_bytes(&large.to_bytes()), None);
    large.transactions.pop();
    let superseded = InvalidBlock::Transaction(1, InvalidTransaction::Superseded);
    assert_eq!(with_lock.state.check(&large).map(drop), Err(superseded));
    assert_eq!(Block::from_bytes(&large.to_bytes()), Some(large));
}

#[test]
fn a_state_is_read_again_from_its_rows() {
    let mut ledger = Ledger::with_lock(1000);
    ledger.claim(ledger.receipt(10)).unwrap();
    ledger.act(4, crate::ledger::withdraw()).unwrap();
    let state = &ledger.state;
    let rows: Vec<_> = state.rows().collect();
    let read =
        |rows: Vec<_>| LedgerState::from_rows(&ledger.genesis, state.height(), state.tip(), rows);
    let again = read(rows.clone()).unwrap();
    assert_eq!(again, *state);
    assert_eq!(again.validators(), state.validators());
    assert!(again.is_counting());
    assert_eq!(again.changes().count(), 0);
    let block = ledger.next(vec![ledger.signed(5, transfer(4, 7))]);
    assert_eq!(again.check(&block).unwrap(), state.check(&block).unwrap());
    // Others are refused, or have another hash.
    let mut reversed = rows.clone();
    reversed.reverse();
    assert_eq!(read(reversed), None);
    for number in 0..rows.len() {
        let mut fewer = rows.clone();
        fewer.remove(number);
        assert!(read(fewer).is_none_or(|it| it.hash() != state.hash()));
        let mut twice = rows.clone();
        twice.insert(number, rows[number].clone());
        assert_eq!(read(twice), None);
        for part in [0, 1] {
            for at in 0..[&rows[number].0, &rows[number].1][part].len() {
                let mut other = rows.clone();
                let bytes = if part == 0 { &mut other[number].0 } else { &mut other[number].1 };
                bytes[at] ^= 1;
                assert!(read(other).is_none_or(|it| it.hash() != state.hash()), "{number} {at}");
            }
        }
    }
}

#[test]
fn changes_lead_from_one_state_to_the_next() {
    use std::collections::BTreeMap;
    let mut ledger = Ledger::new();
    let mut stored: BTreeMap<_, _> =
        ledger.state.changes().map(|(key, value)| (key, value.unwrap())).collect();
    assert_eq!(stored, ledger.state.rows().collect());
    let mut step = |ledger: &Ledger, most: usize| {
        let changes: Vec<_> = ledger.state.changes().collect();
        assert!(changes.len() <= most, "{}", changes.len());
        for (key, value) in changes {
            match value {
                Some(value) => stored.insert(key, value),
                None => stored.remove(&key),
            };
        }
        assert_eq!(stored, ledger.state.rows().collect());
    };
    ledger.act(4, transfer(5, 1)).unwrap();
    step(&ledger, 3);
    ledger.bind(4, 1);
    step(&ledger, 4);
    ledger.bind(5, 1);
    step(&ledger, 4);
    ledger.act(4, lock(10_000)).unwrap();
    step(&ledger, 3);
    ledger.claim(ledger.receipt(10_000)).unwrap();
    step(&ledger, 5);
    ledger.pass(1);
    step(&ledger, 0);
}

#[test]
fn every_change_is_in_the_hash() {
    let mut ledger = Ledger::with_lock(1000);
    let mut hashes = vec![ledger.state.hash()];
    ledger.pass(1);
    assert_eq!(ledger.state.hash(), hashes[0]);
    ledger.act(4, transfer(5, 1)).unwrap();
    hashes.push(ledger.state.hash());
    ledger.claim(ledger.receipt(10)).unwrap();
    hashes.push(ledger.state.hash());
    ledger.act(4, crate::ledger::withdraw()).unwrap();
    hashes.push(ledger.state.hash());
    let mut block = ledger.next(vec![]);
    block.round = 1;
    ledger.follow(&block).unwrap();
    hashes.push(ledger.state.hash());
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 5);
    assert_ne!(Ledger::new().state.hash(), Ledger::of(crate::ledger::genesis_with(5)).state.hash());
}
