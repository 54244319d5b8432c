//! A coordinator that is a board.

use super::*;

/// A world whose coordinator is board 2.
fn managed() -> World {
    let mut world = World::new("first-use");
    world.book = NumberRegistry::new(world.coordinator.public(), 2);
    world
}

fn nodes(book: &NumberRegistry, rules: &EnrolmentRules) -> Vec<(u8, PublicKey, bool)> {
    let map = book.map(rules);
    map.check().unwrap();
    map.members.iter().map(|member| (member.number, member.node, member.drained)).collect()
}

#[test]
fn it_is_in_the_map_by_its_number_and_nobody_takes_that() {
    let mut world = managed();
    assert_eq!(world.join(1, 1), Ok(JoinDecision::Welcome));
    assert_eq!(world.join(3, 3), Ok(JoinDecision::Welcome));
    let own = world.coordinator.public();
    let all = [(1, world.key(1), false), (2, own, false), (3, world.key(3), false)];
    assert_eq!(nodes(&world.book, &world.rules), all);
    let map = world.book.map(&world.rules);
    assert_eq!(map.member(2).unwrap().addresses[0].to_string(), "10.20.2.2");

    let before = world.book.clone();
    assert_eq!(world.join(2, 4), Err(JoinRefusal::CoordinatorsPlace(2)));
    assert_eq!(world.join(2, 1), Err(JoinRefusal::CoordinatorsPlace(2)));
    for number in [2, 4] {
        let copy = world.coordinator.candidate(Some(number));
        let refused = world.book.join(number, &copy, &world.rules, NOW);
        assert_eq!(refused, Err(JoinRefusal::CoordinatorsKey));
    }
    let candidate = world.boards[3].candidate(None);
    assert_eq!(world.replace(2), Err(AdminError::IsCoordinator(2)));
    assert_eq!(world.book.revoke(2), Err(AdminError::IsCoordinator(2)));
    let approved = world.by_hand(|book, hand| book.approve(2, &candidate, None, hand, NOW));
    assert_eq!(approved, Err(AdminError::IsCoordinator(2)));
    assert_eq!(world.book, before);
}

#[test]
fn it_is_drained_like_another() {
    let mut world = managed();
    let own = world.coordinator.public();
    let drained = world.by_hand(|book, hand| book.drain(2, true, hand));
    assert_eq!(drained, Ok(own));
    assert_eq!(nodes(&world.book, &world.rules), [(2, own, true)]);
    // A lost registry recovers it from the map.
    world.book.version.sequence = 7;
    let map = world.coordinator.sign(world.book.map(&world.rules));
    let mut restored = NumberRegistry::new(own, 2);
    restored.recover(&map, 1, NOW).unwrap();
    assert_eq!(nodes(&restored, &world.rules), [(2, own, true)]);
    world.by_hand(|book, hand| book.drain(2, false, hand)).unwrap();
    assert_eq!(nodes(&world.book, &world.rules), [(2, own, false)]);
}

/// If another manager takes over, the old one becomes a board, and drained boards stay drained.
#[test]
fn the_one_before_is_a_board() {
    let mut world = managed();
    assert_eq!(world.join(3, 3), Ok(JoinDecision::Welcome));
    world.by_hand(|book, hand| book.drain(2, true, hand)).unwrap();
    world.by_hand(|book, hand| book.drain(3, true, hand)).unwrap();
    world.book.version.sequence = 9;
    let (old, map) =
        (world.coordinator.public(), world.coordinator.sign(world.book.map(&world.rules)));

    let mut next = World { boards: world.boards, owner: world.owner, ..managed() };
    std::mem::swap(&mut next.coordinator, &mut next.boards[2]);
    let own = next.coordinator.public();
    next.book = NumberRegistry::new(own, 3);
    let statement = next.appoint(2, Some(old));
    next.by_hand(|book, hand| book.adopt(statement, hand)).unwrap();
    // It presents its own map, like any board.
    let before = world.coordinator.candidate(Some(2));
    next.book.recover_from_map(&map, 2, &before, NOW).unwrap();
    assert_eq!(nodes(&next.book, &next.rules), [(2, old, true), (3, own, true)]);
    // The router takes over from the manager.
    next.book.version.sequence = 1;
    let map = next.coordinator.sign(next.book.map(&next.rules));
    let mut last = World { owner: next.owner, ..World::new("first-use") };
    let statement = last.appoint(3, Some(own));
    last.by_hand(|book, hand| book.adopt(statement, hand)).unwrap();
    last.book.recover_from_map(&map, 2, &before, NOW).unwrap();
    let router = last.coordinator.public();
    let all = [(0, router, false), (2, old, true), (3, own, true)];
    assert_eq!(nodes(&last.book, &last.rules), all);
}

/// The coordinator is plugged into another port: the board there is removed, and may join
/// elsewhere.
#[test]
fn it_moves() {
    let mut world = managed();
    assert_eq!(world.join(1, 1), Ok(JoinDecision::Welcome));
    world.by_hand(|book, hand| book.drain(1, true, hand)).unwrap();
    assert_eq!(world.join(2, 1), Err(JoinRefusal::CoordinatorsPlace(2)));
    world.book.set_number(1);
    assert_eq!(nodes(&world.book, &world.rules), [(1, world.coordinator.public(), true)]);
    assert_eq!(world.join(2, 1), Ok(JoinDecision::Welcome));
    // The same number again changes nothing.
    let before = world.book.clone();
    world.book.set_number(1);
    assert_eq!(world.book, before);
}

#[test]
fn the_settings_may_name_its_key() {
    let world = managed();
    let (own, other) = (world.coordinator.public(), world.key(1));
    let check = |enrol, keys: &[_]| rules(enrol, keys).check_coordinator(2, &own).is_ok();
    assert!(check("first-use", &[]) && check("pinned", &[]) && check("pinned", &[(2, own)]));
    assert!(!check("first-use", &[(2, other)]) && !check("first-use", &[(1, own)]));
    assert!(rules("first-use", &[]).check_coordinator(0, &own).is_ok());
}
