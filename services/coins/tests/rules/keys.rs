//! Keys of units `accounts`.

use octet_coins::{Action, BlockHash, InvalidTransaction, KeyState, Possession};

use crate::ledger::{CLAIM, Ledger, lock, node, owner, sub_key, weak};

#[test]
fn a_key_agrees_to_be_bound() {
    let mut ledger = Ledger::new();
    let Action::BindKey { node: its_node, key, epoch, max_per_day, consent } =
        ledger.bind_action(4, 1)
    else {
        panic!()
    };
    let with = |consent| Action::BindKey { node: its_node, key, epoch, max_per_day, consent };
    let (of_4, hash, secret) = (owner(4).public(), ledger.hash(), sub_key(4, 1));
    let sign = |genesis, owner, node, epoch, key| {
        with(Possession::of_sub_key(genesis, owner, node, epoch, key))
    };
    let none = Err(InvalidTransaction::NoConsent);
    let others = sub_key(5, 1);
    for bad in [
        sign(&BlockHash([0; 32]), &of_4, &its_node, epoch, &secret),
        sign(&hash, &owner(5).public(), &its_node, epoch, &secret),
        sign(&hash, &of_4, &node(5), epoch, &secret),
        sign(&hash, &of_4, &its_node, 2, &secret),
        sign(&hash, &of_4, &its_node, epoch, &others),
        with(Possession::of_validator(&hash, &of_4, epoch, &secret)),
    ] {
        assert_eq!(ledger.act(4, bad), none);
    }
    // Another owner cannot use it.
    assert_eq!(ledger.act(5, with(consent)), none);
    assert_eq!(ledger.act(4, with(consent)), Ok(()));
    let bound = ledger.state.key(&key).unwrap();
    assert_eq!((bound.owner, bound.node, bound.state), (of_4, its_node, KeyState::Open));
    let mut consent = [0; 64];
    consent[0] = 1;
    let weak = Action::BindKey {
        node: its_node,
        key: weak(),
        epoch: 2,
        max_per_day,
        consent: Possession(consent),
    };
    assert_eq!(ledger.act(4, weak), none);
}

#[test]
fn a_key_is_bound_once() {
    let mut ledger = Ledger::new();
    let bind = ledger.bind_action(4, 2);
    assert_eq!(ledger.act(4, bind), Ok(()));
    let again = Err(InvalidTransaction::BoundBefore);
    assert_eq!(ledger.act(4, bind), again);
    ledger.act(4, Action::RevokeKey { key: sub_key(4, 2).public() }).unwrap();
    ledger.pass(CLAIM + 1);
    assert_eq!(ledger.state.key(&sub_key(4, 2).public()).unwrap().state, KeyState::Void);
    assert_eq!(ledger.act(4, bind), again);
    // Nor for another node, with a higher epoch.
    let (node, epoch, key) = (node(9), 9, sub_key(4, 2));
    let consent = Possession::of_sub_key(&ledger.hash(), &owner(4).public(), &node, epoch, &key);
    let elsewhere = Action::BindKey { node, key: key.public(), epoch, max_per_day: 1, consent };
    assert_eq!(ledger.act(4, elsewhere), again);
    // A lower epoch, and the same one, are refused; a higher one is not.
    let lower = Err(InvalidTransaction::LowerEpoch);
    assert_eq!(ledger.act(4, ledger.bind_action(4, 1)), lower);
    let mut same = ledger.bind_action(4, 3);
    let key = sub_key(4, 3);
    if let Action::BindKey { node, epoch, consent, .. } = &mut same {
        *epoch = 2;
        *consent = Possession::of_sub_key(&ledger.hash(), &owner(4).public(), node, 2, &key);
    }
    assert_eq!(ledger.act(4, same), lower);
    assert_eq!(ledger.act(4, ledger.bind_action(4, 3)), Ok(()));
}

#[test]
fn only_its_owner_revokes_a_key_and_once() {
    let mut ledger = Ledger::new();
    ledger.bind(4, 1);
    let revoke = Action::RevokeKey { key: sub_key(4, 1).public() };
    assert_eq!(ledger.act(5, revoke), Err(InvalidTransaction::NotOwner));
    let unknown = Action::RevokeKey { key: sub_key(4, 2).public() };
    assert_eq!(ledger.act(4, unknown), Err(InvalidTransaction::UnknownKey));
    assert!(!ledger.state.is_counting());
    assert_eq!(ledger.act(4, revoke), Ok(()));
    assert!(ledger.state.is_counting());
    assert_eq!(ledger.act(4, revoke), Err(InvalidTransaction::Closed));
}

/// After a revocation and after a rotation, on either side.
#[test]
fn nothing_is_locked_for_a_closed_key() {
    for who in [4, 5] {
        for rotate in [false, true] {
            let mut ledger = Ledger::with_lock(100);
            assert_eq!(ledger.act(4, lock(1)), Ok(()));
            let close = match rotate {
                true => ledger.bind_action(who, 2),
                false => Action::RevokeKey { key: sub_key(who, 1).public() },
            };
            ledger.act(who, close).unwrap();
            assert_eq!(ledger.act(4, lock(1)), Err(InvalidTransaction::Closed));
            ledger.pass(CLAIM + 1);
            assert_eq!(ledger.act(4, lock(1)), Err(InvalidTransaction::Closed));
        }
    }
}

#[test]
fn receipts_of_a_closed_key_are_claimed_for_a_while() {
    for rotate in [false, true] {
        let mut ledger = Ledger::with_lock(1000);
        let before = ledger.balance(4);
        let close = match rotate {
            true => ledger.bind_action(4, 2),
            false => Action::RevokeKey { key: sub_key(4, 1).public() },
        };
        ledger.act(4, close).unwrap();
        let closed_at = ledger.state.height();
        assert_eq!(ledger.claim(ledger.receipt(300)), Ok(()));
        ledger.pass(closed_at + CLAIM - ledger.state.height() - 1);
        // The last height.
        assert!(ledger.state.is_counting());
        assert_eq!(ledger.claim(ledger.receipt(500)), Ok(()));
        assert_eq!(ledger.state.height(), closed_at + CLAIM);
        assert!(!ledger.state.is_counting());
        // Then what is left has returned, and the claims are forgotten.
        assert_eq!(ledger.claim(ledger.receipt(600)), Err(InvalidTransaction::Closed));
        let (payer, payee) = (sub_key(4, 1).public(), sub_key(5, 1).public());
        assert_eq!(ledger.state.coin_lock(&payer, &payee), None);
        assert_eq!(ledger.state.claimed(&payer, &payee, &[7; 32]), None);
        assert_eq!(ledger.balance(4), before + 500 - 100);
    }
}

#[test]
fn a_closed_key_claims_for_a_while() {
    let mut ledger = Ledger::with_lock(1000);
    ledger.act(5, Action::RevokeKey { key: sub_key(5, 1).public() }).unwrap();
    ledger.pass(CLAIM - 1);
    assert_eq!(ledger.claim(ledger.receipt(500)), Ok(()));
    assert_eq!(ledger.claim(ledger.receipt(600)), Err(InvalidTransaction::Closed));
    // The payer's owner gets the rest by a withdrawal.
    ledger.act(4, crate::ledger::withdraw()).unwrap();
}
