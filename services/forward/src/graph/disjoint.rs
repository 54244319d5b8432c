//! Pairs of relay-disjoint paths: Bhandari's algorithm. Each relay is split into an incoming and an outgoing
//! node. The second path may run backwards over the first one, and links used in both directions are removed.
//! So a pair is found even if the shortest path belongs to none.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::shortest::Without;
use super::{Edge, PATHS, Search};

/// One half of a split node. A path enters a relay at `In` and leaves it at `Out`; it leaves the source at
/// `Out` and enters the destination at `In`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    In(usize),
    Out(usize),
}

/// The used links, by their target: each relay is used once.
#[derive(Default)]
struct Used {
    before: BTreeMap<usize, usize>,
    /// The nodes before the destination.
    last: BTreeSet<usize>,
}

impl Search<'_> {
    /// Two paths as node indices, the source first.
    pub(super) fn disjoint(&self) -> Option<[Vec<usize>; 2]> {
        let satisfies = |pair: &[Vec<usize>; 2]| pair.iter().all(|path| self.satisfies(path));
        // The pair with the fewest hops may meet the limits where the shortest pair does not.
        let by_length = self.pair(|edge| signed(edge.cost()))?;
        if satisfies(&by_length) {
            return Some(by_length);
        }
        self.pair(|_| 1).filter(satisfies).or_else(|| self.second_to_one_of_several())
    }

    /// The pair of minimum total cost.
    fn pair(&self, cost: impl Fn(&Edge) -> i64) -> Option<[Vec<usize>; 2]> {
        let mut used = Used::default();
        let distances = self.distances(&used, &cost, None).0;
        for _ in 0..2 {
            // With distances as potentials, reduced costs are never negative, even backwards over used links.
            let (_, before) = self.distances(&used, &cost, Some(&distances));
            used.change(&self.augmenting_path(&before)?, self.to);
        }
        let mut paths = used.last.iter().map(|last| used.path(*last, self.from, self.to));
        Some([paths.next()?, paths.next()?])
    }

    /// The distance of each node from the source and its predecessor (Dijkstra's algorithm), where links in
    /// `used` can be reversed. `potentials` are subtracted from each step.
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

    /// The path to the destination along the predecessors.
    fn augmenting_path(&self, before: &BTreeMap<Side, Side>) -> Option<Vec<Side>> {
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
                // Backwards through a relay of the first path.
                on.chain(used.before.contains_key(&node).then_some((Side::In(node), 0))).collect()
            }
        }
    }

    /// For each of the shortest paths, the shortest disjoint partner.
    fn second_to_one_of_several(&self) -> Option<[Vec<usize>; 2]> {
        self.several(PATHS).into_iter().find_map(|first| {
            let nodes = first[1..first.len() - 1].iter().copied().collect();
            let edges = first.windows(2).map(|it| (it[0], it[1])).collect();
            let without = Without { nodes, edges };
            Some([self.shortest(self.from, self.hops(), self.max_cost(), &without)?, first])
        })
    }
}

impl Used {
    fn has(&self, from: usize, node: usize, end: usize) -> bool {
        if node == end { self.last.contains(&from) } else { self.before.get(&node) == Some(&from) }
    }

    /// Adds the links of `path`, and removes those that it reverses.
    fn change(&mut self, path: &[Side], end: usize) {
        // Removals come first, because another link may enter at the same node.
        for step in path.windows(2) {
            if let [Side::In(node), Side::Out(from)] = *step
                && node != from
            {
                self.before.remove(&node);
            }
        }
        for step in path.windows(2) {
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

    /// The path whose last relay is `last`.
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

/// A cost as a signed number: the maximum is below 2^23.
fn signed(cost: u64) -> i64 {
    i64::try_from(cost).unwrap_or(i64::MAX)
}
