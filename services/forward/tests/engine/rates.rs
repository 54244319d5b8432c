//! The rate limits of paths: all hops enforce the limit that the source requests, and no one else
//! can change it.

use octet_forward::control::LinkMessage;
use octet_forward::engine::{MAX_RATE, PathState};

use crate::net::{Fate, Net};

/// Relays limit both directions, the end limits the incoming one; without a request there is no
/// limit.
#[test]
fn what_is_asked_for_is_what_hops_hold_to() {
    let mut net = Net::chain(4);
    let free = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    assert_eq!(net.state(0, free), Some(PathState::Up));
    assert!((0..4).all(|node| net.bounds(node).is_empty()));
    assert_eq!(net.rate(0, free), None);
    let path = net.request_path_at(0, &[1, 2, 3], 1000);
    assert_eq!(net.rate(0, path), None, "nobody has granted it yet");
    net.run();
    assert_eq!(net.rate(0, path), Some(1000));
    assert_eq!(net.bounds(0), []);
    assert_eq!(net.bounds(1), [(0, 1000), (2, 1000)]);
    assert_eq!(net.bounds(2), [(1, 1000), (3, 1000)]);
    assert_eq!(net.bounds(3), [(2, 1000)]);
    // Two paths have two limits, and each limit is removed with its path.
    let other = net.request_path_at(0, &[1], 64);
    net.run();
    let mut bounds = net.bounds(1);
    bounds.sort_unstable();
    assert_eq!(bounds, [(0, 64), (0, 1000), (2, 1000)]);
    for path in [other, path] {
        net.drop_path(0, path);
        net.run();
    }
    assert!((0..4).all(|node| net.bounds(node).is_empty()));
    assert!(net.carry(0, free).is_ok());
    net.drop_path(0, free);
    net.run();
    assert!((0..4).all(|node| net.is_clean(node)));
}

/// A rate above the kernel's maximum is granted as the maximum.
#[test]
fn nobody_grants_more_than_he_can() {
    let mut net = Net::chain(3);
    let path = net.request_path_at(0, &[1, 2], u32::MAX);
    net.run();
    assert_eq!(net.rate(0, path), Some(MAX_RATE));
    assert_eq!(net.bounds(2), [(1, MAX_RATE)]);
}

/// The reverse direction is limited before the path is up, and the limit is removed if the path
/// fails.
#[test]
fn a_path_that_is_refused_leaves_no_bound() {
    let mut net = Net::chain(4);
    net.fate = Box::new(|from, to, _| if (from, to) == (2, 3) { Fate::Lost } else { Fate::Passes });
    let path = net.request_path_at(0, &[1, 2, 3], 1000);
    net.run();
    assert_eq!(net.bounds(1), [(2, 1000)]);
    net.tick(10);
    assert!(matches!(net.state(0, path), Some(PathState::Failed(_))));
    net.tick(20);
    assert!((0..4).all(|node| net.is_clean(node)));
}

/// The source changes the rate: more, less, none, and again. Every hop learns it, including those
/// without a limit yet.
#[test]
fn it_is_changed() {
    let mut net = Net::chain(4);
    let path = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    for rate in [500, 2000, 0, 0, 64, u32::MAX, 1] {
        net.set_rate(0, path, rate);
        net.run();
        let rate = rate.min(MAX_RATE);
        assert_eq!(net.rate(0, path), Some(rate).filter(|rate| *rate > 0));
        assert_eq!(net.bounds(1), [(0, rate), (2, rate)]);
        assert_eq!(net.bounds(3), [(2, rate)]);
        assert!(net.carry(0, path).is_ok());
    }
    // The limit stays when the path is refreshed.
    for _ in 0..10 {
        net.tick(200);
        assert_eq!(net.bounds(2), [(1, 1), (3, 1)]);
    }
    net.drop_path(0, path);
    net.run();
    assert!((0..4).all(|node| net.is_clean(node)));
}

/// After a restart a daemon finds each limit unchanged, including a removed one; and the source
/// still requests the same rate.
#[test]
fn bounds_outlive_the_daemons() {
    let mut net = Net::chain(4);
    let [path, other] =
        [net.request_path_at(0, &[1, 2, 3], 700), net.request_path_at(0, &[1, 2], 900)];
    net.run();
    net.set_rate(0, other, 0);
    net.run();
    let sorted = |net: &Net, node| {
        let mut bounds = net.bounds(node);
        bounds.sort_unstable();
        bounds
    };
    let before: Vec<_> = (0..4).map(|node| sorted(&net, node)).collect();
    assert_eq!(before[1], [(0, 0), (0, 700), (2, 0), (2, 700)]);
    for round in 0..12 {
        net.restart(round % 4);
        assert_eq!((0..4).map(|node| sorted(&net, node)).collect::<Vec<_>>(), before);
        net.tick(150);
    }
    assert_eq!((net.rate(0, path), net.rate(0, other)), (Some(700), None));
    net.set_rate(0, path, 800);
    net.run();
    assert_eq!(net.bounds(3), [(2, 800)]);
    for path in [path, other] {
        net.drop_path(0, path);
        net.run();
    }
    assert!((0..4).all(|node| net.is_clean(node)));
}

/// A lost change is repeated with the next refresh. A neighbour cannot replay a change.
#[test]
fn what_is_lost_comes_again_and_counts_once() {
    let mut net = Net::chain(3);
    let path = net.request_path_at(0, &[1, 2], 700);
    net.run();
    net.fate = Box::new(|from, to, _| if (from, to) == (1, 2) { Fate::Lost } else { Fate::Passes });
    net.set_rate(0, path, 900);
    net.run();
    assert_eq!((net.bounds(1), net.bounds(2)), (vec![(0, 900), (2, 900)], vec![(1, 700)]));
    net.fate = Box::new(|_, _, _| Fate::Passes);
    net.tick(200);
    assert_eq!(net.bounds(2), [(1, 900)]);
    // Node 1 repeats a change with a previous rate.
    let is_change = |it: &&(usize, usize, LinkMessage)| {
        (it.0, it.1) == (1, 2) && matches!(it.2, LinkMessage::Change { .. })
    };
    let changes: Vec<_> = net.sent.iter().filter(is_change).map(|it| it.2.clone()).collect();
    net.set_rate(0, path, 300);
    net.run();
    for change in changes {
        net.handle_message(1, 2, change);
        net.run();
        assert_eq!(net.bounds(2), [(1, 300)]);
    }
}

/// Each change of a rate is work for the kernel's rules: per neighbour, as many are applied per
/// second as set-ups are read, and in the end the last requested rate is in force.
#[test]
fn a_flood_of_changes() {
    let mut net = Net::chain(3);
    let path = net.request_path_at(0, &[1, 2], 700);
    net.run();
    net.tick(1);
    let mut changed = 0;
    let mut before = net.bounds(1);
    for rate in 1000..2000 {
        net.set_rate(0, path, rate);
        net.run();
        changed += usize::from(net.bounds(1) != before);
        before = net.bounds(1);
    }
    assert_eq!(changed, 64);
    net.tick(200);
    assert_eq!(net.bounds(1), [(0, 1999), (2, 1999)]);
    assert_eq!(net.bounds(2), [(1, 1999)]);
}
