//! Recovery from maps that boards have kept.

use super::*;
use crate::registry::recover::MAX_AHEAD;

#[test]
fn a_new_coordinator_takes_over_what_the_old_one_had() {
    let mut old = World::whole();
    let early = old.coordinator.sign(old.book.map(&old.rules));
    old.book.revoke(4).unwrap();
    old.book.version.sequence += 1;
    let late = old.coordinator.sign(old.book.map(&old.rules));
    // No board has joined yet; under `approve` and `pinned` none would be accepted.
    let mut new = World { coordinator: Node::new(), rules: rules("approve", &[]), ..old };
    new.book = NumberRegistry::new(new.coordinator.public(), 0);
    let stranger = RecoveryError::OtherCoordinator(early.map().coordinator);
    assert_eq!(new.learn(&early, 2), Err(stranger));
    let statement = new.appoint(2, Some(early.map().coordinator));
    new.by_hand(|book, hand| book.adopt(statement, hand)).unwrap();
    assert_eq!(
        new.by_hand(|book, hand| book.adopt(statement, hand)).unwrap_err(),
        AdminError::OldEpoch { said: 2, now: 2 }
    );
    new.learn(&early, 2).unwrap();
    assert_eq!(new.seats(), [(1, 1), (2, 2), (3, 3), (4, 4)]);
    // The latest map wins, in any order.
    new.learn(&late, 2).unwrap();
    assert_eq!(new.seats(), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(new.join(4, 4), Err(JoinRefusal::Revoked));
    assert_eq!(new.learn(&early, 2), Err(RecoveryError::Old));
    assert_eq!(new.join(2, 2), Ok(JoinDecision::Welcome));
    assert_eq!(new.book.map(&new.rules).version.epoch, 2);
    // An owner's later decisions stay.
    assert_eq!(new.join(1, 5), Err(JoinRefusal::Another { number: 1, known: new.key(1) }));
}

#[test]
fn who_came_first_makes_room_for_whom_the_old_map_names() {
    let old = World::whole();
    let map = old.coordinator.sign(old.book.map(&old.rules));
    let mut new = World { coordinator: Node::new(), ..old };
    new.book = NumberRegistry::new(new.coordinator.public(), 0);
    let statement = new.appoint(2, Some(map.map().coordinator));
    new.by_hand(|book, hand| book.adopt(statement, hand)).unwrap();
    assert_eq!(new.join(1, 5), Ok(JoinDecision::Welcome));
    new.replace(2).unwrap();
    assert_eq!(new.join(2, 6), Ok(JoinDecision::Welcome));
    new.learn(&map, 3).unwrap();
    assert_eq!(new.seats(), [(1, 1), (2, 6), (3, 3), (4, 4)]);
}

#[test]
fn a_coordinator_whose_disk_was_put_back_learns_of_what_it_has_forgotten() {
    let mut world = World::whole();
    let mut restored = world.book.clone();
    world.book.version.sequence = 7;
    world.book.revoke(1).unwrap();
    let newer = world.coordinator.sign(world.book.map(&world.rules));
    std::mem::swap(&mut world.book, &mut restored);
    world.learn(&newer, 2).unwrap();
    assert_eq!(world.book.version, newer.map().version);
    assert_eq!(world.seats(), [(2, 2), (3, 3), (4, 4)]);
    assert_eq!(world.join(1, 1), Err(JoinRefusal::Revoked));
    assert_eq!(world.join(1, 5), Err(JoinRefusal::Closed(1)));
    assert_eq!(world.learn(&newer, 2), Err(RecoveryError::Old));
}

/// After a restore, the coordinator makes as many maps as it had before, and then sees the old
/// ones.
#[test]
fn a_map_of_the_same_number_is_learned_from() {
    let mut world = World::whole();
    let publish = |world: &mut World| {
        world.book.version.sequence += 1;
        let signed = world.coordinator.sign(world.book.map(&world.rules));
        world.book.remember(&signed);
        signed
    };
    let first = publish(&mut world);
    let mut restored = world.book.clone();
    world.book.revoke(1).unwrap();
    let lost = publish(&mut world);
    std::mem::swap(&mut world.book, &mut restored);
    world.replace(2).unwrap();
    world.join(2, 5).unwrap();
    let own = publish(&mut world);
    assert_eq!(own.map().version, lost.map().version);
    for known in [&first, &own] {
        assert_eq!(world.learn(known, 3), Err(RecoveryError::Old));
    }
    world.learn(&lost, 3).unwrap();
    assert!(world.book.version > lost.map().version, "a newer one than both is made");
    // Revoked keys stay revoked; later decisions of the owner stay.
    assert_eq!(world.seats(), [(2, 5), (3, 3), (4, 4)]);
    assert_eq!(world.join(1, 1), Err(JoinRefusal::Revoked));
    assert_eq!(world.learn(&lost, 3), Err(RecoveryError::Old));
}

/// A map in which `coordinator` revokes board 1, signed by its key with epoch `key_epoch`.
fn forged(world: &World, coordinator: &Node, version: MapVersion, key_epoch: u64) -> SignedMap {
    let mut map = world.book.map(&world.rules);
    (map.coordinator, map.version, map.revoked) =
        (coordinator.public(), version, vec![world.key(1)]);
    map.members.retain(|member| member.node != world.key(1));
    map.members.iter_mut().filter(|it| it.number == 0).for_each(|it| {
        (it.node, it.certificates) = (coordinator.public(), vec![]);
    });
    SignedMap::sign(map, coordinator.certificate("cluster", key_epoch), &coordinator.key).unwrap()
}

/// Boards 1 to 4 at a coordinator with its second key.
fn with_a_newer_key() -> World {
    let mut world = World::whole();
    world.book.set_own_certificates(vec![world.coordinator.certificate("cluster", 2)], true);
    world.book.version.sequence = 10;
    world
}

#[test]
fn a_replaced_key_of_the_coordinator_says_nothing() {
    let mut world = with_a_newer_key();
    let before = world.book.clone();
    let show = |world: &mut World, key_epoch, sequence| {
        let signed =
            forged(world, &world.coordinator, MapVersion { epoch: 1, sequence }, key_epoch);
        let learned = world.learn(&signed, 2);
        assert!(learned.is_ok() || world.book == before);
        learned
    };
    let replaced = Err(RecoveryError::Replaced { shown: 1, seen: 2 });
    assert_eq!(show(&mut world, 1, 11), replaced);
    // Even with a valid key, a map cannot exhaust the numbers.
    for shown in [11 + MAX_AHEAD, u64::MAX] {
        let far = Err(RecoveryError::TooFarAhead { shown, known: 10 });
        assert_eq!(show(&mut world, 2, shown), far);
    }
    // A newer key belongs to a coordinator whose disk was restored; it counts as seen from then on.
    assert_eq!(show(&mut world, 3, 10 + MAX_AHEAD), Ok(()));
    assert_eq!(world.seats(), [(2, 2), (3, 3), (4, 4)]);
    let signed =
        forged(&world, &world.coordinator, MapVersion { epoch: 1, sequence: 20 + MAX_AHEAD }, 2);
    assert_eq!(world.learn(&signed, 2), Err(RecoveryError::Replaced { shown: 2, seen: 3 }));
}

#[test]
fn who_shows_a_map_is_named_in_it() {
    let world = with_a_newer_key();
    let map = world.coordinator.sign(world.book.map(&world.rules));
    let mut lost = NumberRegistry::new(world.coordinator.public(), 0);
    let before = lost.clone();
    let candidate = |board: usize| world.boards[board - 1].candidate(None);
    let mut show =
        |number, candidate: &Candidate| lost.recover_from_map(&map, number, candidate, NOW);
    // An unknown node, a board at another's port, and a copy of the coordinator's disk.
    assert_eq!(show(1, &candidate(5)), Err(RecoveryError::NotNamed(1)));
    assert_eq!(show(2, &candidate(1)), Err(RecoveryError::NotNamed(2)));
    assert_eq!(show(5, &candidate(1)), Err(RecoveryError::NotNamed(5)));
    assert_eq!(show(0, &world.coordinator.candidate(None)), Err(RecoveryError::NotNamed(0)));
    // A board with an outdated key.
    let old = Candidate { key_epoch: 1, ..candidate(1) };
    let refused = JoinRefusal::Replayed { shown: 1, seen: 2 };
    assert_eq!(show(1, &old), Err(RecoveryError::Refused(refused)));
    // A board of a coordinator that has lost all boards.
    assert_eq!(show(1, &candidate(1)), Ok(()));
    assert_eq!((before.enrolled(3), lost.enrolled(3).unwrap().node), (None, world.key(3)));
    // A revoked board.
    lost.revoke(1).unwrap();
    let revoked = RecoveryError::Refused(JoinRefusal::Revoked);
    let mut next = map.map().clone();
    next.version.sequence += 1;
    let next =
        SignedMap::sign(next, world.coordinator.certificate("cluster", 2), &world.coordinator.key);
    assert_eq!(lost.recover_from_map(&next.unwrap(), 1, &candidate(1), NOW), Err(revoked));
}

/// Maps that an appointed coordinator receives from boards of the previous one.
#[test]
fn a_replaced_key_of_the_coordinator_before_says_nothing() {
    let old = with_a_newer_key();
    let mut new = World { coordinator: Node::new(), ..old };
    let before = old.coordinator;
    let show = |world: &mut World, key_epoch, epoch, sequence| {
        let signed = forged(world, &before, MapVersion { epoch, sequence }, key_epoch);
        world.learn(&signed, 2)
    };
    let boards = new.book.clone();
    new.book = NumberRegistry { coordinator: new.coordinator.public(), learned: None, ..boards };
    let statement = new.appoint(5, Some(before.public()));
    new.by_hand(|book, hand| book.adopt(statement, hand)).unwrap();
    // The old coordinator never had the epoch of its replacement, nor made so many maps.
    for epoch in [5, u64::MAX] {
        assert_eq!(show(&mut new, 2, epoch, 1), Err(RecoveryError::OtherEpoch(epoch)));
    }
    let far = RecoveryError::TooFarAhead { shown: u64::MAX, known: 0 };
    assert_eq!(show(&mut new, 2, 4, u64::MAX), Err(far));
    // The thief connects first; a later genuine map is still accepted.
    assert_eq!(show(&mut new, 1, 4, 1 << 30), Ok(()));
    assert_eq!(show(&mut new, 2, 4, 10), Ok(()));
    assert_eq!(show(&mut new, 1, 4, 1 << 31), Err(RecoveryError::Replaced { shown: 1, seen: 2 }));
    assert_eq!(show(&mut new, 2, 4, 9), Err(RecoveryError::Old));
    assert_eq!(show(&mut new, 2, 4, 11), Ok(()));
}
