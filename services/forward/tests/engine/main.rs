//! Paths over simulated nodes: the same pure code as on boards, and instead of their kernels a
//! label table that carries out exactly the actions.

#![cfg(test)]

mod announcements;
mod hostile;
mod net;
mod private;
mod rates;

use std::collections::BTreeSet;

use net::{Fate, Net};
use octet_forward::engine::{Engine, LAST_NUMBER, PathState};
use octet_forward::onion::{PathFailure, Reason};
use proptest::prelude::*;

#[test]
fn a_path_carries_both_ways_and_leaves_nothing_behind() {
    for hops in 1..=7 {
        let mut net = Net::chain(hops + 1);
        let path = net.request_path(0, &(1..=hops).collect::<Vec<_>>()).unwrap();
        net.run();
        assert_eq!(net.state(0, path), Some(PathState::Up), "{hops} hops");
        let end = net.end_at(hops).unwrap();
        assert_eq!(net.carry(0, path), Ok((hops, end)));
        assert_eq!(net.carry(hops, end), Ok((0, path)));
        net.drop_path(0, path);
        net.run();
        for node in 0..=hops {
            assert!(net.is_clean(node), "node {node} of {hops}");
        }
    }
}

#[test]
fn who_refuses_is_known_and_nothing_stays() {
    let mut net = Net::chain(5);
    let refused = |place, reason| Some(PathState::Failed(PathFailure::Refused(place, reason)));
    // Node 3 has no link to node 1.
    let path = net.request_path(0, &[1, 2, 3, 1]).unwrap();
    net.run();
    assert_eq!(net.state(0, path), refused(2, Reason::NoLink));
    // The path would leave by the link on which it arrives.
    let path = net.request_path(0, &[1, 2, 1]).unwrap();
    net.run();
    assert_eq!(net.state(0, path), refused(1, Reason::NoLink));
    // A node whose onion key has changed: the previous hop reports it, or the source detects it
    // itself.
    for (hop, state) in [(2, refused(0, Reason::Unreadable)), (1, Some(PathState::Unreadable))] {
        let key = |node| if node == hop { [9; 32] } else { net::key(node) };
        let path = net.request_path_with(0, &[1, 2, 3], key).unwrap();
        net.run();
        assert_eq!(net.state(0, path), state);
    }
    net.tick(20);
    assert!((0..5).all(|node| net.is_clean(node)));
}

#[test]
fn who_says_nothing_is_known() {
    let mut net = Net::chain(4);
    net.fate = Box::new(|from, to, _| if (from, to) == (2, 3) { Fate::Lost } else { Fate::Passes });
    let path = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    assert_eq!(net.state(0, path), Some(PathState::Pending));
    net.tick(10);
    // Which of the previous hops times out first is random.
    let state = net.state(0, path);
    let silent = |it: &PathState| {
        matches!(it, PathState::Failed(PathFailure::Refused(0..=1, Reason::Silent)))
    };
    assert!(state.as_ref().is_some_and(silent), "{state:?}");
    net.tick(20);
    assert!((0..4).all(|node| net.is_clean(node)));
    // Without the fault the path comes up.
    net.fate = Box::new(|_, _, _| Fate::Passes);
    let path = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    assert_eq!(net.state(0, path), Some(PathState::Up));
}

/// A path lives while its source refreshes it, and not longer than it was granted after that.
#[test]
fn it_is_refreshed_or_it_ends() {
    let mut net = Net::chain(4);
    let path = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    for _ in 0..100 {
        net.tick(60);
        assert!(net.carry(0, path).is_ok());
    }
    net.fate = Box::new(|from, _, _| if from == 0 { Fate::Lost } else { Fate::Passes });
    for _ in 0..10 {
        net.tick(60);
    }
    assert!((1..4).all(|node| net.is_clean(node)));
}

#[test]
fn with_a_link_goes_what_went_by_it() {
    let mut net = Net::chain(4);
    let path = net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    net.remove_link(1, 2);
    assert!(net.carry(0, path).is_err());
    assert!(net.is_clean(1) && net.is_clean(2));
}

/// The daemon of a node may be killed at any time: no packet is misrouted, and the node's paths
/// stay its own.
#[test]
fn paths_outlive_the_daemons() {
    let mut net = Net::chain(5);
    let path = net.request_path(0, &[1, 2, 3, 4]).unwrap();
    net.run();
    let end = net.end_at(4).unwrap();
    for node in 0..5 {
        net.restart(node);
        assert_eq!(net.carry(0, path), Ok((4, end)), "{node}");
        assert_eq!(net.carry(4, end), Ok((0, path)), "{node}");
    }
    // The path is refreshed as before, by changes that are newer than those before the restart.
    for round in 0..20 {
        net.tick(100);
        net.restart(round % 5);
        assert!(net.carry(0, path).is_ok(), "{round}");
    }
    net.drop_path(0, path);
    net.run();
    assert!((0..5).all(|node| net.is_clean(node)));
}

/// A path number is never reused, even if the daemon was killed after the path had ended.
#[test]
fn a_number_is_not_given_again() {
    let mut net = Net::chain(2);
    let mut given = BTreeSet::new();
    for round in 0..10 {
        let path = net.request_path(0, &[1]).unwrap();
        net.run();
        let end = net.end_at(1).unwrap();
        assert!(given.insert((0, path)) && given.insert((1, end)), "{path} and {end} of {round}");
        net.drop_path(0, path);
        net.run();
        assert!(net.is_clean(0) && net.is_clean(1));
        if round % 2 == 0 {
            net.restart(0);
            net.restart(1);
        }
    }
}

/// If the first hop does not answer, that is shown for a while, and then the path is forgotten.
#[test]
fn a_first_hop_that_is_off_is_shown() {
    let mut net = Net::chain(3);
    net.fate = Box::new(|_, _, _| Fate::Lost);
    let path = net.request_path(0, &[1, 2]).unwrap();
    net.tick(19);
    assert_eq!(net.state(0, path), Some(PathState::Pending));
    net.tick(1);
    assert_eq!(net.state(0, path), Some(PathState::Silent));
    net.tick(10);
    assert_eq!(net.state(0, path), None);
    assert!(net.is_clean(0));
}

/// Each node counts a path once, by its two sides; the sender's tx label is the receiver's rx
/// label. The counters of a path that has ended are reported once, in their last state, whichever
/// side ends it and even if daemons restart.
#[test]
fn each_path_is_counted_at_each_node() {
    let mut net = Net::chain(4);
    let path = net.request_path(0, &[1, 2, 3]).unwrap();
    assert_eq!(net.path_counters(0), (vec![], vec![]), "it does not stand yet");
    net.run();
    let began = net.now;
    let other = net.request_path(1, &[2]).unwrap();
    net.run();
    net.drop_path(1, other);
    net.run();
    net.tick(60);
    let before: Vec<_> = (0..4).map(|node| net.path_counters(node)).collect();
    assert_eq!(before.iter().map(|it| it.1.len()).collect::<Vec<_>>(), [0, 1, 1, 0]);
    for node in 0..4 {
        net.restart(node);
        assert_eq!(net.path_counters(node), before[node]);
        let [carried] = &before[node].0[..] else { panic!("{before:?}") };
        assert_eq!(carried.since, began);
        assert_eq!(carried.previous_hop.is_none(), node == 0);
        assert_eq!(
            carried.next_hop.map(|side| side.node),
            (node < 3).then(|| net.address(node + 1))
        );
        if let Some(side) = carried.previous_hop {
            let behind = before[node - 1].0[0].next_hop.unwrap();
            assert_eq!(
                (side.rx_label, side.tx_label),
                (behind.tx_label, behind.rx_label),
                "{node}"
            );
            assert_eq!(side.node, net.address(node - 1));
        }
    }
    // The link after the first relay fails, and the path ends from there on.
    net.remove_link(1, 2);
    net.drop_path(0, path);
    net.tick(3600);
    for (node, (stood, ended)) in before.into_iter().enumerate() {
        assert_eq!(net.path_counters(node), (vec![], [ended, stood].concat()), "{node}");
    }
    // A path that never came up is not reported.
    let all: Vec<_> = (0..4).map(|node| net.path_counters(node)).collect();
    net.link(1, 2);
    net.fate = Box::new(|_, to, _| if to == 3 { Fate::Lost } else { Fate::Passes });
    net.request_path(0, &[1, 2, 3]).unwrap();
    net.run();
    net.tick(60);
    assert_eq!((0..4).map(|node| net.path_counters(node)).collect::<Vec<_>>(), all);
}

/// A record of another program or a damaged one is ignored, and does no harm.
#[test]
fn what_is_damaged_is_left() {
    let mut net = Net::chain(3);
    net.request_path(0, &[1, 2]).unwrap();
    net.run();
    for (node, (name, bytes)) in
        (0..3).flat_map(|node| net.persisted(node).map(move |it| (node, it)))
    {
        let mut engine = net.fresh(node);
        assert!(engine.restore(&name, &bytes));
        for length in 0..bytes.len() {
            assert!(!net.fresh(node).restore(&name, &bytes[..length]), "{name}: {length}");
        }
        assert!(!net.fresh(node).restore(&name, &[&bytes[..], &[0]].concat()), "{name}");
        assert!(!net.fresh(node).restore("x-1", &bytes));
        let is_of_link = name != LAST_NUMBER;
        assert!(!is_of_link || !Engine::default().restore(&name, &bytes), "without its links");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is lost, duplicated or altered: an active path works in both directions, and at the
    /// end no state is left anywhere.
    #[test]
    fn whatever_happens_on_the_wires(
        seed: u64,
        paths in prop::collection::vec(1usize..=5, 1..8),
        faults in prop::collection::vec(0u8..12, 1..200),
    ) {
        let mut net = Net::chain(6);
        let mut faults = faults.into_iter().cycle();
        net.fate = Box::new(move |_, _, message| match faults.next() {
            Some(0) => Fate::Lost,
            Some(1) => Fate::Twice,
            Some(2) => Fate::Is(net::altered(message, seed)),
            _ => Fate::Passes,
        });
        let mut asked = vec![];
        for hops in paths {
            asked.extend(net.request_path(0, &(1..=hops).collect::<Vec<_>>()).map(|path| (path, hops)));
            net.run();
        }
        for (path, hops) in asked {
            if net.state(0, path) == Some(PathState::Up) {
                let (end, number) = net.carry(0, path).unwrap();
                prop_assert_eq!(end, hops);
                prop_assert_eq!(net.carry(end, number), Ok((0, path)));
            }
            net.drop_path(0, path);
            net.run();
        }
        net.fate = Box::new(|_, _, _| Fate::Passes);
        for _ in 0..2 {
            net.tick(3600);
        }
        prop_assert!((0..6).all(|node| net.is_clean(node)));
    }
}
