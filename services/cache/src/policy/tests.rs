use super::*;
use std::sync::Arc;
use tempfile::TempDir;

fn name(at: u64) -> Hash {
    Hash::new(at.to_be_bytes())
}

#[test]
fn what_was_said_is_known_after_a_start() {
    let folder = TempDir::new().unwrap();
    let open = || CachePolicy::open(&folder.path().join("policy.db"), 100_000, 100).unwrap();
    let policy = open();
    for at in 0..6 {
        policy
            .insert(name(at), 1000, if at == 0 { ObjectKind::Pinned } else { ObjectKind::Loose })
            .unwrap();
    }
    assert!(policy.unpin(name(5), PinnedBy::Operator).unwrap());
    policy.insert(name(1), 1000, ObjectKind::Pinned).unwrap();
    assert!(policy.remove(name(2)).unwrap());
    assert!(!policy.remove(name(9)).unwrap());
    assert!(
        policy.set_public(name(0), true).unwrap() && !policy.set_public(name(9), true).unwrap()
    );
    policy.record_sent([7; 32], name(0), 5000);
    policy.write_sent().unwrap();
    let usage = policy.usage();
    drop(policy);

    let policy = open();
    assert_eq!(policy.usage(), usage);
    assert_eq!((usage.used, usage.pinned), (6 * cost(1000), 2 * cost(1000)));
    assert!(
        policy.is_pinned(&name(0)) && policy.is_pinned(&name(1)) && !policy.is_pinned(&name(3))
    );
    assert!(policy.was_removed(&name(2)) && policy.was_removed(&name(9)));
    assert!(policy.is_public(&name(0)) && !policy.is_public(&name(9)));
    assert_eq!(policy.evicting(), [name(2)]);
    assert_eq!(policy.sent_to(&[7; 32]), (5000, 1));
    // A selected object is gone at once, but its room stays used until the store has deleted it.
    let gone = policy.evict(1).unwrap();
    assert_eq!(gone, [name(3)]);
    assert_eq!(policy.usage().used, usage.used);
    drop(policy);
    let policy = open();
    let mut leaving = policy.evicting();
    assert_eq!(leaving.len(), 2);
    policy.mark_deleted(&leaving).unwrap();
    assert_eq!(policy.usage().used, 4 * cost(1000));
    // It is added again.
    leaving.retain(|hash| *hash == name(2));
    policy.insert(name(2), 1000, ObjectKind::Loose).unwrap();
    assert!(!policy.was_removed(&name(2)) && !open_again(policy, open).was_removed(&name(2)));
}

#[test]
fn an_operator_and_a_keep_pin_an_object_each_for_itself() {
    let folder = TempDir::new().unwrap();
    let open = || CachePolicy::open(&folder.path().join("policy.db"), 100_000, 100).unwrap();
    let mut policy = open();
    let (kept, both) = (name(1), name(2));
    policy.insert(kept, 1000, ObjectKind::Loose).unwrap();
    policy.insert(both, 1000, ObjectKind::Pinned).unwrap();
    for hash in [kept, both] {
        policy.insert(hash, 1000, ObjectKind::Kept).unwrap();
    }
    // What is fetched or uploaded again stays pinned.
    policy.insert(kept, 1000, ObjectKind::Put).unwrap();
    let check = |policy: &CachePolicy, pins: [(bool, bool); 2], pinned: u64| {
        let of = |hash| (policy.is_pinned(&hash), policy.is_kept(&hash));
        assert_eq!(([of(kept), of(both)], policy.usage().pinned), (pins, pinned * cost(1000)));
        assert_eq!(policy.usage().used, 2 * cost(1000));
    };
    check(&policy, [(false, true), (true, true)], 2);
    policy = open_again(policy, open);
    check(&policy, [(false, true), (true, true)], 2);
    assert_eq!(policy.evictable(), 0);
    assert!(policy.unpin(kept, PinnedBy::Operator).unwrap());
    assert!(policy.unpin(both, PinnedBy::Operator).unwrap());
    check(&policy, [(false, true), (false, true)], 2);
    assert!(policy.unpin(kept, PinnedBy::Keep).unwrap());
    check(&policy, [(false, false), (false, true)], 1);
    policy = open_again(policy, open);
    check(&policy, [(false, false), (false, true)], 1);
    assert_eq!(policy.kept(), [both]);
    assert_eq!(policy.evict(1).unwrap(), [kept]);
}

fn open_again(policy: CachePolicy, open: impl Fn() -> CachePolicy) -> CachePolicy {
    drop(policy);
    open()
}

#[test]
fn the_oldest_that_was_removed_is_forgotten() {
    let folder = TempDir::new().unwrap();
    let policy = CachePolicy::open(&folder.path().join("policy.db"), 100_000, 100).unwrap();
    {
        let mut state = policy.state();
        state.removed = (1..=MAX_REMOVED as u64).map(|at| (at, name(at))).collect();
    }
    policy.remove(name(0)).unwrap();
    // A repeated removal takes no second row.
    policy.remove(name(0)).unwrap();
    assert!(policy.was_removed(&name(0)) && policy.was_removed(&name(2)));
    assert!(!policy.was_removed(&name(1)));
    assert_eq!(policy.state().removed.len(), MAX_REMOVED);
}

#[test]
fn claims_hold_room_as_long_as_they_are_there() {
    let folder = TempDir::new().unwrap();
    let policy = Arc::new(CachePolicy::open(&folder.path().join("policy.db"), 20_000, 3).unwrap());
    let (mut one, mut two) = (policy.claim(), policy.claim());
    assert_eq!(policy.grow(&mut one, 15_000), 0);
    assert_eq!(policy.grow(&mut two, 6000), 1000);
    policy.add_partial(name(1), 1000);
    drop(one);
    assert_eq!(policy.grow(&mut two, 19_001), 1);
    assert_eq!((policy.drop_partials(), policy.grow(&mut two, 19_001)), (1000, 0));
    drop(two);
    // At the maximum number of objects, one is evicted, however small it is.
    for at in 0..3 {
        policy.insert(name(at), 1, ObjectKind::Loose).unwrap();
    }
    assert_eq!(policy.grow(&mut policy.claim(), 1), 1);
}
