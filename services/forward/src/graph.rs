//! Path search: the shortest paths within constraints, and pairs of relay-disjoint paths.
//!
//! Paths have at most [`HOPS`] hops. Plain Dijkstra does not solve that: the cheapest path to a node in between
//! may use up hops that are needed later.

mod disjoint;
mod several;
mod shortest;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::announcement::{AnnouncedLink, SignedAnnouncement};
pub use crate::onion::HOPS;
use crate::topology::Topology;
use octet_node::address::NodeAddress;

/// The maximum number of paths per search.
pub const PATHS: usize = 8;

/// The length in tenths of a millisecond that each 255th of loss adds to a link: loss causes retransmissions
/// and lowers the throughput.
const LOSS: u32 = 10;

/// The weight of a link's length against one hop. Two paths together have fewer hops than this, so of paths of
/// equal length the one with fewer hops wins.
const PER_LENGTH: u64 = 16;

/// The network graph: the links that both ends announce.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    addresses: Vec<NodeAddress>,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
struct Node {
    relays: bool,
    price: u32,
    edges: Vec<Edge>,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    to: usize,
    capacity: u32,
    length: u32,
}

/// The constraints on a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathConstraints {
    /// Relays to avoid.
    pub avoid: BTreeSet<NodeAddress>,
    /// The maximum price of each relay for 2^30 bytes, in millionths of the unit of account.
    pub price: Option<u32>,
    /// The maximum length, in the unit of [`CandidatePath::length`].
    pub length: Option<u32>,
    /// The minimum capacity of each link, in kbit/s.
    pub capacity: u32,
    /// The minimum number of relays, below [`HOPS`].
    pub relays: usize,
}

/// A path from the source to the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidatePath {
    /// The nodes after the source, the destination included: 1 to [`HOPS`].
    pub hops: Vec<NodeAddress>,
    /// The one-way latency in tenths of a millisecond, plus one millisecond for each 255th of loss of each
    /// link.
    pub length: u32,
    /// The capacity of the weakest link, in kbit/s.
    pub capacity: u32,
    /// The total price of all relays for 2^30 bytes, in millionths of the unit of account.
    pub price: u64,
}

/// A search, with nodes as indices.
struct Search<'a> {
    graph: &'a Graph,
    from: usize,
    to: usize,
    /// For each node, whether it may be a relay.
    between: Vec<bool>,
    limits: &'a PathConstraints,
}

impl Graph {
    /// Builds the graph of `topology`.
    pub fn of(topology: &Topology) -> Self {
        let addresses: Vec<_> = topology.iter().map(SignedAnnouncement::address).collect();
        let numbers: BTreeMap<_, _> = addresses.iter().copied().zip(0..).collect();
        let node = |(from, signed): (&NodeAddress, &SignedAnnouncement)| {
            let announcement = signed.announcement();
            let edge = |link: &AnnouncedLink| {
                let to = *numbers.get(&link.neighbour)?;
                let AnnouncedLink { capacity, latency, loss, .. } =
                    topology.link(*from, link.neighbour)?;
                Some(Edge { to, capacity, length: u32::from(latency) + LOSS * u32::from(loss) })
            };
            let edges = announcement.links.iter().filter_map(edge).collect();
            Node { relays: announcement.relays, price: announcement.price, edges }
        };
        let nodes = addresses.iter().zip(topology.iter()).map(node).collect();
        Self { addresses, nodes }
    }

    /// The `count` shortest loop-free paths, the shortest first; at most [`PATHS`].
    ///
    /// With a minimum of two or more relays, the search extends the shortest path to each node for each number
    /// of hops. It may then miss a shorter path, or the only one: an exact search for loop-free paths takes too
    /// long.
    pub fn paths(
        &self,
        from: NodeAddress,
        to: NodeAddress,
        limits: &PathConstraints,
        count: usize,
    ) -> Vec<CandidatePath> {
        let Some(wanted) = self.search(from, to, limits) else { return Vec::new() };
        wanted.several(count.min(PATHS)).iter().map(|path| self.path(path)).collect()
    }

    /// Two paths without a common relay or link, if there are any: a pair of minimum total length.
    ///
    /// A pair is always found, unless each pair of minimum total length or minimum number of hops contains a
    /// path that exceeds the constraints or [`HOPS`]. Then a partner is searched for each of the [`PATHS`]
    /// shortest paths. An exact search would be NP-hard.
    pub fn disjoint(
        &self,
        from: NodeAddress,
        to: NodeAddress,
        limits: &PathConstraints,
    ) -> Option<[CandidatePath; 2]> {
        let pair = self.search(from, to, limits)?.disjoint()?;
        Some(pair.map(|path| self.path(&path)))
    }

    fn search<'a>(
        &'a self,
        from: NodeAddress,
        to: NodeAddress,
        limits: &'a PathConstraints,
    ) -> Option<Search<'a>> {
        let find = |address| self.addresses.binary_search(&address).ok();
        let (start, end) = (find(from)?, find(to)?);
        let cheap = |node: &Node| limits.price.is_none_or(|most| node.price <= most);
        let may = |(address, node): (&NodeAddress, &Node)| {
            node.relays && cheap(node) && !limits.avoid.contains(address)
        };
        let mut between: Vec<_> = self.addresses.iter().zip(&self.nodes).map(may).collect();
        (between[start], between[end]) = (false, false);
        (start != end).then_some(Search { graph: self, from: start, to: end, between, limits })
    }

    /// The path over these node indices, the source first.
    fn path(&self, numbers: &[usize]) -> CandidatePath {
        let edges: Vec<_> = numbers.windows(2).filter_map(|it| self.edge(it[0], it[1])).collect();
        let relays = numbers.iter().skip(1).take(numbers.len().saturating_sub(2));
        CandidatePath {
            hops: numbers.iter().skip(1).map(|number| self.addresses[*number]).collect(),
            length: edges.iter().map(|edge| edge.length).sum(),
            capacity: edges.iter().map(|edge| edge.capacity).min().unwrap_or(0),
            price: relays.map(|number| u64::from(self.nodes[*number].price)).sum(),
        }
    }

    fn edge(&self, from: usize, to: usize) -> Option<&Edge> {
        self.nodes[from].edges.iter().find(|edge| edge.to == to)
    }
}

impl Edge {
    fn cost(&self) -> u64 {
        u64::from(self.length) * PER_LENGTH + 1
    }
}

impl Search<'_> {
    /// The usable links from a node.
    fn edges(&self, from: usize) -> impl Iterator<Item = &Edge> {
        let fits = |edge: &&Edge| {
            edge.capacity >= self.limits.capacity && (edge.to == self.to || self.between[edge.to])
        };
        self.graph.nodes[from].edges.iter().filter(fits)
    }

    /// Whether a path meets the limits on hops and length.
    fn satisfies(&self, path: &[usize]) -> bool {
        let relays = path.len().saturating_sub(2);
        path.len() <= HOPS + 1 && relays >= self.limits.relays && self.cost(path) <= self.max_cost()
    }

    fn cost(&self, path: &[usize]) -> u64 {
        let edges = path.windows(2).filter_map(|it| self.graph.edge(it[0], it[1]));
        edges.map(Edge::cost).sum()
    }

    /// The maximum cost of a path.
    fn max_cost(&self) -> u64 {
        let length = self.limits.length.unwrap_or(u32::MAX);
        u64::from(length) * PER_LENGTH + PER_LENGTH - 1
    }
}
