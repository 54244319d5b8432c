//! The k shortest loop-free paths: Yen's algorithm.

use std::collections::BTreeSet;

use super::Search;
use super::shortest::Without;

impl Search<'_> {
    /// The `count` shortest paths as node indices, the source first.
    pub(super) fn several(&self, count: usize) -> Vec<Vec<usize>> {
        let mut found: Vec<Vec<usize>> = Vec::new();
        let first = self.shortest(self.from, self.hops(), self.max_cost(), &Without::default());
        let mut candidates: BTreeSet<_> =
            first.map(|path| (self.cost(&path), path)).into_iter().collect();
        while found.len() < count {
            let Some((_, path)) = candidates.pop_first() else { break };
            found.push(path);
            if found.len() < count {
                self.leave_at_each_hop(&found, &mut candidates);
            }
        }
        found
    }

    /// For each hop of the last path, the shortest path that leaves it there and differs from all paths so far.
    fn leave_at_each_hop(
        &self,
        found: &[Vec<usize>],
        candidates: &mut BTreeSet<(u64, Vec<usize>)>,
    ) {
        let Some(last) = found.last() else { return };
        for at in 0..last.len() - 1 {
            let (root, spur) = (&last[..at], last[at]);
            let same =
                found.iter().filter(|path| path.len() > at + 1 && path[..=at] == last[..=at]);
            let without = Without {
                nodes: root.iter().copied().collect(),
                edges: same.map(|path| (spur, path[at + 1])).collect(),
            };
            let left = self.max_cost().saturating_sub(self.cost(&last[..=at]));
            let (least, most) = self.hops();
            let hops = (least.saturating_sub(at), most - at);
            if let Some(rest) = self.shortest(spur, hops, left, &without) {
                let path = [root, &rest].concat();
                candidates.insert((self.cost(&path), path));
            }
        }
    }
}
