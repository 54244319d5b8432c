//! Locks and their withdrawal.

use octet_coins::{Action, InvalidTransaction, Possession};
use octet_node::key::PrivateKey;

use crate::ledger::{BALANCE, FEE, Ledger, WITHDRAWAL, lock, node, owner, sub_key, withdraw};

#[test]
fn coins_are_locked_and_added() {
    let mut ledger = Ledger::with_lock(1000);
    let (payer, payee) = (sub_key(4, 1).public(), sub_key(5, 1).public());
    assert_eq!(ledger.state.coin_lock(&payer, &payee).unwrap().amount, 1000);
    assert_eq!(ledger.balance(4), BALANCE - 1000 - 2 * FEE);
    assert_eq!(ledger.act(4, lock(500)), Ok(()));
    assert_eq!(ledger.state.coin_lock(&payer, &payee).unwrap().amount, 1500);
    assert_eq!(ledger.balance(4), BALANCE - 1500 - 3 * FEE);
}

#[test]
fn a_lock_has_coins_and_two_known_keys() {
    let mut ledger = Ledger::new();
    let unknown = Err(InvalidTransaction::UnknownKey);
    assert_eq!(ledger.act(4, lock(1)), unknown);
    ledger.bind(4, 1);
    assert_eq!(ledger.act(4, lock(1)), unknown);
    ledger.bind(5, 1);
    assert_eq!(ledger.act(4, lock(0)), Err(InvalidTransaction::Zero));
    // Two fees are gone by then: for the key and for the lock.
    let all = BALANCE - 2 * FEE;
    assert_eq!(ledger.act(4, lock(all + 1)), Err(InvalidTransaction::Balance));
    assert_eq!(ledger.act(5, lock(1)), Err(InvalidTransaction::NotOwner));
    assert_eq!(ledger.act(4, lock(all)), Ok(()));
}

#[test]
fn keys_of_one_owner_never_pay_each_other() {
    let mut ledger = Ledger::new();
    ledger.bind(4, 1);
    ledger.bind(5, 1);
    let second = PrivateKey::from_seed([99; 32]).unwrap();
    let (of_4, other_node, hash) = (owner(4).public(), node(9), ledger.hash());
    let consent = Possession::of_sub_key(&hash, &of_4, &other_node, 1, &second);
    let key = second.public();
    let bind = Action::BindKey { node: other_node, key, epoch: 1, max_per_day: 9, consent };
    ledger.act(4, bind).unwrap();
    let payer = sub_key(4, 1).public();
    let one_owner = Err(InvalidTransaction::OneOwner);
    assert_eq!(ledger.act(4, Action::Lock { payer, payee: key, amount: 1 }), one_owner);
    assert_eq!(ledger.act(4, Action::Lock { payer, payee: payer, amount: 1 }), one_owner);
    assert_eq!(ledger.act(4, lock(1)), Ok(()));
}

#[test]
fn a_withdrawal_takes_its_time() {
    let mut ledger = Ledger::with_lock(1000);
    let before = ledger.balance(4);
    assert_eq!(ledger.act(5, withdraw()), Err(InvalidTransaction::NotOwner));
    assert!(!ledger.state.is_counting());
    assert_eq!(ledger.act(4, withdraw()), Ok(()));
    let noticed_at = ledger.state.height();
    assert!(ledger.state.is_counting());
    assert_eq!(ledger.act(4, withdraw()), Err(InvalidTransaction::Withdrawing));
    assert_eq!(ledger.act(4, lock(1)), Err(InvalidTransaction::Withdrawing));
    // Claims go on, up to the last height.
    assert_eq!(ledger.claim(ledger.receipt(300)), Ok(()));
    ledger.pass(noticed_at + WITHDRAWAL - ledger.state.height() - 1);
    assert_eq!(ledger.balance(4), before - FEE);
    assert_eq!(ledger.claim(ledger.receipt(400)), Ok(()));
    assert_eq!(ledger.balance(4), before - FEE + 600);
    assert!(!ledger.state.is_counting());
    assert_eq!(ledger.claim(ledger.receipt(500)), Err(InvalidTransaction::NoLock));
    assert_eq!(ledger.act(4, withdraw()), Err(InvalidTransaction::NoLock));
    // A new lock: only what was not paid is due.
    assert_eq!(ledger.act(4, lock(1000)), Ok(()));
    let of_5 = ledger.balance(5);
    assert_eq!(ledger.claim(ledger.receipt(500)), Ok(()));
    assert_eq!(ledger.balance(5), of_5 + 100 - FEE);
}

#[test]
fn nothing_counts_after_all_was_claimed() {
    let mut ledger = Ledger::with_lock(1000);
    ledger.act(4, withdraw()).unwrap();
    assert_eq!(ledger.claim(ledger.receipt(999)), Ok(()));
    assert!(ledger.state.is_counting());
    assert_eq!(ledger.claim(ledger.receipt(1000)), Ok(()));
    assert!(!ledger.state.is_counting());
    assert_eq!(ledger.act(4, lock(1)), Ok(()));
}
