//! Votes, rotations and turns.

use octet_coins::{Action, InvalidTransaction, Possession, VotedChange};
use octet_node::control::PublicKey;

use crate::ledger::{Ledger, VOTE, genesis_with, owner, validator, weak};

fn consent(ledger: &Ledger, of: u8, epoch: u8) -> Possession {
    let key = validator(of, epoch);
    Possession::of_validator(&ledger.hash(), &owner(of).public(), epoch.into(), &key)
}

/// A vote for a validator of `of` with the key of `epoch`.
fn add(ledger: &Ledger, of: u8, epoch: u8) -> Action {
    let (owner, key) = (owner(of).public(), validator(of, epoch).public());
    let change = VotedChange::Add { owner, key, epoch: epoch.into() };
    Action::Vote { change, consent: Some(consent(ledger, of, epoch)) }
}

fn replace(ledger: &Ledger, of: u8, epoch: u8) -> Action {
    let (owner, key) = (owner(of).public(), validator(of, epoch).public());
    let change = VotedChange::Replace { owner, key, epoch: epoch.into() };
    Action::Vote { change, consent: Some(consent(ledger, of, epoch)) }
}

fn remove(of: u8) -> Action {
    let change = VotedChange::Remove { owner: owner(of).public() };
    Action::Vote { change, consent: None }
}

fn rotate(ledger: &Ledger, of: u8, epoch: u8) -> Action {
    let consent = consent(ledger, of, epoch);
    Action::RotateValidator { key: validator(of, epoch).public(), epoch: epoch.into(), consent }
}

fn is_validator(ledger: &Ledger, key: PublicKey) -> bool {
    ledger.state.validators().iter().any(|it| it.key == key)
}

#[test]
fn more_than_two_thirds_add_a_validator() {
    let mut ledger = Ledger::new();
    let vote = add(&ledger, 4, 1);
    for by in [0, 1] {
        ledger.act(by, vote).unwrap();
    }
    // Somebody votes for another key, and one votes twice.
    ledger.act(2, add(&ledger, 4, 2)).unwrap();
    ledger.act(0, vote).unwrap();
    assert_eq!(ledger.state.validators().len(), 4);
    assert!(ledger.state.is_counting());
    ledger.act(2, vote).unwrap();
    assert_eq!(ledger.state.validators().len(), 5);
    assert!(is_validator(&ledger, validator(4, 1).public()));
    assert!(!ledger.state.is_counting());
    // Of five, four are needed.
    for (by, count) in [(0, 5), (1, 5), (4, 5), (2, 4)] {
        ledger.act(by, remove(3)).unwrap();
        assert_eq!(ledger.state.validators().len(), count);
    }
    assert!(!is_validator(&ledger, validator(3, 0).public()));
}

#[test]
fn two_thirds_are_not_more() {
    let mut ledger = Ledger::of(genesis_with(6));
    for by in 0..4 {
        ledger.act(by, remove(5)).unwrap();
    }
    assert_eq!(ledger.state.validators().len(), 6);
    ledger.act(4, remove(5)).unwrap();
    assert_eq!(ledger.state.validators().len(), 5);
}

#[test]
fn only_owners_of_validators_vote() {
    let mut ledger = Ledger::new();
    let vote = add(&ledger, 5, 1);
    assert_eq!(ledger.act(4, vote), Err(InvalidTransaction::NotValidator));
    assert_eq!(ledger.act(3, vote), Ok(()));
}

#[test]
fn a_vote_lapses() {
    let mut ledger = Ledger::new();
    let vote = add(&ledger, 4, 1);
    ledger.act(0, vote).unwrap();
    let cast_at = ledger.state.height();
    ledger.act(1, vote).unwrap();
    ledger.pass(cast_at + VOTE - ledger.state.height());
    // The first one has just lapsed.
    ledger.act(2, vote).unwrap();
    assert_eq!(ledger.state.validators().len(), 4);
    ledger.pass(VOTE);
    assert!(!ledger.state.is_counting());
    // All in time, the last one in the last height.
    ledger.act(0, vote).unwrap();
    let cast_at = ledger.state.height();
    ledger.act(1, vote).unwrap();
    ledger.pass(cast_at + VOTE - 1 - ledger.state.height());
    ledger.act(2, vote).unwrap();
    assert_eq!(ledger.state.validators().len(), 5);
}

#[test]
fn votes_lapse_when_the_validators_change() {
    let mut ledger = Ledger::of(genesis_with(6));
    for by in 0..4 {
        ledger.act(by, remove(5)).unwrap();
    }
    let vote = remove(4);
    for by in 0..5 {
        ledger.act(by, vote).unwrap();
    }
    assert_eq!(ledger.state.validators().len(), 5);
    assert!(!ledger.state.is_counting());
    ledger.act(3, remove(5)).unwrap();
    assert_eq!(ledger.state.validators().len(), 5);
}

#[test]
fn four_owners_remain() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.act(0, remove(3)), Err(InvalidTransaction::TooFewValidators));
    let mut ledger = Ledger::of(genesis_with(5));
    assert_eq!(ledger.act(0, remove(3)), Ok(()));
}

#[test]
fn there_are_not_too_many() {
    for (count, expected) in [(64, Err(InvalidTransaction::TooManyValidators)), (63, Ok(()))] {
        let mut ledger = Ledger::of(genesis_with(count));
        let vote = add(&ledger, 70, 1);
        assert_eq!(ledger.act(0, vote), expected);
    }
}

#[test]
fn an_owner_has_one_validator_and_a_key_one_use() {
    let mut ledger = Ledger::of(genesis_with(5));
    let vote = add(&ledger, 1, 7);
    assert_eq!(ledger.act(0, vote), Err(InvalidTransaction::IsValidator));
    // Another owner with the key of a validator, who has even agreed.
    let (of_6, key) = (owner(6).public(), validator(1, 0));
    let consent = Some(Possession::of_validator(&ledger.hash(), &of_6, 1, &key));
    let change = VotedChange::Add { owner: of_6, key: key.public(), epoch: 1 };
    let refused = Err(InvalidTransaction::BoundBefore);
    assert_eq!(ledger.act(0, Action::Vote { change, consent }), refused);
    // A removed validator comes back with a new key only.
    for by in 0..4 {
        ledger.act(by, remove(4)).unwrap();
    }
    let again = add(&ledger, 4, 0);
    assert_eq!(ledger.act(0, again), refused);
    assert_eq!(ledger.act(0, add(&ledger, 4, 1)), Ok(()));
    let unknown = Err(InvalidTransaction::NotValidator);
    assert_eq!(ledger.act(0, remove(4)), unknown);
    assert_eq!(ledger.act(0, replace(&ledger, 4, 1)), unknown);
}

#[test]
fn a_validators_key_agrees() {
    let mut ledger = Ledger::new();
    let vote = add(&ledger, 4, 1);
    let Action::Vote { change, consent: Some(its) } = vote else { panic!() };
    let no = Err(InvalidTransaction::NoConsent);
    for bad in [consent(&ledger, 4, 2), consent(&ledger, 3, 1)] {
        assert_eq!(ledger.act(0, Action::Vote { change, consent: Some(bad) }), no);
    }
    // It cannot even be encoded.
    let missing = ledger.signed(0, Action::Vote { change, consent: None });
    assert_eq!(missing.verify(&ledger.hash()), no);
    let change = VotedChange::Add { owner: weak(), key: validator(4, 1).public(), epoch: 1 };
    let key = validator(4, 1);
    let consent = Some(Possession::of_validator(&ledger.hash(), &weak(), 1, &key));
    let weak = Err(InvalidTransaction::WeakKey);
    assert_eq!(ledger.act(0, Action::Vote { change, consent }), weak);
    assert_eq!(ledger.act(0, vote), Ok(()));
    let (hash, of_0, key) = (ledger.hash(), owner(0).public(), validator(0, 1).public());
    let bad = Possession::of_validator(&hash, &of_0, 2, &validator(0, 1));
    let bad = Action::RotateValidator { key, epoch: 1, consent: bad };
    assert_eq!(ledger.act(0, bad), no);
    assert_eq!(ledger.act(0, rotate(&ledger, 0, 1)), Ok(()));
    assert!(its != bad_consent());
}

fn bad_consent() -> Possession {
    Possession([0; 64])
}

#[test]
fn an_owner_rotates_its_key() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.act(4, rotate(&ledger, 4, 1)), Err(InvalidTransaction::NotValidator));
    assert_eq!(ledger.act(0, rotate(&ledger, 0, 2)), Ok(()));
    assert!(is_validator(&ledger, validator(0, 2).public()));
    assert!(!is_validator(&ledger, validator(0, 0).public()));
    assert_eq!(ledger.state.validators().len(), 4);
    let lower = Err(InvalidTransaction::LowerEpoch);
    assert_eq!(ledger.act(0, rotate(&ledger, 0, 1)), lower);
    let before = Err(InvalidTransaction::BoundBefore);
    assert_eq!(ledger.act(0, rotate(&ledger, 0, 2)), before);
    assert_eq!(ledger.act(0, rotate(&ledger, 0, 3)), Ok(()));
}

/// The others replace the key of an owner who has lost its key.
#[test]
fn votes_replace_a_key() {
    let mut ledger = Ledger::new();
    ledger.act(3, rotate(&ledger, 3, 2)).unwrap();
    let lower = Err(InvalidTransaction::LowerEpoch);
    assert_eq!(ledger.act(0, replace(&ledger, 3, 1)), lower);
    for by in 0..3 {
        assert!(is_validator(&ledger, validator(3, 2).public()));
        ledger.act(by, replace(&ledger, 3, 3)).unwrap();
    }
    assert!(is_validator(&ledger, validator(3, 3).public()));
    assert_eq!(ledger.state.validator_epoch(&owner(3).public()), Some(3));
}

/// Whoever is voted out cannot evade it by a new key.
#[test]
fn a_rotation_stops_no_vote() {
    let mut ledger = Ledger::of(genesis_with(5));
    for by in 0..3 {
        ledger.act(by, remove(4)).unwrap();
    }
    ledger.act(4, rotate(&ledger, 4, 1)).unwrap();
    ledger.act(3, remove(4)).unwrap();
    assert_eq!(ledger.state.validators().len(), 4);
}

#[test]
fn turns_go_round() {
    let mut ledger = Ledger::new();
    let mut seen = vec![];
    for _ in 0..8 {
        let keys: Vec<_> = (0..4).map(|round| ledger.state.proposer(round)).collect();
        let listed: Vec<_> = ledger.state.validators().iter().map(|it| it.key).collect();
        assert_eq!(keys, listed);
        assert_eq!(ledger.state.proposer(4), keys[0]);
        assert_eq!(ledger.state.proposer(u32::MAX), keys[3]);
        seen.push(keys[0]);
        ledger.pass(1);
    }
    // Each has the first turn of two of eight heights.
    seen.sort_unstable();
    assert!(seen.chunks(2).all(|pair| pair[0] == pair[1]));
    seen.dedup();
    assert_eq!(seen.len(), 4);
}

#[test]
fn who_missed_a_turn_comes_last_for_some_heights() {
    let mut ledger = Ledger::new();
    let (missing, second) = (ledger.state.proposer(0), ledger.state.proposer(1));
    let mut block = ledger.next(vec![]);
    block.round = 1;
    ledger.follow(&block).unwrap();
    for _ in 0..64 {
        assert_eq!(ledger.state.validators().len(), 4);
        assert_eq!(ledger.state.proposer(3), missing, "{}", ledger.state.height());
        ledger.pass(1);
    }
    // It has turns again.
    let mut firsts = vec![];
    for _ in 0..4 {
        firsts.push(ledger.state.proposer(0));
        ledger.pass(1);
    }
    assert!(firsts.contains(&missing) && firsts.contains(&second));
    // Who takes a late turn is present at once.
    let late = ledger.state.proposer(0);
    let mut block = ledger.next(vec![]);
    block.round = 1;
    ledger.follow(&block).unwrap();
    assert_eq!(ledger.state.proposer(3), late);
    let mut block = ledger.next(vec![]);
    block.round = 3;
    ledger.follow(&block).unwrap();
    // The other three have missed theirs.
    assert_eq!(ledger.state.proposer(0), late);
    // A round from which on everybody has missed turns.
    let last = ledger.state.proposer(u32::MAX);
    let mut block = ledger.next(vec![]);
    block.round = u32::MAX;
    ledger.follow(&block).unwrap();
    assert_eq!(ledger.state.proposer(0), last);
}
