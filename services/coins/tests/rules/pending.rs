//! Transactions that wait.

use octet_coins::{InvalidTransaction, MAX_BLOCK, MAX_PENDING, PendingTransactions};

use crate::ledger::{BALANCE, FEE, Ledger, genesis_with, lock, transfer, withdraw};

#[test]
fn what_waits_is_in_the_next_block() {
    let mut ledger = Ledger::with_lock(1000);
    let mut pool = PendingTransactions::default();
    assert!(pool.is_empty());
    let first = ledger.signed(4, transfer(5, 1));
    let claim = ledger.claim_transaction(ledger.receipt(200));
    assert_eq!(pool.admit(first, &ledger.state), Ok(true));
    assert_eq!(pool.admit(first, &ledger.state), Ok(false));
    assert_eq!(pool.admit(claim, &ledger.state), Ok(true));
    assert!(!pool.is_empty());
    assert_eq!(pool.get(&first.hash()), Some(&first));
    assert_eq!(pool.since(0).map(|it| it.0).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(pool.since(1).map(|it| *it.1).collect::<Vec<_>>(), [claim]);
    let block = pool.block(&ledger.state, 3);
    assert_eq!(block.transactions, [first, claim]);
    assert_eq!(block.round, 3);
    assert_eq!(ledger.state.check_with(&block, &pool), ledger.state.check(&block));
    ledger.follow(&block).unwrap();
    pool.prune(&ledger.state);
    assert!(pool.is_empty());
    assert_eq!(pool.count(), 0);
    assert!(!pool.contains(&first.hash()));
    assert_eq!(pool.block(&ledger.state, 0).transactions, []);
}

/// A transaction that does not wait in the pool is verified, also if one with the same content does.
#[test]
fn the_pool_vouches_for_the_same_bytes_only() {
    let ledger = Ledger::new();
    let mut pool = PendingTransactions::default();
    let good = ledger.signed(4, transfer(5, 1));
    pool.admit(good, &ledger.state).unwrap();
    let mut bytes = good.to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = octet_coins::SignedTransaction::from_bytes(&bytes).unwrap();
    assert!(ledger.state.check_with(&ledger.next(vec![forged]), &pool).is_err());
    assert!(ledger.state.check_with(&ledger.next(vec![good]), &pool).is_ok());
    assert_eq!(pool.admit(forged, &ledger.state), Err(InvalidTransaction::Nonce));
}

#[test]
fn nonces_wait_for_those_before() {
    let mut ledger = Ledger::new();
    let mut pool = PendingTransactions::default();
    let [first, second, third] =
        [1, 2, 3].map(|nonce| ledger.numbered(4, nonce, transfer(5, nonce)));
    let other = ledger.numbered(3, 1, transfer(5, 9));
    for later in [third, second, other] {
        assert_eq!(pool.admit(later, &ledger.state), Ok(true));
    }
    assert_eq!(pool.block(&ledger.state, 0).transactions, [other]);
    // Another one with a nonce that is taken.
    let taken = ledger.numbered(4, 2, transfer(5, 77));
    assert_eq!(pool.admit(taken, &ledger.state), Err(InvalidTransaction::Nonce));
    assert_eq!(pool.admit(first, &ledger.state), Ok(true));
    let block = pool.block(&ledger.state, 0);
    assert_eq!(block.transactions, [other, first, second, third]);
    ledger.follow(&ledger.next(vec![first])).unwrap();
    pool.prune(&ledger.state);
    assert_eq!(pool.count(), 3);
    assert_eq!(pool.admit(first, &ledger.state), Err(InvalidTransaction::Nonce));
    assert_eq!(pool.block(&ledger.state, 0).transactions, [second, third, other]);
}

#[test]
fn no_height_is_begun_for_what_cannot_be_in_it() {
    let mut ledger = Ledger::new();
    let mut pool = PendingTransactions::default();
    let [first, second] = [1, 2].map(|nonce| ledger.numbered(4, nonce, transfer(5, nonce)));
    pool.admit(second, &ledger.state).unwrap();
    assert!(pool.is_empty());
    ledger.follow(&ledger.next(vec![first])).unwrap();
    pool.prune(&ledger.state);
    assert!(!pool.is_empty());
    // What cannot be valid now is forgotten after some heights.
    let mut pool = PendingTransactions::default();
    let late = ledger.numbered(3, 2, transfer(5, 1));
    pool.admit(late, &ledger.state).unwrap();
    ledger.pass(256);
    pool.prune(&ledger.state);
    assert_eq!(pool.count(), 1);
    ledger.pass(1);
    pool.prune(&ledger.state);
    assert_eq!(pool.count(), 0);
}

#[test]
fn one_signer_has_so_many_that_wait() {
    let mut ledger = Ledger::with_lock(1000);
    let mut pool = PendingTransactions::default();
    let nonce = ledger.state.account(&crate::ledger::owner(4).public()).unwrap().nonce;
    let far = ledger.numbered(4, nonce + 17, transfer(5, 1));
    assert_eq!(pool.admit(far, &ledger.state), Err(InvalidTransaction::Nonce));
    for ahead in 1..=16 {
        let next = ledger.numbered(4, nonce + ahead, transfer(5, 1));
        assert_eq!(pool.admit(next, &ledger.state), Ok(true));
    }
    // Of a payee's key likewise.
    for bytes in 101..=116 {
        let claim = ledger.claim_transaction(ledger.receipt(bytes));
        assert_eq!(pool.admit(claim, &ledger.state), Ok(true));
    }
    let claim = ledger.claim_transaction(ledger.receipt(117));
    assert_eq!(pool.admit(claim, &ledger.state), Err(InvalidTransaction::Full));
    // Others are not in the way.
    assert_eq!(pool.admit(ledger.signed(5, transfer(4, 1)), &ledger.state), Ok(true));
    let block = pool.block(&ledger.state, 0);
    assert_eq!(block.transactions.len(), 33);
    ledger.follow(&block).unwrap();
    pool.prune(&ledger.state);
    assert_eq!(pool.count(), 0);
    assert_eq!(pool.admit(claim, &ledger.state), Ok(true));
}

#[test]
fn a_part_is_kept_for_those_of_whom_none_waits() {
    use octet_coins::{Genesis, LedgerState};
    use octet_node::key::PrivateKey;
    let key = |number: u16| {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        PrivateKey::from_seed(seed).unwrap()
    };
    let base = genesis_with(4);
    let balances = (0..1300).map(|number| (key(number).public(), BALANCE)).collect();
    let validators = base.validators().to_vec();
    let genesis = Genesis::new("wide", validators, balances, *base.parameters()).unwrap();
    let state = LedgerState::new(&genesis);
    let mut pool = PendingTransactions::default();
    let signed = |number: u16, nonce| {
        let signer = key(number);
        let action = transfer(5, 1);
        let transaction = octet_coins::Transaction { signer: signer.public(), nonce, action };
        octet_coins::SignedTransaction::sign(transaction, &genesis.hash(), &signer)
    };
    for number in 0..192 {
        for nonce in 1..=16 {
            assert_eq!(pool.admit(signed(number, nonce), &state), Ok(true));
        }
    }
    // 192 signers have taken all but the part.
    let full = Err(InvalidTransaction::Full);
    for number in 192..192 + 1024 {
        assert_eq!(pool.admit(signed(number, 1), &state), Ok(true));
        if number == 192 {
            assert_eq!(pool.admit(signed(number, 2), &state), full);
        }
    }
    assert_eq!(pool.count(), MAX_PENDING);
    assert_eq!(pool.admit(signed(1299, 1), &state), full);
    // A block has as many as it may.
    let block = pool.block(&state, 0);
    assert_eq!(block.transactions.len(), 1024);
    assert!(block.to_bytes().len() <= MAX_BLOCK);
    let next = state.check_with(&block, &pool).unwrap();
    pool.prune(&next);
    assert_eq!(pool.count(), MAX_PENDING - 1024);
    assert_eq!(pool.admit(signed(1299, 1), &next), Ok(true));
}

/// Claims are larger: 870 of them fill a block.
#[test]
fn a_block_has_room_for_so_many_bytes() {
    let ledger = Ledger::with_lock(1000);
    let claim = ledger.claim_transaction(ledger.receipt(1));
    let mut block = ledger.next(vec![claim; 870]);
    assert!(block.to_bytes().len() <= MAX_BLOCK);
    block.transactions.push(claim);
    assert!(block.to_bytes().len() > MAX_BLOCK);
}

#[test]
fn what_became_invalid_is_forgotten() {
    let mut ledger = Ledger::with_lock(1000);
    let mut pool = PendingTransactions::default();
    let older = ledger.claim_transaction(ledger.receipt(200));
    let newer = ledger.claim_transaction(ledger.receipt(300));
    let more = ledger.claim_transaction(ledger.receipt(5000));
    for claim in [older, newer, more] {
        pool.admit(claim, &ledger.state).unwrap();
    }
    ledger.follow(&ledger.next(vec![newer])).unwrap();
    pool.prune(&ledger.state);
    assert!(!pool.contains(&older.hash()) && !pool.contains(&newer.hash()));
    // The rest of this one waits for coins.
    ledger.follow(&ledger.next(vec![more])).unwrap();
    pool.prune(&ledger.state);
    assert!(pool.contains(&more.hash()) && pool.is_empty());
    ledger.act(4, lock(9000)).unwrap();
    pool.prune(&ledger.state);
    assert!(!pool.is_empty());
    assert_eq!(pool.block(&ledger.state, 0).transactions, [more]);
    // What another transaction of the signer forestalled.
    let withdrawal = ledger.signed(4, withdraw());
    pool.admit(withdrawal, &ledger.state).unwrap();
    ledger.act(4, transfer(5, FEE)).unwrap();
    pool.prune(&ledger.state);
    assert!(!pool.contains(&withdrawal.hash()));
}

/// The numbers of its claims are not those of its other transactions.
#[test]
fn a_key_may_be_an_owners_and_a_payees() {
    use octet_coins::{Action, Possession, SignedTransaction, Transaction};
    use octet_receipts::Receipt;

    use crate::ledger::{node, owner, receipt, sub_key};

    let mut ledger = Ledger::new();
    ledger.bind(4, 1);
    let (key, its_node) = (owner(5).public(), node(5));
    let consent = Possession::of_sub_key(&ledger.hash(), &key, &its_node, 1, &owner(5));
    let bind = Action::BindKey { node: its_node, key, epoch: 1, max_per_day: 0, consent };
    ledger.act(5, bind).unwrap();
    let payer = sub_key(4, 1).public();
    ledger.act(4, Action::Lock { payer, payee: key, amount: 5000 }).unwrap();
    let mut pool = PendingTransactions::default();
    for number in 0..6 {
        let receipt = ledger.sign_receipt(Receipt { payee: key, ..receipt(200 + number) });
        let transaction = Transaction { signer: key, nonce: 0, action: Action::Claim { receipt } };
        let claim = SignedTransaction::sign(transaction, &ledger.hash(), &owner(5));
        assert_eq!(pool.admit(claim, &ledger.state), Ok(true));
    }
    for nonce in [4, 3, 2] {
        let next = ledger.numbered(5, nonce, transfer(4, nonce));
        assert_eq!(pool.admit(next, &ledger.state), Ok(true));
    }
    let block = pool.block(&ledger.state, 0);
    assert_eq!(block.transactions.len(), 9);
    ledger.follow(&block).unwrap();
    pool.prune(&ledger.state);
    assert_eq!(pool.count(), 0);
}
