//! Which path packets to a node take, and which one is there to fall back on. Pure: the paths themselves are
//! asked for, watched and dropped elsewhere.

use std::collections::BTreeSet;

use crate::engine::PathNumber;
use octet_node::address::NodeAddress;

/// The pause before another path is asked for after one has failed, in seconds.
const RETRY_DELAY: u64 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathHealth {
    /// It does not stand yet.
    Asked,
    /// Its other end answers, over these relays.
    Alive(Vec<NodeAddress>),
    /// It was refused, does not answer any more, or is gone.
    Dead,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteStep {
    /// A path is to be asked for that has none of these relays.
    Ask(BTreeSet<NodeAddress>),
    /// Packets take this path from now on.
    Use(PathNumber),
    /// This path is not wanted any more.
    Drop(PathNumber),
}

/// The way to a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NodeRoute {
    /// Whether there is to be a second path, that has no relay of the first.
    pub has_spare: bool,
    active: Option<PathNumber>,
    spare: Option<PathNumber>,
    asked: Option<PathNumber>,
    /// When a path may be asked for again, in seconds.
    next: u64,
}

impl NodeRoute {
    /// The path that packets take.
    pub fn active(&self) -> Option<PathNumber> {
        self.active
    }

    pub fn paths(&self) -> impl Iterator<Item = PathNumber> {
        [self.active, self.spare, self.asked].into_iter().flatten()
    }

    /// What a path is in it: in use, or there to fall back on.
    pub fn is_active(&self, path: PathNumber) -> bool {
        self.active == Some(path)
    }

    /// A path was asked for; `None` if none can be.
    pub fn asked(&mut self, path: Option<PathNumber>, now: u64) {
        self.asked = path;
        self.next = now + RETRY_DELAY;
    }

    /// With what was known of it before: these paths stand, and the first is in use.
    pub fn of(has_spare: bool, active: Option<PathNumber>, spare: Option<PathNumber>) -> Self {
        Self { has_spare, active, spare, ..Self::default() }
    }

    /// What is to be done, as all paths are now.
    pub fn step(&mut self, now: u64, health: impl Fn(PathNumber) -> PathHealth) -> Vec<RouteStep> {
        let mut steps = vec![];
        let mut drop_dead = |path: &mut Option<PathNumber>| {
            let dead = path.filter(|it| health(*it) == PathHealth::Dead);
            if let Some(dead) = dead {
                steps.push(RouteStep::Drop(dead));
                *path = None;
            }
        };
        drop_dead(&mut self.asked);
        drop_dead(&mut self.spare);
        drop_dead(&mut self.active);
        let is_alive = |path: &PathNumber| matches!(health(*path), PathHealth::Alive(_));
        if self.active.is_none() {
            self.active = self.spare.take().or_else(|| self.asked.take_if(|it| is_alive(it)));
            steps.extend(self.active.map(RouteStep::Use));
        }
        if self.spare.is_none() {
            self.spare = self.asked.take_if(|it| is_alive(it));
        }
        let wants = self.active.is_none() || self.has_spare && self.spare.is_none();
        if wants && self.asked.is_none() && now >= self.next {
            let relays = match self.active.map(health) {
                Some(PathHealth::Alive(relays)) => relays.into_iter().collect(),
                _ => BTreeSet::new(),
            };
            steps.push(RouteStep::Ask(relays));
        }
        steps
    }
}

/// What the other end of a path, which has asked for it, says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It uses it, and wants to be answered by it.
    Uses(PathNumber),
    /// It does not use it.
    Spares(PathNumber),
}

/// Which path packets to a node take: `own` is the path in use of this node's way to it, and whether somebody has asked
/// for that way; `used` is what packets take now; `said` is what the other end just says. What was asked for stays, whatever
/// the other end says. Otherwise the last word counts, and any path before none. Of two nodes that each answer by a path
/// which the other one does not use, the one that `goes_back` takes its own again.
pub fn taken(
    own: Option<(PathNumber, bool)>,
    used: Option<PathNumber>,
    said: Option<Said>,
    goes_back: bool,
) -> Option<PathNumber> {
    match (own, said) {
        (Some((path, true)), _) => Some(path),
        (_, Some(Said::Uses(theirs))) => Some(theirs),
        (Some((path, _)), Some(Said::Spares(theirs))) if goes_back && used == Some(theirs) => {
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
        let mut route = NodeRoute { has_spare: true, ..NodeRoute::default() };
        let paths = |of: &[(u16, PathHealth)]| {
            let known: BTreeMap<_, _> = of.iter().cloned().collect();
            move |path: PathNumber| known.get(&path.0).cloned().unwrap_or(PathHealth::Dead)
        };
        let alive = |number| PathHealth::Alive(vec![relay(number)]);
        let [one, two, three] = [1, 2, 3].map(PathNumber);
        assert_eq!(route.step(0, paths(&[])), [RouteStep::Ask(BTreeSet::new())]);
        route.asked(Some(one), 0);
        assert_eq!(route.step(1, paths(&[(1, PathHealth::Asked)])), []);
        // It stands: the second one has other relays.
        let steps = route.step(3, paths(&[(1, alive(1))]));
        assert_eq!(steps, [RouteStep::Use(one), RouteStep::Ask([relay(1)].into())]);
        route.asked(Some(two), 3);
        assert_eq!(route.step(4, paths(&[(1, alive(1)), (2, alive(2))])), []);
        assert_eq!(route.active(), Some(one));
        // The first one is dead: packets take the second at once, and there is to be a third.
        let steps = route.step(9, paths(&[(1, PathHealth::Dead), (2, alive(2))]));
        assert_eq!(
            steps,
            [RouteStep::Drop(one), RouteStep::Use(two), RouteStep::Ask([relay(2)].into())]
        );
        route.asked(Some(three), 9);
        // The third is refused: not again at once.
        let refused = paths(&[(2, alive(2)), (3, PathHealth::Dead)]);
        assert_eq!(route.step(10, &refused), [RouteStep::Drop(three)]);
        assert_eq!(route.step(11, &refused), [RouteStep::Ask([relay(2)].into())]);
    }

    /// A node that has a way to another one, which has one back.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct Node {
        own: (PathNumber, bool),
        used: Option<PathNumber>,
    }

    /// Both, and what each has said that the other has not heard yet: that it does not use its path, that it does.
    type Both = ([Node; 2], [[bool; 2]; 2]);

    /// What may happen next: a way is begun or begun anew (0), one says whether it uses its path (1), that it does not is
    /// heard (2), that it does is (3), or it looks by itself what is due (4).
    fn after((mut nodes, mut said): Both, side: usize, what: u8) -> Both {
        let (own, theirs) = (nodes[side].own, nodes[1 - side].own.0);
        let used = &mut nodes[side].used;
        match what {
            0 => *used = Some(own.0),
            1 => said[side][usize::from(*used == Some(own.0))] = true,
            2 | 3 => {
                let heard = std::mem::take(&mut said[1 - side][usize::from(what == 3)]);
                let of = if what == 3 { Said::Uses } else { Said::Spares };
                *used = taken(Some(own), *used, heard.then_some(of(theirs)), side == 0);
            }
            _ => *used = taken(Some(own), *used, None, side == 0),
        }
        (nodes, said)
    }

    /// In whatever order two nodes begin ways to each other, and say so: both come to use one, that which one of them was
    /// asked for goes before the other's, and of two that were asked for each keeps its own.
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
        /// Whatever becomes of paths: the one in use is never a dead one, none is forgotten, and none is asked
        /// for while another is.
        #[test]
        fn none_is_lost(has_spare: bool, turns in prop::collection::vec((0u8..3, any::<u8>()), 1..200)) {
            let mut route = NodeRoute { has_spare, ..NodeRoute::default() };
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
                        RouteStep::Ask(_) => {
                            prop_assert!(!paths.values().any(|it| *it == PathHealth::Asked));
                            last += 1;
                            paths.insert(PathNumber(last), PathHealth::Asked);
                            route.asked(Some(PathNumber(last)), now as u64);
                        }
                    }
                }
                prop_assert_eq!(route.paths().collect::<BTreeSet<_>>(), paths.keys().copied().collect());
                prop_assert!(paths.len() <= 1 + usize::from(has_spare));
            }
        }
    }
}
