//! The shortest paths, one after the other, none of which passes a node twice: Yen's algorithm.

use std::collections::BTreeSet;

use super::Wanted;
use super::shortest::Without;

impl Wanted<'_> {
    /// The `count` shortest, with their numbers, the source first.
    pub(super) fn several(&self, count: usize) -> Vec<Vec<usize>> {
        let mut found: Vec<Vec<usize>> = Vec::new();
        let first = self.shortest(self.from, self.hops(), self.most(), &Without::default());
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

    /// The shortest paths that leave the last one found at one of its hops, for each of them, other than any
    /// path found so far.
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
            let left = self.most().saturating_sub(self.cost(&last[..=at]));
            let (least, most) = self.hops();
            let hops = (least.saturating_sub(at), most - at);
            if let Some(rest) = self.shortest(spur, hops, left, &without) {
                let path = [root, &rest].concat();
                candidates.insert((self.cost(&path), path));
            }
        }
    }
}
