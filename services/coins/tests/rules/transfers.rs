//! Transfers, fees, nonces and signatures.

use octet_coins::{Action, BlockHash, InvalidTransaction, SignedTransaction, Transaction};

use crate::ledger::{BALANCE, FEE, Ledger, owner, transfer, weak};

#[test]
fn a_transfer_moves_coins_and_costs_a_fee() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.act(4, transfer(5, 1000)), Ok(()));
    assert_eq!(ledger.balance(4), BALANCE - 1000 - FEE);
    assert_eq!(ledger.balance(5), BALANCE + 1000);
    assert_eq!(ledger.state.pot(), FEE);
    // The first credit creates an account.
    assert_eq!(ledger.state.account(&owner(20).public()), None);
    assert_eq!(ledger.act(4, transfer(20, 150)), Ok(()));
    assert_eq!(ledger.balance(20), 150);
    assert_eq!(ledger.act(20, transfer(4, 50)), Ok(()));
    assert_eq!(ledger.balance(20), 0);
}

#[test]
fn nobody_gives_what_he_does_not_have() {
    let mut ledger = Ledger::new();
    let all = BALANCE - FEE;
    assert_eq!(ledger.act(4, transfer(5, all + 1)), Err(InvalidTransaction::Balance));
    assert_eq!(ledger.act(4, transfer(5, u64::MAX)), Err(InvalidTransaction::Balance));
    assert_eq!(ledger.act(20, transfer(5, 1)), Err(InvalidTransaction::Balance));
    assert_eq!(ledger.act(4, transfer(5, all)), Ok(()));
    assert_eq!(ledger.act(4, transfer(5, 1)), Err(InvalidTransaction::Balance));
}

#[test]
fn transfers_of_nothing_and_to_oneself_are_refused() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.act(4, transfer(5, 0)), Err(InvalidTransaction::Zero));
    assert_eq!(ledger.act(4, transfer(4, 1)), Err(InvalidTransaction::ToSelf));
    let to_weak = Action::Transfer { to: weak(), amount: 1 };
    assert_eq!(ledger.signed(4, to_weak).verify(&ledger.hash()), Err(InvalidTransaction::WeakKey));
    assert_eq!(ledger.act(4, to_weak), Err(InvalidTransaction::WeakKey));
    assert_eq!(ledger.act(4, transfer(5, 1)), Ok(()));
}

#[test]
fn a_transaction_runs_once_and_in_its_turn() {
    let mut ledger = Ledger::new();
    let [first, second, third] =
        [1, 2, 3].map(|nonce| ledger.numbered(4, nonce, transfer(5, nonce)));
    let refused = Err(InvalidTransaction::Nonce);
    // The pool takes it, but a block does not.
    let block = ledger.next(vec![second]);
    assert!(ledger.state.check(&block).is_err());
    assert_eq!(ledger.run(first), Ok(()));
    assert_eq!(ledger.run(first), refused);
    assert_eq!(ledger.run(second), Ok(()));
    assert_eq!(ledger.run(first), refused);
    assert_eq!(ledger.run(third), Ok(()));
    // Two in one block, in order only.
    let [fourth, fifth] = [4, 5].map(|nonce| ledger.numbered(4, nonce, transfer(5, 1)));
    assert!(ledger.follow(&ledger.next(vec![fifth, fourth])).is_err());
    assert!(ledger.follow(&ledger.next(vec![fourth, fourth])).is_err());
    ledger.follow(&ledger.next(vec![fourth, fifth])).unwrap();
}

#[test]
fn only_the_signer_orders_and_for_one_ledger() {
    let mut ledger = Ledger::new();
    let forged = Err(InvalidTransaction::Forged);
    let transaction = *ledger.signed(4, transfer(5, 1)).transaction();
    let by_another = SignedTransaction::sign(transaction, &ledger.hash(), &owner(5));
    assert_eq!(ledger.run(by_another), forged);
    let elsewhere = SignedTransaction::sign(transaction, &BlockHash([0; 32]), &owner(4));
    assert_eq!(ledger.run(elsewhere), forged);
    let good = SignedTransaction::sign(transaction, &ledger.hash(), &owner(4));
    let bytes = good.to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let read = SignedTransaction::from_bytes(&changed);
        assert!(read.is_none_or(|it| it.verify(&ledger.hash()).is_err()), "bit {bit}");
    }
    assert_eq!(ledger.run(good), Ok(()));
}

/// The neutral element as key and `R`, with `s` = 0, is a signature for everything under the plain equation.
#[test]
fn a_weak_key_orders_nothing() {
    let mut ledger = Ledger::new();
    let signature_of = |key| {
        let transaction = Transaction { signer: key, nonce: 1, action: transfer(5, 1) };
        let mut bytes = SignedTransaction::sign(transaction, &ledger.hash(), &owner(4)).to_bytes();
        let at = bytes.len() - 64;
        bytes[at..].fill(0);
        bytes[at] = 1;
        SignedTransaction::from_bytes(&bytes).unwrap()
    };
    let forged = signature_of(weak());
    assert_eq!(forged.verify(&ledger.hash()), Err(InvalidTransaction::Forged));
    assert_eq!(ledger.act(4, transfer(5, 1)), Ok(()));
}
