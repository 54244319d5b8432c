//! Which paths there are: the shortest ones within limits, and two that share no relay.
//!
//! What is shortest is asked with at most [`HOPS`] hops. Dijkstra's algorithm, and the crates that have it,
//! does not answer that: the cheapest way to a node in between may take hops that are needed later.

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

/// The most paths that are asked for at once.
pub const PATHS: usize = 8;

/// How much longer a 255th of what is sent being lost makes a link, in tenths of a millisecond: a sender sends
/// again, and slower.
const LOSS: u32 = 10;

/// By how much the length of a link counts more than that it is one hop more. As two paths have no more hops
/// together, of what is equally long that with fewer hops is shorter.
const PER_LENGTH: u64 = 16;

/// The network as it is announced: links that both ends announce.
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

/// What a path must keep to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathConstraints {
    /// Relays that are not wanted.
    pub avoid: BTreeSet<NodeAddress>,
    /// The most that each relay may ask for 2^30 bytes, in millionths of the unit of account.
    pub price: Option<u32>,
    /// The most that the path may be long, as [`Path::length`] has it.
    pub length: Option<u32>,
    /// The least that each link must carry, in kbit/s.
    pub capacity: u32,
    /// The least number of relays, below [`HOPS`].
    pub relays: usize,
}

/// A path, from the source to whom it wants to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidatePath {
    /// The nodes after the source, the end included: 1 to [`HOPS`].
    pub hops: Vec<NodeAddress>,
    /// The latency one way in tenths of a millisecond, and one millisecond for each 255th that a link loses.
    pub length: u32,
    /// What the weakest link carries, in kbit/s.
    pub capacity: u32,
    /// What all relays together ask for 2^30 bytes, in millionths of the unit of account.
    pub price: u64,
}

/// A question to the graph, in its own numbers.
struct Wanted<'a> {
    graph: &'a Graph,
    from: usize,
    to: usize,
    /// Of each node whether it may be in between.
    between: Vec<bool>,
    limits: &'a PathConstraints,
}

impl Graph {
    /// What `topology` says.
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

    /// The `count` shortest paths that do not pass any node twice, the shortest first; at most [`PATHS`].
    ///
    /// Where there are to be two relays or more, a path is sought by way of the shortest to each node with each
    /// number of hops. So there may be a shorter one than is found, or one where none is found: to go round is
    /// not to pass a node twice, and to be sure of that takes too long.
    pub fn paths(
        &self,
        from: NodeAddress,
        to: NodeAddress,
        limits: &PathConstraints,
        count: usize,
    ) -> Vec<CandidatePath> {
        let Some(wanted) = self.wanted(from, to, limits) else { return Vec::new() };
        wanted.several(count.min(PATHS)).iter().map(|path| self.path(path)).collect()
    }

    /// Two paths that have no relay and no link in common, if there are two; of all pairs one that together is
    /// shortest.
    ///
    /// A pair is found whenever there is one, unless each pair that is shortest, or has the fewest hops,
    /// together has a path that is longer than the limits or [`HOPS`] allow. Then it is sought for each of the
    /// [`PATHS`] shortest paths: to find one whenever there is one would take too long (it is NP-hard).
    pub fn disjoint(
        &self,
        from: NodeAddress,
        to: NodeAddress,
        limits: &PathConstraints,
    ) -> Option<[CandidatePath; 2]> {
        let pair = self.wanted(from, to, limits)?.disjoint()?;
        Some(pair.map(|path| self.path(&path)))
    }

    fn wanted<'a>(
        &'a self,
        from: NodeAddress,
        to: NodeAddress,
        limits: &'a PathConstraints,
    ) -> Option<Wanted<'a>> {
        let find = |address| self.addresses.binary_search(&address).ok();
        let (start, end) = (find(from)?, find(to)?);
        let cheap = |node: &Node| limits.price.is_none_or(|most| node.price <= most);
        let may = |(address, node): (&NodeAddress, &Node)| {
            node.relays && cheap(node) && !limits.avoid.contains(address)
        };
        let mut between: Vec<_> = self.addresses.iter().zip(&self.nodes).map(may).collect();
        (between[start], between[end]) = (false, false);
        (start != end).then_some(Wanted { graph: self, from: start, to: end, between, limits })
    }

    /// The path over the nodes with these numbers, the source first.
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

impl Wanted<'_> {
    /// The links from a node that the limits allow, to where one may go.
    fn edges(&self, from: usize) -> impl Iterator<Item = &Edge> {
        let fits = |edge: &&Edge| {
            edge.capacity >= self.limits.capacity && (edge.to == self.to || self.between[edge.to])
        };
        self.graph.nodes[from].edges.iter().filter(fits)
    }

    /// Whether a path has not too many hops and is not too long.
    fn keeps(&self, path: &[usize]) -> bool {
        let relays = path.len().saturating_sub(2);
        path.len() <= HOPS + 1 && relays >= self.limits.relays && self.cost(path) <= self.most()
    }

    fn cost(&self, path: &[usize]) -> u64 {
        let edges = path.windows(2).filter_map(|it| self.graph.edge(it[0], it[1]));
        edges.map(Edge::cost).sum()
    }

    /// The most that a path may cost.
    fn most(&self) -> u64 {
        let length = self.limits.length.unwrap_or(u32::MAX);
        u64::from(length) * PER_LENGTH + PER_LENGTH - 1
    }
}
