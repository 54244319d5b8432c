//! The shortest path with a bounded number of hops: the Bellman-Ford algorithm, one round per hop.

use std::collections::{BTreeMap, BTreeSet};

use super::{HOPS, Search};

/// Nodes and links that a search must not use.
#[derive(Default)]
pub(super) struct Without {
    pub nodes: BTreeSet<usize>,
    pub edges: BTreeSet<(usize, usize)>,
}

impl Search<'_> {
    /// The minimum and maximum number of hops.
    pub(super) fn hops(&self) -> (usize, usize) {
        (self.limits.relays + 1, HOPS)
    }

    /// The shortest path from `start` with a number of hops in `hops` and a cost of at most `max_cost`.
    pub(super) fn shortest(
        &self,
        start: usize,
        (least, hops): (usize, usize),
        max_cost: u64,
        without: &Without,
    ) -> Option<Vec<usize>> {
        if least > 1 {
            let shortest = self.shortest(start, (1, hops), max_cost, without)?;
            let is_enough = shortest.len() > least;
            return is_enough
                .then_some(shortest)
                .or_else(|| self.long(start, (least, hops), max_cost, without));
        }
        let mut best = vec![u64::MAX; self.graph.nodes.len()];
        best[start] = 0;
        // For each round, the predecessor of each node whose distance improved.
        let mut rounds: Vec<Vec<Option<usize>>> = Vec::new();
        let mut reached = vec![(start, 0)];
        for _ in 0..hops {
            let mut before = vec![None; best.len()];
            for (node, cost) in reached {
                for edge in self.edges(node) {
                    let cost = cost + edge.cost();
                    let banned = without.nodes.contains(&edge.to)
                        || without.edges.contains(&(node, edge.to));
                    // All costs are positive, so a path that is longer than the best one never gets shorter.
                    if !banned && cost < best[edge.to].min(best[self.to]) && cost <= max_cost {
                        best[edge.to] = cost;
                        before[edge.to] = Some(node);
                    }
                }
            }
            let found =
                before.iter().enumerate().filter(|(node, it)| it.is_some() && *node != self.to);
            reached = found.map(|(node, _)| (node, best[node])).collect();
            rounds.push(before);
            if reached.is_empty() {
                break;
            }
        }
        (best[self.to] < u64::MAX).then(|| self.back(start, &rounds))
    }

    /// The search for paths with at least two hops. The shortest path to a node is kept per number of hops, and
    /// is not extended to a node that it contains.
    fn long(
        &self,
        start: usize,
        (least, hops): (usize, usize),
        max_cost: u64,
        without: &Without,
    ) -> Option<Vec<usize>> {
        let mut reached = BTreeMap::from([(start, (0, vec![start]))]);
        let mut found: Option<(u64, Vec<usize>)> = None;
        for round in 1..=hops {
            let mut next: BTreeMap<usize, (u64, Vec<usize>)> = BTreeMap::new();
            for (node, (cost, path)) in &reached {
                for edge in self.edges(*node) {
                    let cost = cost + edge.cost();
                    let banned = without.nodes.contains(&edge.to)
                        || without.edges.contains(&(*node, edge.to))
                        || path.contains(&edge.to);
                    let is_end = edge.to == self.to;
                    let known = if is_end { found.as_ref() } else { next.get(&edge.to) };
                    let is_best = known.is_none_or(|(known, _)| cost < *known);
                    if banned || cost > max_cost || !is_best || is_end && round < least {
                        continue;
                    }
                    let way = (cost, [&path[..], &[edge.to]].concat());
                    if is_end {
                        found = Some(way);
                    } else {
                        next.insert(edge.to, way);
                    }
                }
            }
            reached = next;
        }
        found.map(|(_, path)| path)
    }

    fn back(&self, start: usize, rounds: &[Vec<Option<usize>>]) -> Vec<usize> {
        let mut path = vec![self.to];
        let mut node = self.to;
        for before in rounds.iter().rev() {
            if let Some(from) = before[node] {
                node = from;
                path.push(node);
            }
            if node == start {
                break;
            }
        }
        path.reverse();
        path
    }
}
