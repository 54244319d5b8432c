//! What a holder learns from maps that boards have kept.

use super::*;

#[test]
fn a_new_holder_takes_over_what_the_old_one_had() {
    let mut old = World::whole();
    let early = old.holder.sign(old.book.map(&old.rules));
    old.book.revoke(4).unwrap();
    old.book.version.sequence += 1;
    let late = old.holder.sign(old.book.map(&old.rules));
    // None has joined here yet; under `approve` and `pinned` none would be.
    let mut new = World { holder: Node::new(), rules: rules("approve", &[]), ..old };
    new.book = Book::new(new.holder.public(), 0);
    let stranger = NotLearned::Strange(early.map().holder);
    assert_eq!(new.book.learn(&early, NOW), Err(stranger));
    let statement = new.appoint(2, Some(early.map().holder));
    new.by_hand(|book, hand| book.adopt(statement, hand)).unwrap();
    assert_eq!(
        new.by_hand(|book, hand| book.adopt(statement, hand)).unwrap_err(),
        CannotBe::OldEpoch { said: 2, now: 2 }
    );
    new.book.learn(&early, NOW).unwrap();
    assert_eq!(new.seats(), [(1, 1), (2, 2), (3, 3), (4, 4)]);
    // A later map is the truth about it, in whatever order they come.
    new.book.learn(&late, NOW).unwrap();
    assert_eq!(new.seats(), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(new.join(4, 4), Err(Refusal::Revoked));
    assert_eq!(new.book.learn(&early, NOW), Err(NotLearned::Old));
    assert_eq!(new.join(2, 2), Ok(Verdict::Welcome));
    assert_eq!(new.book.map(&new.rules).version.epoch, 2);
    // What an owner has said since then stays.
    assert_eq!(new.join(1, 5), Err(Refusal::Another { number: 1, known: new.key(1) }));
}

#[test]
fn who_came_first_makes_room_for_whom_the_old_map_names() {
    let old = World::whole();
    let map = old.holder.sign(old.book.map(&old.rules));
    let mut new = World { holder: Node::new(), ..old };
    new.book = Book::new(new.holder.public(), 0);
    let statement = new.appoint(2, Some(map.map().holder));
    new.by_hand(|book, hand| book.adopt(statement, hand)).unwrap();
    assert_eq!(new.join(1, 5), Ok(Verdict::Welcome));
    new.replace(2).unwrap();
    assert_eq!(new.join(2, 6), Ok(Verdict::Welcome));
    new.book.learn(&map, NOW).unwrap();
    assert_eq!(new.seats(), [(1, 1), (2, 6), (3, 3), (4, 4)]);
}

#[test]
fn a_holder_whose_disk_was_put_back_learns_of_what_it_has_forgotten() {
    let mut world = World::whole();
    let mut restored = world.book.clone();
    world.book.version.sequence = 7;
    world.book.revoke(1).unwrap();
    let newer = world.holder.sign(world.book.map(&world.rules));
    restored.learn(&newer, NOW).unwrap();
    assert_eq!(restored.version, newer.map().version);
    world.book = restored;
    assert_eq!(world.seats(), [(2, 2), (3, 3), (4, 4)]);
    assert_eq!(world.join(1, 1), Err(Refusal::Revoked));
    assert_eq!(world.join(1, 5), Err(Refusal::Closed(1)));
    assert_eq!(world.book.learn(&newer, NOW), Err(NotLearned::Old));
}

/// After its disk was put back a holder makes as many maps as there were, before it hears of those.
#[test]
fn a_map_of_the_same_number_is_learned_from() {
    let mut world = World::whole();
    let publish = |world: &mut World| {
        world.book.version.sequence += 1;
        let signed = world.holder.sign(world.book.map(&world.rules));
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
        assert_eq!(world.book.learn(known, NOW), Err(NotLearned::Old));
    }
    world.book.learn(&lost, NOW).unwrap();
    assert!(world.book.version > lost.map().version, "a newer one than both is made");
    // Who was revoked is; what was said by hand since then stays.
    assert_eq!(world.seats(), [(2, 5), (3, 3), (4, 4)]);
    assert_eq!(world.join(1, 1), Err(Refusal::Revoked));
    assert_eq!(world.book.learn(&lost, NOW), Err(NotLearned::Old));
}
