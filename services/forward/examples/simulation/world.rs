//! Where nodes stand, and which of them have a link, with what it takes to cross it.

use std::collections::BTreeSet;

use fastrand::Rng;

/// Boards of a box: each is a neighbour of all others.
const BOARDS: usize = 8;

/// How many links a node of [`Graph::Plane`] has on average.
const MEAN: f64 = 8.0;

/// What it takes to cross the world from one side to the other, and what each link takes besides; in
/// microseconds, one way.
const ACROSS: f64 = 40_000.0;
const MIN: f64 = 200.0;

/// How the links are laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graph {
    /// Boxes of 8 boards at random places. Each second board has a line to a box close by, the others one to
    /// any board of the world.
    Boxes,
    /// Nodes at random places, and links between those that are close to each other.
    Plane,
}

pub struct World {
    /// Of each node the others that it has a link to, in their order, with the microseconds one way.
    pub links: Vec<Vec<(usize, u64)>>,
}

impl World {
    /// As many `nodes`; the same ones each time.
    pub fn new(graph: Graph, nodes: usize) -> Self {
        let mut rng = Rng::with_seed(nodes as u64);
        let mut site = || (rng.f64(), rng.f64());
        match graph {
            Graph::Boxes => {
                let boxes: Vec<_> = (0..nodes.div_ceil(BOARDS)).map(|_| site()).collect();
                let places: Vec<_> = (0..nodes).map(|node| boxes[node / BOARDS]).collect();
                let pairs = lines(&boxes, nodes, &mut rng);
                Self::of(&places, pairs)
            }
            Graph::Plane => {
                let places: Vec<_> = (0..nodes).map(|_| site()).collect();
                let mut pairs = close(&places);
                join(&places, &mut pairs);
                Self::of(&places, pairs)
            }
        }
    }

    fn of(places: &[Place], pairs: BTreeSet<(usize, usize)>) -> Self {
        let mut links = vec![vec![]; places.len()];
        for (one, other) in pairs {
            let takes = (MIN + ACROSS * distance(places[one], places[other])) as u64;
            links[one].push((other, takes));
            links[other].push((one, takes));
        }
        links.iter_mut().for_each(|it| it.sort_unstable());
        Self { links }
    }

    /// How many links there are.
    pub fn count(&self) -> usize {
        self.links.iter().map(Vec::len).sum::<usize>() / 2
    }

    /// What it takes from one node to all others over any number of links: what paths are measured by
    /// (Dijkstra's algorithm).
    pub fn best(&self, from: usize) -> Vec<u64> {
        let mut best = vec![u64::MAX; self.links.len()];
        let mut open = BTreeSet::from([(0, from)]);
        best[from] = 0;
        while let Some((so_far, node)) = open.pop_first() {
            for (to, takes) in &self.links[node] {
                let whole = so_far + takes;
                if whole < best[*to] {
                    open.remove(&(best[*to], *to));
                    best[*to] = whole;
                    open.insert((whole, *to));
                }
            }
        }
        best
    }

    pub fn takes(&self, from: usize, to: usize) -> Option<u64> {
        let at = self.links[from].binary_search_by_key(&to, |(other, _)| *other).ok()?;
        Some(self.links[from][at].1)
    }
}

type Place = (f64, f64);

fn distance(one: Place, other: Place) -> f64 {
    (one.0 - other.0).hypot(one.1 - other.1)
}

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

/// All pairs of boards that are in one box, or have a line between their boxes.
fn lines(boxes: &[Place], nodes: usize, rng: &mut Rng) -> BTreeSet<(usize, usize)> {
    let mut pairs = BTreeSet::new();
    for (number, place) in boxes.iter().enumerate() {
        let boards = number * BOARDS..nodes.min((number + 1) * BOARDS);
        let mut close: Vec<_> = (0..boxes.len()).filter(|other| *other != number).collect();
        close.sort_by(|a, b| distance(*place, boxes[*a]).total_cmp(&distance(*place, boxes[*b])));
        for (at, board) in boards.clone().enumerate() {
            pairs.extend((board + 1..boards.end).map(|other| (board, other)));
            let other = match close.get(at / 2) {
                Some(other) if at % 2 == 0 => other * BOARDS + rng.usize(..BOARDS),
                _ => rng.usize(..nodes),
            };
            let other = other.min(nodes - 1);
            if !boards.contains(&other) {
                pairs.insert(pair(board, other));
            }
        }
    }
    pairs
}

/// All pairs that are so close that a node has [`MEAN`] of them.
fn close(places: &[Place]) -> BTreeSet<(usize, usize)> {
    let reach = (MEAN / (places.len() as f64 * std::f64::consts::PI)).sqrt();
    let mut pairs = BTreeSet::new();
    let mut by_x: Vec<_> = (0..places.len()).collect();
    by_x.sort_by(|a, b| places[*a].0.total_cmp(&places[*b].0));
    for (at, one) in by_x.iter().enumerate() {
        let near = by_x[at + 1..].iter().take_while(|it| places[**it].0 - places[*one].0 <= reach);
        let near = near.filter(|it| distance(places[*one], places[**it]) <= reach);
        pairs.extend(near.map(|other| pair(*one, *other)));
    }
    pairs
}

/// Links each part that has none to the rest with what is closest to it, until all is one.
fn join(places: &[Place], pairs: &mut BTreeSet<(usize, usize)>) {
    loop {
        let world = World::of(places, pairs.clone());
        let reached = world.best(0);
        let (here, there): (Vec<_>, Vec<_>) =
            (0..places.len()).partition(|node| reached[*node] < u64::MAX);
        let all = there.iter().flat_map(|one| here.iter().map(|other| (*one, *other)));
        let apart = |(one, other): &(usize, usize)| distance(places[*one], places[*other]);
        let Some((one, other)) = all.min_by(|a, b| apart(a).total_cmp(&apart(b))) else { return };
        pairs.insert(pair(one, other));
    }
}
