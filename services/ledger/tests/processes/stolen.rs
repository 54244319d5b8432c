//! A payer's box is stolen, and its owner revokes the key. The thief signs what he likes.

use octet_coins::{Action, Possession, SignedTransaction};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_receipts::{Receipt, SignedReceipt};

use crate::node::{BALANCE, CLAIM_HEIGHTS, Nodes, genesis, order, owner, sign};

/// The owner of the box that is stolen, and those of its payees.
const OWNER: u8 = 0;
const PAYEES: [u8; 2] = [1, 2];

/// What is locked for each payee.
const LOCKS: [u64; 2] = [10_000, 5_000];

/// The key of an owner's unit `accounts`.
fn sub_key(of: u8) -> PrivateKey {
    PrivateKey::from_seed([40 + of; 32]).unwrap()
}

/// A claim with a receipt that the payer's box, or who has it, signed for so much.
fn claim(payee: u8, amount: u64) -> SignedTransaction {
    let (payer, payee) = (sub_key(OWNER), sub_key(payee));
    let receipt = Receipt {
        payer: payer.public(),
        payee: payee.public(),
        scope: [7; 32],
        epoch: 1,
        bytes: amount,
        price: octet_receipts::UNIT_BYTES,
        amount,
    };
    let receipt = SignedReceipt::sign(receipt, &genesis().hash().0, &payer).unwrap();
    sign(&payee, 0, Action::Claim { receipt })
}

fn bind(of: u8) -> SignedTransaction {
    let (node, key) = (PublicKey::new([of; 32]), sub_key(of));
    let consent = Possession::of_sub_key(&genesis().hash(), &owner(of).public(), &node, 1, &key);
    let (key, max_per_day) = (key.public(), u64::MAX);
    order(of, 1, Action::BindKey { node, key, epoch: 1, max_per_day, consent })
}

#[test]
fn a_stolen_box_pays_no_more_than_stood_in_its_locks() {
    let mut nodes = Nodes::start();
    let fee = genesis().parameters().fee;
    let (payer, mut nonce) = (sub_key(OWNER).public(), 1);
    for of in [OWNER, PAYEES[0], PAYEES[1]] {
        nodes.submit(&bind(of));
    }
    nodes.wait_until(|state| state.accounts.iter().all(|(nonce, _)| *nonce == 1));
    for (payee, amount) in PAYEES.into_iter().zip(LOCKS) {
        nonce += 1;
        let payee = sub_key(payee).public();
        nodes.submit(&order(OWNER, nonce, Action::Lock { payer, payee, amount }));
    }
    nodes.wait_for(nonce);

    // What each payee's owner has, if it was paid so much in so many claims.
    let paid = |amount: u64, claims: u64| BALANCE - fee + amount - claims * fee;
    let wait_for = |nodes: &mut Nodes, payee: u8, balance: u64| {
        nodes.wait_until(|state| state.accounts[usize::from(payee)].1 == balance);
    };
    // The control: before the revocation, this is paid.
    nodes.submit(&claim(PAYEES[0], 3_000));
    wait_for(&mut nodes, PAYEES[0], paid(3_000, 1));

    nonce += 1;
    nodes.submit(&order(OWNER, nonce, Action::RevokeKey { key: payer }));
    nodes.wait_for(nonce);
    let revoked = nodes.height();
    // Any sum is paid as far as the lock goes.
    nodes.submit(&claim(PAYEES[0], 1 << 39));
    nodes.submit(&claim(PAYEES[1], 4_000));
    wait_for(&mut nodes, PAYEES[0], paid(LOCKS[0], 2));
    wait_for(&mut nodes, PAYEES[1], paid(4_000, 1));
    assert!(nodes.height() < revoked + CLAIM_HEIGHTS, "the claims came too late to show it");

    // Heights go on by themselves until the key is void. What is left in its locks returns.
    let spent = nonce * fee + LOCKS[0] + 4_000;
    nodes.wait_until(|state| state.accounts[usize::from(OWNER)].1 == BALANCE - spent);
    assert!(nodes.height() >= revoked);
    nodes.submit(&claim(PAYEES[1], 4_500));
    nonce += 1;
    // A transaction that came later is decided.
    nodes.pay(nonce);
    nodes.wait_for(nonce);
    for state in nodes.newest() {
        assert!(state.height >= revoked + CLAIM_HEIGHTS);
        assert_eq!(state.accounts[usize::from(PAYEES[0])].1, paid(LOCKS[0], 2));
        assert_eq!(state.accounts[usize::from(PAYEES[1])].1, paid(4_000, 1));
    }
}
