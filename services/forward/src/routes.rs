//! The active and the backup path of a route. Pure: paths are requested, watched and dropped elsewhere.

use std::collections::BTreeSet;

use crate::engine::PathNumber;
use octet_node::address::NodeAddress;

/// The pause in seconds before another path is requested after a failure.
const RETRY_DELAY: u64 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathHealth {
    /// The path is pending.
    Pending,
    /// The other end answers, over these relays.
    Alive(Vec<NodeAddress>),
    /// The path was refused, does not answer any more, or is gone.
    Dead,
}

/// An action for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteStep {
    /// Request a path that avoids these relays.
    Request(BTreeSet<NodeAddress>),
    /// Send packets over this path.
    Use(PathNumber),
    /// Drop this path.
    Drop(PathNumber),
}

/// The paths to a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NodeRoute {
    /// Whether a backup path is wanted, which shares no relay with the active path.
    pub wants_backup: bool,
    active: Option<PathNumber>,
    backup: Option<PathNumber>,
    pending: Option<PathNumber>,
    /// When the next path may be requested, in seconds.
    retry_at: u64,
}

impl NodeRoute {
    /// The active path.
    pub fn active(&self) -> Option<PathNumber> {
        self.active
    }

    pub fn paths(&self) -> impl Iterator<Item = PathNumber> {
        [self.active, self.backup, self.pending].into_iter().flatten()
    }

    /// Whether a path is the active one.
    pub fn is_active(&self, path: PathNumber) -> bool {
        self.active == Some(path)
    }

    /// Records that a path was requested; `None` if none can be.
    pub fn set_pending(&mut self, path: Option<PathNumber>, now: u64) {
        self.pending = path;
        self.retry_at = now + RETRY_DELAY;
    }

    /// Restores a route with established paths, the first of which is active.
    pub fn restored(
        wants_backup: bool,
        active: Option<PathNumber>,
        backup: Option<PathNumber>,
    ) -> Self {
        Self { wants_backup, active, backup, ..Self::default() }
    }

    /// The actions for the current health of all paths.
    pub fn step(&mut self, now: u64, health: impl Fn(PathNumber) -> PathHealth) -> Vec<RouteStep> {
        let mut steps = vec![];
        let mut drop_dead = |path: &mut Option<PathNumber>| {
            let dead = path.filter(|it| health(*it) == PathHealth::Dead);
            if let Some(dead) = dead {
                steps.push(RouteStep::Drop(dead));
                *path = None;
            }
        };
        drop_dead(&mut self.pending);
        drop_dead(&mut self.backup);
        drop_dead(&mut self.active);
        let is_alive = |path: &PathNumber| matches!(health(*path), PathHealth::Alive(_));
        if self.active.is_none() {
            self.active = self.backup.take().or_else(|| self.pending.take_if(|it| is_alive(it)));
            steps.extend(self.active.map(RouteStep::Use));
        }
        if self.backup.is_none() {
            self.backup = self.pending.take_if(|it| is_alive(it));
        }
        let wants = self.active.is_none() || self.wants_backup && self.backup.is_none();
        if wants && self.pending.is_none() && now >= self.retry_at {
            let relays = match self.active.map(health) {
                Some(PathHealth::Alive(relays)) => relays.into_iter().collect(),
                _ => BTreeSet::new(),
            };
            steps.push(RouteStep::Request(relays));
        }
        steps
    }
}

/// The report of the other end about a path that it has requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerReport {
    /// It uses the path, and asks for answers over it.
    Active(PathNumber),
    /// It does not use the path.
    Backup(PathNumber),
}

/// Selects the path that packets to a node take. `own` is the active path of this node's route, and whether
/// that route is explicit; `used` is the current path; `report` is the other end's last report. An explicit route
/// always wins. Otherwise the last report counts, and any path is better than none. If two nodes each answer
/// over a path that the other one does not use, the one that `yields` returns to its own path.
pub fn select_path(
    own: Option<(PathNumber, bool)>,
    used: Option<PathNumber>,
    report: Option<PeerReport>,
    yields: bool,
) -> Option<PathNumber> {
    match (own, report) {
        (Some((path, true)), _) => Some(path),
        (_, Some(PeerReport::Active(theirs))) => Some(theirs),
        (Some((path, _)), Some(PeerReport::Backup(theirs))) if yields && used == Some(theirs) => {
            Some(path)
        }
        _ => used.or(own.map(|(path, _)| path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::control::PublicKey;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn relay(number: u8) -> NodeAddress {
        NodeAddress::of(&PublicKey::new([number; 32]))
    }

    #[test]
    fn one_in_use_and_one_to_fall_back_on() {
        let mut route = NodeRoute { wants_backup: true, ..NodeRoute::default() };
        let paths = |of: &[(u16, PathHealth)]| {
            let known: BTreeMap<_, _> = of.iter().cloned().collect();
            move |path: PathNumber| known.get(&path.0).cloned().unwrap_or(PathHealth::Dead)
        };
        let alive = |number| PathHealth::Alive(vec![relay(number)]);
        let [one, two, three] = [1, 2, 3].map(PathNumber);
        assert_eq!(route.step(0, paths(&[])), [RouteStep::Request(BTreeSet::new())]);
        route.set_pending(Some(one), 0);
        assert_eq!(route.step(1, paths(&[(1, PathHealth::Pending)])), []);
        // The first path is up: the second avoids its relays.
        let steps = route.step(3, paths(&[(1, alive(1))]));
        assert_eq!(steps, [RouteStep::Use(one), RouteStep::Request([relay(1)].into())]);
        route.set_pending(Some(two), 3);
        assert_eq!(route.step(4, paths(&[(1, alive(1)), (2, alive(2))])), []);
        assert_eq!(route.active(), Some(one));
        // The first path is dead: packets take the second at once, and a third is requested.
        let steps = route.step(9, paths(&[(1, PathHealth::Dead), (2, alive(2))]));
        assert_eq!(
            steps,
            [RouteStep::Drop(one), RouteStep::Use(two), RouteStep::Request([relay(2)].into())]
        );
        route.set_pending(Some(three), 9);
        // The third is refused: the next request waits.
        let refused = paths(&[(2, alive(2)), (3, PathHealth::Dead)]);
        assert_eq!(route.step(10, &refused), [RouteStep::Drop(three)]);
        assert_eq!(route.step(11, &refused), [RouteStep::Request([relay(2)].into())]);
    }

    /// A node with a route to another one, which has a route back.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct Node {
        own: (PathNumber, bool),
        used: Option<PathNumber>,
    }

    /// Both nodes, and the reports of each that are still in flight: that it does not use its path, and that it
    /// does.
    type Both = ([Node; 2], [[bool; 2]; 2]);

    /// The possible events: a route is started or restarted (0), a node reports its use of its path (1), a
    /// negative report arrives (2), a positive one arrives (3), or a node re-evaluates its path (4).
    fn after((mut nodes, mut said): Both, side: usize, what: u8) -> Both {
        let (own, theirs) = (nodes[side].own, nodes[1 - side].own.0);
        let used = &mut nodes[side].used;
        match what {
            0 => *used = Some(own.0),
            1 => said[side][usize::from(*used == Some(own.0))] = true,
            2 | 3 => {
                let heard = std::mem::take(&mut said[1 - side][usize::from(what == 3)]);
                let of = if what == 3 { PeerReport::Active } else { PeerReport::Backup };
                *used = select_path(Some(own), *used, heard.then_some(of(theirs)), side == 0);
            }
            _ => *used = select_path(Some(own), *used, None, side == 0),
        }
        (nodes, said)
    }

    /// In any order of starts and reports, two nodes agree on one path. An explicit route wins over an
    /// on-demand one, and of two explicit routes each node keeps its own.
    #[test]
    fn two_ends_come_to_agree() {
        for asked in [[false, false], [false, true], [true, false], [true, true]] {
            let node =
                |side: u16| Node { own: (PathNumber(side), asked[usize::from(side)]), used: None };
            let mut seen = BTreeSet::from([([node(0), node(1)], [[false; 2]; 2])]);
            let mut next: Vec<Both> = seen.iter().copied().collect();
            while let Some(state) = next.pop() {
                for (side, what) in (0..2).flat_map(|side| (0..5).map(move |what| (side, what))) {
                    let state = after(state, side, what);
                    if seen.insert(state) {
                        next.push(state);
                    }
                }
            }
            for state in &seen {
                let both = (0..4).flat_map(|_| [4, 1, 2, 3]).flat_map(|it| [(0, it), (1, it)]);
                let (ended, _) = both.fold(*state, |it, (side, what)| after(it, side, what));
                let used = ended.map(|node| node.used);
                let [first, second] = [0, 1].map(|side| Some(PathNumber(side)));
                match asked {
                    [true, true] => assert_eq!(used, [first, second], "from {state:?}"),
                    [true, false] => assert_eq!(used, [first, first], "from {state:?}"),
                    [false, true] => assert_eq!(used, [second, second], "from {state:?}"),
                    [false, false] => {
                        assert!(used[0].is_some() && used[0] == used[1], "from {state:?}");
                    }
                }
            }
            println!("{asked:?}: {} states", seen.len());
        }
    }

    proptest! {
        /// For any sequence of path states, the active path is never dead, no path is forgotten, and only one
        /// request is pending at a time.
        #[test]
        fn none_is_lost(wants_backup: bool, turns in prop::collection::vec((0u8..3, any::<u8>()), 1..200)) {
            let mut route = NodeRoute { wants_backup, ..NodeRoute::default() };
            let mut paths = BTreeMap::<PathNumber, PathHealth>::new();
            let mut last = 0;
            for (now, (what, which)) in turns.into_iter().enumerate() {
                let known = paths.len().max(1);
                if let Some(health) = paths.values_mut().nth(usize::from(which) % known) {
                    *health = match what {
                        0 => PathHealth::Dead,
                        1 => PathHealth::Alive(vec![relay(which)]),
                        _ => health.clone(),
                    };
                }
                let seen = paths.clone();
                for step in route.step(now as u64, |it| seen.get(&it).cloned().unwrap_or(PathHealth::Dead)) {
                    match step {
                        RouteStep::Drop(path) => prop_assert_eq!(paths.remove(&path), Some(PathHealth::Dead)),
                        RouteStep::Use(path) => prop_assert!(matches!(paths[&path], PathHealth::Alive(_))),
                        RouteStep::Request(_) => {
                            prop_assert!(!paths.values().any(|it| *it == PathHealth::Pending));
                            last += 1;
                            paths.insert(PathNumber(last), PathHealth::Pending);
                            route.set_pending(Some(PathNumber(last)), now as u64);
                        }
                    }
                }
                prop_assert_eq!(route.paths().collect::<BTreeSet<_>>(), paths.keys().copied().collect());
                prop_assert!(paths.len() <= 1 + usize::from(wants_backup));
            }
        }
    }
}
