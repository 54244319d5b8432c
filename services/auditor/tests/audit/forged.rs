//! Blocks that break the rules, and that all validators have signed. Each stands beside one that does not.

use std::collections::BTreeMap;

use octet_auditor::{BrokenRule, Difference, Mismatch};
use octet_coins::{Action, SignedTransaction, Transaction, VotedChange};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_receipts::{Receipt, SignedReceipt};
use ring::digest::{SHA256, digest};

use crate::chain::{Chain, HEIGHTS, genesis_file, owner, sub_key, validator};

pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// The hash of the chain's state with changed rows.
fn state_with(chain: &Chain, change: impl Fn(&mut Rows)) -> [u8; 32] {
    let mut rows: Rows = chain.state.rows().collect();
    change(&mut rows);
    let mut groups = vec![vec![]; 1024];
    for (key, value) in rows {
        let hash = sha256(&key);
        groups[usize::from(hash[0]) * 4 + usize::from(hash[1] / 64)].extend([key, value].concat());
    }
    let mut all = [&b"octet state 1\0"[..], &chain.genesis.0].concat();
    for group in groups {
        all.extend(if group.is_empty() { vec![0; 32] } else { sha256(&group) });
    }
    sha256(&all).try_into().unwrap()
}

pub fn add(rows: &mut Rows, key: &[u8], more: i64) {
    let value = rows.get_mut(key).unwrap();
    let number = u64::from_be_bytes(value[..8].try_into().unwrap());
    value[..8].copy_from_slice(&number.wrapping_add_signed(more).to_be_bytes());
}

pub fn account(number: usize) -> Vec<u8> {
    [&[2], &owner(number).public().as_bytes()[..]].concat()
}

/// The validators say that the state is another one than it is.
pub fn is_found(chain: &Chain, change: impl Fn(&mut Rows)) {
    let mut block = chain.block(0, vec![]);
    assert_eq!(state_with(chain, |_| {}), block.state);
    assert_eq!(chain.opinion(&block), Ok(()));
    block.state = state_with(chain, change);
    let Err(difference) = chain.opinion(&block) else { panic!("it was not found") };
    assert!(matches!(difference.what, Mismatch::State { .. }), "{difference}");
    assert!(difference.is_signed() && difference.transaction.is_none());
}

#[test]
fn a_coin_more_is_found() {
    is_found(&Chain::small(), |rows| add(rows, &account(4), 1));
    is_found(&Chain::with_lock(1000), |rows| add(rows, &account(4), -1));
    let lock = [&[5], &sub_key(4).public().as_bytes()[..], sub_key(5).public().as_bytes()].concat();
    is_found(&Chain::with_lock(1000), |rows| add(rows, &lock, 1));
    is_found(&Chain::with_lock(1000), |rows| {
        rows.insert(account(9), vec![0; 16]);
    });
}

#[test]
fn a_fee_that_was_not_taken_is_found() {
    let mut chain = Chain::small();
    chain.act(4, Action::Transfer { to: owner(5).public(), amount: 10 });
    is_found(&chain, |rows| {
        add(rows, &account(4), 100);
        rows.remove(&vec![1]);
    });
    // A claim that is free.
    let mut chain = Chain::with_lock(1000);
    chain.run(vec![chain.claim(50)]);
    is_found(&chain, |rows| {
        add(rows, &account(5), 100);
        add(rows, &[1], -100);
    });
}

/// The payee would have what the lock did not.
#[test]
fn a_lock_that_paid_beyond_is_found() {
    let mut chain = Chain::with_lock(1000);
    chain.run(vec![chain.claim(1500)]);
    assert_eq!(chain.state.account(&owner(5).public()).unwrap().balance, 1_000_800);
    is_found(&chain, |rows| {
        add(rows, &account(5), 500);
        add(rows, &account(4), -500);
    });
    assert_eq!(chain.rule(vec![chain.claim(1500)]), Some(BrokenRule::NoLock));
    chain.act(4, Chain::lock_of(10));
    assert_eq!(chain.rule(vec![chain.claim(1500)]), None);
}

#[test]
fn a_lock_that_returned_early_is_found() {
    let mut chain = Chain::with_lock(1000);
    chain.act(4, Chain::withdrawal());
    chain.pass(HEIGHTS.withdrawal - 1);
    let lock = [&[5], &sub_key(4).public().as_bytes()[..], sub_key(5).public().as_bytes()].concat();
    is_found(&chain, |rows| {
        rows.remove(&lock);
        add(rows, &account(4), 1000);
    });
    chain.pass(1);
    assert_eq!(chain.state.coin_lock(&sub_key(4).public(), &sub_key(5).public()), None);
    assert_eq!(chain.audit.summary().locks, 0);
}

#[test]
fn a_claim_is_paid_once() {
    let mut chain = Chain::with_lock(5000);
    let claim = chain.claim(1000);
    assert_eq!(chain.rule(vec![claim]), None);
    assert_eq!(chain.rule(vec![claim, claim]), Some(BrokenRule::PaidBefore));
    chain.run(vec![claim]);
    assert_eq!(chain.rule(vec![claim]), Some(BrokenRule::PaidBefore));
    assert_eq!(chain.rule(vec![chain.claim(999)]), Some(BrokenRule::PaidBefore));
    assert_eq!(chain.rule(vec![chain.claim(1001)]), None);
    let mut receipt = *receipt_of(&chain.claim(2000));
    receipt.price *= 2;
    receipt.amount *= 2;
    assert_eq!(chain.rule(vec![chain.claim_of(receipt)]), Some(BrokenRule::PriceChanged));
    receipt.epoch = 2;
    assert_eq!(chain.rule(vec![chain.claim_of(receipt)]), None);
    receipt.epoch = 0;
    assert_eq!(chain.rule(vec![chain.claim_of(receipt)]), Some(BrokenRule::PaidBefore));
    let summary = chain.audit.summary();
    assert_eq!((summary.claims, summary.claimed), (1, 1000));
}

/// An older receipt promises more than was paid of the newest one, and is superseded nevertheless.
#[test]
fn an_older_receipt_is_superseded() {
    let mut chain = Chain::with_lock(500);
    chain.run(vec![chain.claim(1000)]);
    chain.act(4, Chain::lock_of(500));
    assert_eq!(chain.rule(vec![chain.claim(800)]), Some(BrokenRule::PaidBefore));
    assert_eq!(chain.rule(vec![chain.claim(1000)]), None);
}

fn receipt_of(signed: &SignedTransaction) -> &Receipt {
    let Action::Claim { receipt } = &signed.transaction().action else { panic!("no claim") };
    receipt.receipt()
}

#[test]
fn a_void_key_pays_nothing() {
    let mut chain = Chain::with_lock(5000);
    chain.act(4, Action::RevokeKey { key: Chain::payer().public() });
    assert_eq!(chain.rule(vec![chain.order(4, Chain::lock_of(1))]), Some(BrokenRule::ClosedKey));
    chain.pass(HEIGHTS.claim - 1);
    assert_eq!(chain.rule(vec![chain.claim(10)]), None);
    chain.pass(1);
    assert_eq!(chain.rule(vec![chain.claim(10)]), Some(BrokenRule::ClosedKey));
}

#[test]
fn receipts_are_the_payers_for_this_ledger() {
    let chain = Chain::with_lock(5000);
    let genuine = *receipt_of(&chain.claim(1000));
    let claim = |receipt: SignedReceipt, by: &PrivateKey, nonce| {
        let action = Action::Claim { receipt };
        let transaction = Transaction { signer: by.public(), nonce, action };
        chain.rule(vec![SignedTransaction::sign(transaction, &chain.genesis, by)])
    };
    let (payer, payee) = (Chain::payer(), Chain::payee());
    let signed = SignedReceipt::sign(genuine, &chain.genesis.0, &payer).unwrap();
    assert_eq!(claim(signed, &payee, 0), None);
    assert_eq!(claim(signed, &payee, 1), Some(BrokenRule::OutOfTurn));
    assert_eq!(claim(signed, &owner(5), 0), Some(BrokenRule::NotPayee));
    let without = SignedReceipt::sign(genuine, &[0; 32], &payer).unwrap();
    assert_eq!(claim(without, &payee, 0), Some(BrokenRule::ForgedReceipt));
    let mut bytes = signed.to_bytes();
    bytes[128] ^= 1;
    let more = SignedReceipt::from_bytes(&bytes).unwrap();
    assert_eq!(claim(more, &payee, 0), Some(BrokenRule::Arithmetic));
    let mut bytes = signed.to_bytes();
    bytes[150] ^= 1;
    let other = SignedReceipt::from_bytes(&bytes).unwrap();
    assert_eq!(claim(other, &payee, 0), Some(BrokenRule::ForgedReceipt));
    let unbound = Receipt { payer: sub_key(8).public(), ..genuine };
    let unbound = SignedReceipt::sign(unbound, &chain.genesis.0, &sub_key(8)).unwrap();
    assert_eq!(claim(unbound, &payee, 0), Some(BrokenRule::NotBound));
}

#[test]
fn a_day_has_its_limit() {
    let mut chain = Chain::small();
    let Action::BindKey { node, key, epoch, consent, .. } = chain.bind(4, &Chain::payer(), 1)
    else {
        panic!("no key")
    };
    let bind = Action::BindKey { node, key, epoch, max_per_day: 300, consent };
    let payee = chain.order(5, chain.bind(5, &Chain::payee(), 1));
    chain.run(vec![chain.order(4, bind), payee]);
    chain.act(4, Chain::lock_of(1000));
    chain.run(vec![chain.claim(500)]);
    assert_eq!(chain.audit.summary().claimed, 300);
    chain.pass(HEIGHTS.day - 5);
    assert_eq!(chain.rule(vec![chain.claim(500)]), Some(BrokenRule::DayOver));
    chain.pass(1);
    chain.run(vec![chain.claim(500)]);
    assert_eq!(chain.audit.summary().claimed, 500);
}

#[test]
fn owners_order_in_turn_what_they_have() {
    let chain = Chain::small();
    let transfer = |to: usize, amount| Action::Transfer { to: owner(to).public(), amount };
    let rule = |action| chain.rule(vec![chain.order(4, action)]);
    assert_eq!(rule(transfer(5, 999_900)), None);
    assert_eq!(rule(transfer(5, 999_901)), Some(BrokenRule::NoCoins));
    assert_eq!(rule(transfer(5, 0)), Some(BrokenRule::Nothing));
    assert_eq!(rule(transfer(4, 1)), Some(BrokenRule::OneOwner));
    let weak = PublicKey::new(std::array::from_fn(|at| u8::from(at == 0)));
    let to_all = Action::Transfer { to: weak, amount: 1 };
    assert_eq!(rule(to_all), Some(BrokenRule::UnusableKey));
    let [first, second] = [0, 1].map(|others| chain.order_after(4, others, transfer(5, 1)));
    assert_eq!(chain.rule(vec![first, second]), None);
    assert_eq!(chain.rule(vec![first, first]), Some(BrokenRule::OutOfTurn));
    assert_eq!(chain.rule(vec![second]), Some(BrokenRule::OutOfTurn));
    assert_eq!(chain.rule(vec![chain.order(8, transfer(5, 1))]), Some(BrokenRule::NoCoins));
    let hill =
        SignedTransaction::sign(*first.transaction(), &octet_coins::BlockHash([1; 32]), &owner(4));
    assert_eq!(chain.rule(vec![hill]), Some(BrokenRule::Forged));
    let thief = SignedTransaction::sign(*first.transaction(), &chain.genesis, &owner(5));
    assert_eq!(chain.rule(vec![thief]), Some(BrokenRule::Forged));
}

#[test]
fn keys_are_bound_once_and_with_their_consent() {
    let chain = Chain::with_lock(1000);
    let new = sub_key(8);
    let rule = |by: usize, action| chain.rule(vec![chain.order(by, action)]);
    assert_eq!(rule(4, chain.bind(4, &new, 2)), None);
    assert_eq!(rule(4, chain.bind(4, &new, 1)), Some(BrokenRule::Epoch));
    assert_eq!(rule(4, chain.bind(4, &Chain::payer(), 2)), Some(BrokenRule::BoundBefore));
    assert_eq!(rule(3, chain.bind(3, &Chain::payer(), 2)), Some(BrokenRule::BoundBefore));
    // The consent is to owner 4.
    assert_eq!(rule(3, chain.bind(4, &new, 2)), Some(BrokenRule::NoConsent));
    let revoke = Action::RevokeKey { key: Chain::payer().public() };
    assert_eq!(rule(5, revoke), Some(BrokenRule::NotBound));
    assert_eq!(rule(4, revoke), None);
    // A higher epoch closes the former key.
    let [bind, revoke] = [(0, chain.bind(4, &new, 2)), (1, revoke)]
        .map(|(others, action)| chain.order_after(4, others, action));
    assert_eq!(chain.rule(vec![bind, revoke]), Some(BrokenRule::ClosedKey));
}

#[test]
fn locks_are_between_owners() {
    let mut chain = Chain::with_lock(1000);
    let rule = |chain: &Chain, by: usize, action| chain.rule(vec![chain.order(by, action)]);
    assert_eq!(rule(&chain, 4, Chain::lock_of(1)), None);
    assert_eq!(rule(&chain, 4, Chain::lock_of(0)), Some(BrokenRule::Nothing));
    assert_eq!(rule(&chain, 3, Chain::lock_of(1)), Some(BrokenRule::NotBound));
    assert_eq!(rule(&chain, 4, Chain::lock_of(998_800)), Some(BrokenRule::NoCoins));
    let own = sub_key(8);
    let bind = chain.bind(4, &own, 1);
    let Action::BindKey { key, epoch, max_per_day, .. } = bind else { panic!("no key") };
    let node = PublicKey::new([99; 32]);
    let by = owner(4).public();
    let consent = octet_coins::Possession::of_sub_key(&chain.genesis, &by, &node, epoch, &own);
    chain.act(4, Action::BindKey { node, key, epoch, max_per_day, consent });
    let to_self = Action::Lock { payer: Chain::payer().public(), payee: key, amount: 1 };
    assert_eq!(rule(&chain, 4, to_self), Some(BrokenRule::OneOwner));
    assert_eq!(rule(&chain, 5, Chain::withdrawal()), Some(BrokenRule::NotBound));
    chain.act(4, Chain::withdrawal());
    assert_eq!(rule(&chain, 4, Chain::withdrawal()), Some(BrokenRule::Withdrawn));
    assert_eq!(rule(&chain, 4, Chain::lock_of(1)), Some(BrokenRule::Withdrawn));
}

#[test]
fn validators_change_by_more_than_two_thirds() {
    let mut chain = Chain::small();
    let vote = |chain: &Chain, by| chain.vote_for(by, 4, &validator(9));
    assert_eq!(chain.rule(vec![vote(&chain, 4)]), Some(BrokenRule::NoValidator));
    chain.run(vec![vote(&chain, 0), vote(&chain, 1)]);
    assert_eq!(chain.audit.summary().validators, 4);
    let remove = |about: usize| Action::Vote {
        change: VotedChange::Remove { owner: owner(about).public() },
        consent: None,
    };
    assert_eq!(chain.rule(vec![chain.order(0, remove(1))]), Some(BrokenRule::Validators));
    chain.run(vec![vote(&chain, 2)]);
    assert_eq!(chain.audit.summary().validators, 5);
    assert_eq!(chain.rule(vec![chain.order(0, remove(1))]), None);
    assert_eq!(chain.rule(vec![chain.order(0, remove(5))]), Some(BrokenRule::NoValidator));
    assert_eq!(chain.rule(vec![vote(&chain, 3)]), Some(BrokenRule::BoundBefore));
    let again = chain.vote_for(0, 4, &validator(11));
    assert_eq!(chain.rule(vec![again]), Some(BrokenRule::HasValidator));
    let rotate =
        |by: usize, key: &PrivateKey| chain.rule(vec![chain.order(by, chain.rotation(by, key))]);
    assert_eq!(rotate(0, &validator(12)), None);
    assert_eq!(rotate(0, &validator(1)), Some(BrokenRule::BoundBefore));
    assert_eq!(rotate(4, &validator(12)), Some(BrokenRule::Epoch));
    assert_eq!(rotate(5, &validator(12)), Some(BrokenRule::NoValidator));
    let other = chain.order(0, chain.rotation(1, &validator(12)));
    assert_eq!(chain.rule(vec![other]), Some(BrokenRule::NoConsent));
}

#[test]
fn there_are_at_most_64_validators() {
    for (validators, refused) in [(63, None), (64, Some(BrokenRule::Validators))] {
        let chain = Chain::new(&genesis_file("valley", validators, &[1000], HEIGHTS));
        assert_eq!(chain.rule(vec![chain.vote_for(0, 99, &validator(150))]), refused);
    }
}

/// Who missed turns follows from the round of the block alone.
#[test]
fn a_missed_turn_is_in_the_state() {
    let mut chain = Chain::small();
    let late = chain.state.validators()[0].owner;
    chain.follow(&chain.block(1, vec![]));
    let seat = [&[7], &late.as_bytes()[..]].concat();
    is_found(&chain, |rows| {
        let value = rows.get_mut(&seat).unwrap();
        assert_eq!(value[47], 65);
        value[47] = 0;
    });
    assert_eq!(chain.state.validators().last().map(|it| it.owner), Some(late));
    // It is over after 64 heights; whose turns are missed then shows that.
    for height in 2..140u32 {
        chain.follow(&chain.block(u32::from(height % 9 == 0), vec![]));
    }
}

#[test]
fn what_is_no_transaction_is_found() {
    let chain = Chain::small();
    let good = chain.order(4, Action::Transfer { to: owner(5).public(), amount: 1 }).to_bytes();
    let judge = |bytes: &[u8]| {
        let empty = chain.block(0, vec![]).to_bytes();
        let size = (bytes.len() as u16).to_be_bytes();
        let block = [&empty[..76], &1u32.to_be_bytes(), &size, bytes].concat();
        let hash: [u8; 32] = sha256(&block).try_into().unwrap();
        let all: Vec<_> = (0..4).map(validator).collect();
        let votes = crate::chain::certificate(
            &chain.genesis,
            (1, 0, hash),
            &all.iter().collect::<Vec<_>>(),
        );
        chain.audit.clone().block(&block, &votes)
    };
    assert_eq!(judge(&good), Ok(()));
    let bad = Err(Difference { height: 1, transaction: Some(1), what: Mismatch::Transaction });
    assert_eq!(judge(&[&good[..], &[0]].concat()), bad);
    assert_eq!(judge(&good[1..]), bad);
    assert_eq!(judge(&[]), bad);
    assert_eq!(judge(&[&[2], &good[1..]].concat()), bad);
}

#[test]
fn a_block_has_its_size() {
    let mut chain = Chain::small();
    let transfer = Action::Transfer { to: owner(5).public(), amount: 1 };
    let orders = |chain: &Chain, count| {
        (0..count).map(|others| chain.order_after(4, others, transfer)).collect::<Vec<_>>()
    };
    let many = chain.block(0, orders(&chain, 1025));
    assert_eq!(chain.opinion(&many).map_err(|it| it.what), Err(Mismatch::Block));
    let most = chain.block(0, orders(&chain, 1024));
    chain.follow(&most);
    let large = vec![0; (256 << 10) + 1];
    let found = chain.audit.block(&large, &[]).map_err(|it| it.what);
    assert_eq!(found, Err(Mismatch::TooLarge(large.len())));
}
