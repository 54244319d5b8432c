//! One run: a network comes to be, all nodes announce themselves, some seek paths and set them up.

use std::error::Error;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::flood::Flood;
use crate::nodes::{self, BEGIN, Node};
use crate::paths::Paths;
use crate::set_up::{self, SetUps};
use crate::world::{Graph, World};

/// Nodes that seek paths, and nodes that each of them seeks one to.
const SOURCES: usize = 10;
const ENDS: usize = 20;

/// The time in which nodes announce themselves where they do so together, in microseconds.
const TOGETHER: u64 = 60_000_000;

/// What is asked of a run.
pub struct Asked {
    pub graph: Graph,
    pub nodes: usize,
    /// How many of them announce themselves to all. The others are told to those that seek paths, and to nobody
    /// else.
    pub announce: usize,
    /// How many nodes each has room for.
    pub room: usize,
    /// How many of a thousand messages are lost.
    pub lost: u32,
}

/// Does it, and says what came of it. Times that end in `_us` are real ones, in microseconds; `seconds` and
/// those of set-ups are virtual.
pub fn run(asked: &Asked) -> Result<Value, Box<dyn Error>> {
    let begin = Instant::now();
    let world = World::new(asked.graph, asked.nodes);
    let mut nodes = nodes::all(&world, asked.room)?;
    let mut rng = Rng::with_seed(7);
    let announce = rng.choose_multiple(0..asked.nodes, asked.announce);
    let sources = rng.choose_multiple(0..asked.nodes, SOURCES);
    let ends = rng.choose_multiple(0..asked.nodes, ENDS);
    let mut flood = Flood::new(&world);
    if asked.room < asked.nodes {
        // Who comes first has room: they come all together.
        let origins: Vec<_> = announce.iter().map(|it| (*it, rng.u64(..TOGETHER))).collect();
        flood.run(&world, &mut nodes, &origins, asked.lost, &mut rng);
    } else {
        // One has nothing to do with another, and one at a time needs little memory.
        for origin in &announce {
            flood.run(&world, &mut nodes, &[(*origin, 0)], asked.lost, &mut rng);
        }
    }
    let known = |node: &Node| {
        announce.iter().filter(|it| node.topology.get(nodes[**it].address).is_some()).count()
    };
    let known: Vec<usize> = nodes.iter().map(known).collect();
    let unknown: usize = known.iter().map(|it| announce.len() - it).sum();
    let fewest = known.into_iter().min().unwrap_or_default();
    if announce.len() < asked.nodes {
        tell(&mut nodes, &sources);
    }
    let flooded = begin.elapsed();
    let paths = Paths::seek(&world, &nodes, &sources, &ends);
    let sought = begin.elapsed();
    let set_ups = set_up::all(&world, &nodes, &paths.found);
    let set_ups: Vec<_> = set_ups.into_iter().map(|(hops, it)| shown(hops, it)).collect();
    let bytes: usize = nodes.iter().map(|it| nodes::on_wire(&it.bytes)).sum();
    let real_seconds =
        [flooded, sought - flooded, begin.elapsed() - sought].map(|it| it.as_secs_f64());
    let hops = paths.found.iter().map(|it| it.len() - 1);
    Ok(json!({
        "nodes": asked.nodes,
        "links": world.count(),
        "announced": announce.len(),
        "room": asked.room,
        "lost": asked.lost,
        "unknown": unknown,
        "fewest_known": fewest,
        "refused": flood.refused,
        "messages": flood.messages,
        "seconds": spread(flood.takes.iter().map(|it| *it as f64 / 1e6)),
        "announcement_bytes": bytes as f64 / asked.nodes as f64,
        "node_bytes": spread(flood.sent.iter().map(|it| *it as f64)),
        "link_bytes": spread(flood.crossed.iter().flatten().filter(|it| **it > 0).map(|it| *it as f64)),
        "sought": paths.sought,
        "found": paths.found.len(),
        "found_two": paths.pairs,
        "hops": spread(hops.map(|it| it as f64)),
        "stretch": spread(paths.path_end.into_iter()),
        "graph_us": real(paths.graph),
        "path_us": real(paths.first),
        "paths_us": real(paths.several),
        "two_us": real(paths.disjoint),
        "set_ups": set_ups,
        "real_seconds": real_seconds,
    }))
}

/// Tells those that seek paths of all others.
fn tell(nodes: &mut [Node], sources: &[usize]) {
    let all: Vec<_> = nodes.iter().map(|node| node.says.clone()).collect();
    for source in sources {
        let from = all[(source + 1) % all.len()].address();
        for says in &all {
            nodes[*source].topology.insert(says.clone(), BEGIN, Some(from));
        }
    }
}

fn shown(hops: usize, it: SetUps) -> Value {
    json!({
        "hops": hops,
        "asked": it.asked,
        "stand": it.stand,
        "milliseconds": spread(it.takes.iter().map(|it| *it as f64 / 1e3)),
        "round_trips": spread(it.round_trips.into_iter()),
        "message_us": real(it.work),
    })
}

fn real(times: Vec<Duration>) -> Value {
    spread(times.into_iter().map(|it| it.as_secs_f64() * 1e6))
}

/// The mean, the median and the most.
fn spread(of: impl Iterator<Item = f64>) -> Value {
    let mut all: Vec<f64> = of.collect();
    all.sort_by(f64::total_cmp);
    let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
    let median = all.get(all.len() / 2).copied().unwrap_or_default();
    json!({ "mean": mean, "median": median, "most": all.last().copied().unwrap_or_default() })
}
