//! Two paths with no relay in common: Bhandari's algorithm. Each relay is two nodes, where one comes in and
//! where one goes out; the second path may go back over the first one, and what both then have is given up. So a
//! pair is found also where the shortest path is in none.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::shortest::Without;
use super::{Edge, PATHS, Wanted};

/// A side of a node. At its relays a path comes in and goes out; it goes out of the source and comes in at the
/// end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    In(usize),
    Out(usize),
}

/// The links that are used, by where they go to: no relay is used twice.
#[derive(Default)]
struct Used {
    before: BTreeMap<usize, usize>,
    /// Where paths come in at the end.
    last: BTreeSet<usize>,
}

impl Wanted<'_> {
    /// Two paths with their numbers, the source first.
    pub(super) fn disjoint(&self) -> Option<[Vec<usize>; 2]> {
        let kept = |pair: &[Vec<usize>; 2]| pair.iter().all(|path| self.keeps(path));
        // That which has the fewest hops together may keep to the limits where the shortest does not.
        let by_length = self.pair(|edge| signed(edge.cost()))?;
        if kept(&by_length) {
            return Some(by_length);
        }
        self.pair(|_| 1).filter(kept).or_else(|| self.second_to_one_of_several())
    }

    /// The pair that together costs least.
    fn pair(&self, cost: impl Fn(&Edge) -> i64) -> Option<[Vec<usize>; 2]> {
        let mut used = Used::default();
        let distances = self.distances(&used, &cost, None).0;
        for _ in 0..2 {
            // As far from the source as they are, no step costs less than nothing, also back over what is used.
            let (_, before) = self.distances(&used, &cost, Some(&distances));
            used.change(&self.way(&before)?, self.to);
        }
        let mut paths = used.last.iter().map(|last| used.path(*last, self.from, self.to));
        Some([paths.next()?, paths.next()?])
    }

    /// How far from the source each side is where `used` is in use, and may be given up; and the side before it
    /// (Dijkstra's algorithm). `potentials` are distances that are taken off each step.
    fn distances(
        &self,
        used: &Used,
        cost: &impl Fn(&Edge) -> i64,
        potentials: Option<&BTreeMap<Side, i64>>,
    ) -> (BTreeMap<Side, i64>, BTreeMap<Side, Side>) {
        let start = Side::Out(self.from);
        let (mut best, mut before) = (BTreeMap::from([(start, 0)]), BTreeMap::new());
        let mut heap = BinaryHeap::from([Reverse((0, start))]);
        let potential = |side| potentials.map_or(Some(0), |known| known.get(&side).copied());
        while let Some(Reverse((so_far, side))) = heap.pop() {
            if so_far > best[&side] {
                continue;
            }
            for (to, more) in self.steps(side, used, cost) {
                let (Some(here), Some(there)) = (potential(side), potential(to)) else { continue };
                let whole = so_far + more + here - there;
                if best.get(&to).is_none_or(|known| whole < *known) {
                    best.insert(to, whole);
                    before.insert(to, side);
                    heap.push(Reverse((whole, to)));
                }
            }
        }
        (best, before)
    }

    /// The way to the end by what is before each side.
    fn way(&self, before: &BTreeMap<Side, Side>) -> Option<Vec<Side>> {
        let mut way = vec![Side::In(self.to)];
        while let Some(side) = way.last().filter(|side| **side != Side::Out(self.from)) {
            way.push(*before.get(side)?);
        }
        way.reverse();
        Some(way)
    }

    fn steps(&self, side: Side, used: &Used, cost: &impl Fn(&Edge) -> i64) -> Vec<(Side, i64)> {
        match side {
            Side::In(node) if node == self.to => Vec::new(),
            Side::In(node) => match used.before.get(&node) {
                None => vec![(Side::Out(node), 0)],
                Some(from) if *from == self.from => Vec::new(),
                Some(from) => {
                    let edge = self.graph.edge(*from, node);
                    edge.map(|edge| (Side::Out(*from), -cost(edge))).into_iter().collect()
                }
            },
            Side::Out(node) => {
                let free = self.edges(node).filter(|edge| !used.has(node, edge.to, self.to));
                let on = free.map(|edge| (Side::In(edge.to), cost(edge)));
                // Back through a relay that is given up.
                on.chain(used.before.contains_key(&node).then_some((Side::In(node), 0))).collect()
            }
        }
    }

    /// For each of the shortest paths, the shortest that has nothing in common with it.
    fn second_to_one_of_several(&self) -> Option<[Vec<usize>; 2]> {
        self.several(PATHS).into_iter().find_map(|first| {
            let nodes = first[1..first.len() - 1].iter().copied().collect();
            let edges = first.windows(2).map(|it| (it[0], it[1])).collect();
            let without = Without { nodes, edges };
            Some([self.shortest(self.from, self.hops(), self.most(), &without)?, first])
        })
    }
}

impl Used {
    fn has(&self, from: usize, node: usize, end: usize) -> bool {
        if node == end { self.last.contains(&from) } else { self.before.get(&node) == Some(&from) }
    }

    /// Uses what `way` goes over, and gives up what it goes back over.
    fn change(&mut self, way: &[Side], end: usize) {
        // What is given up first, as where that came in something else may come in.
        for step in way.windows(2) {
            if let [Side::In(node), Side::Out(from)] = *step
                && node != from
            {
                self.before.remove(&node);
            }
        }
        for step in way.windows(2) {
            if let [Side::Out(from), Side::In(node)] = *step
                && node != from
            {
                if node == end {
                    self.last.insert(from);
                } else {
                    self.before.insert(node, from);
                }
            }
        }
    }

    /// The path whose last link comes from `last`.
    fn path(&self, last: usize, start: usize, end: usize) -> Vec<usize> {
        let mut path = vec![end, last];
        let mut node = last;
        while node != start
            && let Some(from) = self.before.get(&node)
        {
            node = *from;
            path.push(node);
        }
        path.reverse();
        path
    }
}

/// A cost: of the longest links that can be it is below 2^23.
fn signed(cost: u64) -> i64 {
    i64::try_from(cost).unwrap_or(i64::MAX)
}
