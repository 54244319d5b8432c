//! Claims.

use octet_coins::{Action, InvalidTransaction, SignedTransaction, Transaction};
use octet_receipts::{InvalidReceipt, Receipt, SignedReceipt};

use crate::ledger::{A_BYTE, DAY, FEE, Ledger, lock, owner, receipt, sub_key, transfer};

#[test]
fn a_receipt_is_paid_once() {
    let mut ledger = Ledger::with_lock(10_000);
    let before = ledger.balance(5);
    let superseded = Err(InvalidTransaction::Superseded);
    assert_eq!(ledger.claim(ledger.receipt(1000)), Ok(()));
    assert_eq!(ledger.balance(5), before + 1000 - FEE);
    assert_eq!(ledger.claim(ledger.receipt(1000)), superseded);
    assert_eq!(ledger.claim(ledger.receipt(999)), superseded);
    assert_eq!(ledger.claim(ledger.receipt(1500)), Ok(()));
    assert_eq!(ledger.balance(5), before + 1500 - 2 * FEE);
    // Twice in one block.
    let twice = ledger.claim_transaction(ledger.receipt(1600));
    assert!(ledger.follow(&ledger.next(vec![twice, twice])).is_err());
    ledger.follow(&ledger.next(vec![twice])).unwrap();
    assert_eq!(ledger.claim(ledger.receipt(1000)), superseded);
}

#[test]
fn a_lock_bounds_what_is_paid() {
    let mut ledger = Ledger::with_lock(400);
    let before = ledger.balance(5);
    let whole = ledger.receipt(1000);
    assert_eq!(ledger.claim(whole), Ok(()));
    assert_eq!(ledger.balance(5), before + 400 - FEE);
    assert_eq!(ledger.claim(whole), Err(InvalidTransaction::NoLock));
    // The rest later, by the same receipt.
    ledger.act(4, lock(5000)).unwrap();
    // An older one promises more than was paid, but is superseded.
    assert_eq!(ledger.claim(ledger.receipt(999)), Err(InvalidTransaction::Superseded));
    assert_eq!(ledger.claim(whole), Ok(()));
    assert_eq!(ledger.balance(5), before + 1000 - 2 * FEE);
    assert_eq!(ledger.claim(whole), Err(InvalidTransaction::Superseded));
}

#[test]
fn epochs_and_scopes_are_paid_by_themselves() {
    let mut ledger = Ledger::with_lock(10_000);
    let before = ledger.balance(5);
    let of = |ledger: &Ledger, scope, epoch, bytes| {
        ledger.sign_receipt(Receipt { scope: [scope; 32], epoch, ..receipt(bytes) })
    };
    let superseded = Err(InvalidTransaction::Superseded);
    assert_eq!(ledger.claim(of(&ledger, 7, 1, 1000)), Ok(()));
    assert_eq!(ledger.claim(of(&ledger, 7, 2, 300)), Ok(()));
    assert_eq!(ledger.claim(of(&ledger, 7, 1, 2000)), superseded);
    assert_eq!(ledger.claim(of(&ledger, 7, 2, 300)), superseded);
    assert_eq!(ledger.claim(of(&ledger, 8, 1, 200)), Ok(()));
    assert_eq!(ledger.claim(of(&ledger, 7, 2, 400)), Ok(()));
    assert_eq!(ledger.balance(5), before + 1000 + 400 + 200 - 4 * FEE);
}

#[test]
fn a_price_is_fixed_within_an_epoch() {
    let mut ledger = Ledger::with_lock(10_000);
    let of = |ledger: &Ledger, epoch, price, bytes| {
        ledger.sign_receipt(Receipt { epoch, price, ..receipt(bytes) })
    };
    assert_eq!(ledger.claim(of(&ledger, 1, A_BYTE, 500)), Ok(()));
    let dearer = of(&ledger, 1, 2 * A_BYTE, 600);
    assert_eq!(ledger.claim(dearer), Err(InvalidTransaction::Price));
    // Fewer bytes for more.
    let dearer = of(&ledger, 1, 4 * A_BYTE, 400);
    assert_eq!(ledger.claim(dearer), Err(InvalidTransaction::Price));
    assert_eq!(ledger.claim(of(&ledger, 2, 2 * A_BYTE, 600)), Ok(()));
}

#[test]
fn only_what_the_payer_signed_for_this_ledger() {
    let mut ledger = Ledger::with_lock(10_000);
    let forged = Err(InvalidTransaction::Receipt(InvalidReceipt::Forged));
    for genesis in [[0; 32], [1; 32]] {
        let foreign = SignedReceipt::sign(receipt(1000), &genesis, &sub_key(4, 1)).unwrap();
        assert_eq!(ledger.claim(foreign), forged);
    }
    let mut bytes = ledger.receipt(1000).to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(ledger.claim(SignedReceipt::from_bytes(&bytes).unwrap()), forged);
    assert_eq!(ledger.claim(ledger.receipt(1000)), Ok(()));
}

#[test]
fn only_the_payee_claims() {
    let mut ledger = Ledger::with_lock(10_000);
    let receipt = ledger.receipt(1000);
    let by = |ledger: &Ledger, key: octet_node::key::PrivateKey| {
        let action = Action::Claim { receipt };
        let transaction = Transaction { signer: key.public(), nonce: 0, action };
        SignedTransaction::sign(transaction, &ledger.hash(), &key)
    };
    let refused = Err(InvalidTransaction::NotPayee);
    assert_eq!(ledger.run(by(&ledger, owner(5))), refused);
    assert_eq!(ledger.run(by(&ledger, sub_key(4, 1))), refused);
    assert_eq!(ledger.run(by(&ledger, sub_key(5, 1))), Ok(()));
}

#[test]
fn a_claim_has_no_number() {
    let mut ledger = Ledger::with_lock(10_000);
    let numbered = |ledger: &Ledger, nonce| {
        let action = Action::Claim { receipt: ledger.receipt(1000) };
        let key = sub_key(5, 1);
        let transaction = Transaction { signer: key.public(), nonce, action };
        SignedTransaction::sign(transaction, &ledger.hash(), &key)
    };
    assert_eq!(ledger.run(numbered(&ledger, 1)), Err(InvalidTransaction::Nonce));
    assert_eq!(ledger.run(numbered(&ledger, 0)), Ok(()));
}

#[test]
fn no_lock_no_claim() {
    let mut ledger = Ledger::new();
    let unknown = Err(InvalidTransaction::UnknownKey);
    assert_eq!(ledger.claim(ledger.receipt(1000)), unknown);
    ledger.bind(4, 1);
    assert_eq!(ledger.claim(ledger.receipt(1000)), unknown);
    ledger.bind(5, 1);
    assert_eq!(ledger.claim(ledger.receipt(1000)), Err(InvalidTransaction::NoLock));
    ledger.act(4, lock(1)).unwrap();
    assert_eq!(ledger.claim(ledger.receipt(1000)), Ok(()));
}

#[test]
fn a_key_pays_so_much_a_day() {
    let mut ledger = Ledger::new();
    let mut bind = ledger.bind_action(4, 1);
    if let Action::BindKey { max_per_day, .. } = &mut bind {
        *max_per_day = 600;
    }
    ledger.act(4, bind).unwrap();
    ledger.bind(5, 1);
    ledger.act(4, lock(10_000)).unwrap();
    let before = ledger.balance(5);
    assert_eq!(ledger.claim(ledger.receipt(500)), Ok(()));
    assert_eq!(ledger.claim(ledger.receipt(1000)), Ok(()));
    assert_eq!(ledger.balance(5), before + 600 - 2 * FEE);
    assert_eq!(ledger.claim(ledger.receipt(1000)), Err(InvalidTransaction::DayLimit));
    assert!(ledger.state.height() < DAY - 1);
    ledger.pass(DAY - 1 - ledger.state.height());
    assert_eq!(ledger.claim(ledger.receipt(1000)), Ok(()));
    assert_eq!(ledger.balance(5), before + 1000 - 3 * FEE);
    assert_eq!(ledger.claim(ledger.receipt(5000)), Ok(()));
    assert_eq!(ledger.balance(5), before + 1200 - 4 * FEE);
    assert_eq!(ledger.claim(ledger.receipt(5000)), Err(InvalidTransaction::DayLimit));
}

#[test]
fn a_claim_pays_its_fee() {
    let mut ledger = Ledger::with_lock(10_000);
    let all = ledger.balance(5) - FEE;
    ledger.act(5, transfer(4, all)).unwrap();
    assert_eq!(ledger.balance(5), 0);
    assert_eq!(ledger.claim(ledger.receipt(FEE - 1)), Err(InvalidTransaction::Balance));
    assert_eq!(ledger.claim(ledger.receipt(FEE)), Ok(()));
    assert_eq!(ledger.balance(5), 0);
    ledger.act(4, transfer(5, FEE)).unwrap();
    assert_eq!(ledger.claim(ledger.receipt(FEE + 1)), Ok(()));
    assert_eq!(ledger.balance(5), 1);
}
