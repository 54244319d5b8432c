//! Paths over what a node knows: whether there is one, how long it takes to find, and how good it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use octet_forward::graph::{CandidatePath, Graph, PATHS, PathConstraints};
use octet_node::address::NodeAddress;

use crate::nodes::Node;
use crate::world::World;

/// What was found for some pairs of nodes.
#[derive(Default)]
pub struct Paths {
    pub sought: usize,
    /// The shortest path of each pair that has one: the numbers of its nodes, the source first.
    pub found: Vec<Vec<usize>>,
    /// Pairs that have two paths without a common relay.
    pub pairs: usize,
    /// By how much a path is longer than the best way over any number of links, as a ratio.
    pub path_end: Vec<f64>,
    /// How long it takes to have the graph of what is known, the shortest path, all of them, and two that have
    /// nothing in common.
    pub graph: Vec<Duration>,
    pub first: Vec<Duration>,
    pub several: Vec<Duration>,
    pub disjoint: Vec<Duration>,
}

/// Adds how long `work` takes to `times`.
fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = work();
    times.push(begin.elapsed());
    done
}

impl Paths {
    /// From each of `sources` to each of `ends`.
    pub fn seek(world: &World, nodes: &[Node], sources: &[usize], ends: &[usize]) -> Self {
        let mut all = Self::default();
        let numbers: BTreeMap<NodeAddress, usize> =
            nodes.iter().map(|it| it.address).zip(0..).collect();
        let limits = PathConstraints::default();
        for source in sources {
            let graph = timed(&mut all.graph, || Graph::of(&nodes[*source].topology));
            let best = world.best(*source);
            let from = nodes[*source].address;
            for end in ends.iter().filter(|end| *end != source) {
                let to = nodes[*end].address;
                all.sought += 1;
                let first = timed(&mut all.first, || graph.paths(from, to, &limits, 1));
                timed(&mut all.several, || graph.paths(from, to, &limits, PATHS));
                let two = timed(&mut all.disjoint, || graph.disjoint(from, to, &limits));
                all.pairs += usize::from(two.is_some());
                let Some(path) = first.first() else { continue };
                let path = with_source(*source, path, &numbers);
                let steps = path.windows(2).filter_map(|it| world.takes(it[0], it[1]));
                all.path_end.push(steps.sum::<u64>() as f64 / best[*end] as f64);
                all.found.push(path);
            }
        }
        all
    }
}

fn with_source(
    source: usize,
    path: &CandidatePath,
    numbers: &BTreeMap<NodeAddress, usize>,
) -> Vec<usize> {
    let hops = path.hops.iter().filter_map(|hop| numbers.get(hop).copied());
    std::iter::once(source).chain(hops).collect()
}
