//! Paths are asked for, over links that take their time. What a kernel would do takes none here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use fastrand::Rng;
use octet_forward::control::LinkMessage;
use octet_forward::engine::{
    Engine, EngineAction, LinkNumber, PathState, RequestedPath, ShownSource,
};

use crate::nodes::{BEGIN, Node};
use crate::world::World;

/// Set-ups over paths with so many hops.
#[derive(Default)]
pub struct SetUps {
    /// How many were asked for, and how many stand.
    pub asked: usize,
    pub stand: usize,
    /// From the question until the source knows that the path stands, in microseconds of virtual time.
    pub takes: Vec<u64>,
    /// How many times as long as there and back over its links that is.
    pub round_trips: Vec<f64>,
    /// What a node works for one message of it.
    pub work: Vec<Duration>,
}

/// A message on its way: when it comes, the how manieth it is, to whom and from whom. What it says stands beside.
type OnTheWay = Reverse<(u64, u64, usize, usize)>;

struct Net<'a> {
    world: &'a World,
    nodes: &'a [Node],
    engines: Vec<Engine>,
    wires: BinaryHeap<OnTheWay>,
    says: BTreeMap<u64, LinkMessage>,
    count: u64,
    rng: Rng,
}

/// Sets these paths up one after the other, and ends them; by the number of hops.
pub fn all(world: &World, nodes: &[Node], paths: &[Vec<usize>]) -> BTreeMap<usize, SetUps> {
    let mut net = Net::new(world, nodes);
    let mut done: BTreeMap<usize, SetUps> = BTreeMap::new();
    for path in paths {
        net.set_up(path, done.entry(path.len() - 1).or_default());
    }
    done
}

impl<'a> Net<'a> {
    fn new(world: &'a World, nodes: &'a [Node]) -> Self {
        let engine = |near: &Vec<(usize, u64)>| {
            let mut engine = Engine::default();
            for (link, (other, _)) in near.iter().enumerate() {
                engine.add_link(LinkNumber(link as u16), nodes[*other].address);
            }
            engine
        };
        let engines = world.links.iter().map(engine).collect();
        let (wires, says) = (BinaryHeap::new(), BTreeMap::new());
        Self { world, nodes, engines, wires, says, count: 0, rng: Rng::with_seed(1) }
    }

    fn set_up(&mut self, path: &[usize], done: &mut SetUps) {
        done.asked += 1;
        let Some((source, hops)) = path.split_first() else { return };
        let of = |hop: &usize| {
            let known = self.nodes[*source].topology.get(self.nodes[*hop].address)?;
            Some((known.address(), known.announcement().onion_key))
        };
        let Some(hops) = hops.iter().map(of).collect() else { return };
        // Set-ups that came before do not count against this one: each has its own second.
        let now = BEGIN + done.asked as u64 % 60;
        let rng = &mut self.rng;
        let mut bytes = || std::array::from_fn(|_| rng.u8(..));
        let asked = self.engines[*source].request_path(
            &RequestedPath { hops, rate: 0, source: ShownSource::Node },
            now,
            &mut bytes,
        );
        let Ok((number, actions)) = asked else { return };
        self.send(0, *source, actions);
        let mut stands = None;
        while let Some(Reverse((at, which, to, from))) = self.wires.pop() {
            let Some(message) = self.says.remove(&which) else { continue };
            let (link, begin) = (self.link(to, from), Instant::now());
            let keys = std::slice::from_ref(&self.nodes[to].onion);
            let rng = &mut self.rng;
            let mut bytes = || std::array::from_fn(|_| rng.u8(..));
            let actions = self.engines[to].handle_message(link, message, keys, now, &mut bytes);
            done.work.push(begin.elapsed());
            self.send(at, to, actions);
            let state = self.engines[*source].path(number).map(|path| &path.state);
            if stands.is_none() && state == Some(&PathState::Up) {
                stands = Some(at);
            }
        }
        if let Some(at) = stands {
            let one_way = path.windows(2).filter_map(|it| self.world.takes(it[0], it[1]));
            done.stand += 1;
            done.takes.push(at);
            done.round_trips.push(at as f64 / (2 * one_way.sum::<u64>()) as f64);
        }
        let actions = self.engines[*source].drop_path(number);
        self.send(0, *source, actions);
        while let Some(Reverse((at, which, to, from))) = self.wires.pop() {
            let Some(message) = self.says.remove(&which) else { continue };
            let (link, keys) = (self.link(to, from), std::slice::from_ref(&self.nodes[to].onion));
            let actions =
                self.engines[to].handle_message(link, message, keys, now, &mut || [0; 32]);
            self.send(at, to, actions);
        }
    }

    fn link(&self, node: usize, other: usize) -> LinkNumber {
        let at = self.world.links[node].binary_search_by_key(&other, |(it, _)| *it);
        LinkNumber(at.unwrap_or_default() as u16)
    }

    fn send(&mut self, at: u64, node: usize, actions: Vec<EngineAction>) {
        for action in actions {
            let EngineAction::Send(link, message) = action else { continue };
            let (to, takes) = self.world.links[node][usize::from(link.0)];
            self.wires.push(Reverse((at + takes, self.count, to, node)));
            self.says.insert(self.count, message);
            self.count += 1;
        }
    }
}
