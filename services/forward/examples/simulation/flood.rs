//! Announcements go from neighbour to neighbour. What each makes of one is the product's own topology's to say.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use fastrand::Rng;
use octet_forward::topology::AnnouncementResult;

use crate::nodes::{BEGIN, Node, on_wire};
use crate::world::World;

/// Microseconds in a second.
const SECOND: u64 = 1_000_000;

#[derive(Default)]
pub struct Flood {
    /// Of each announcement: after how many microseconds the last node that takes it has it.
    pub takes: Vec<u64>,
    /// What each node has sent, in bytes.
    pub sent: Vec<u64>,
    /// What went over each link in both directions, in bytes, by the node with the lower number and its link.
    pub crossed: Vec<Vec<u64>>,
    /// How many messages there were.
    pub messages: u64,
    /// How many of them were not known and found no room.
    pub refused: u64,
}

/// An announcement on its way: when it comes, to whom, from whom, and whose it is.
type OnTheWay = Reverse<(u64, usize, usize, usize)>;

impl Flood {
    pub fn new(world: &World) -> Self {
        let crossed = world.links.iter().map(|links| vec![0; links.len()]).collect();
        Self { sent: vec![0; world.links.len()], crossed, ..Self::default() }
    }

    /// Has these nodes announce themselves, each at its time in microseconds, until nobody has anything more to
    /// say. Of a thousand messages `lost` do not come.
    pub fn run(
        &mut self,
        world: &World,
        nodes: &mut [Node],
        origins: &[(usize, u64)],
        lost: u32,
        rng: &mut Rng,
    ) {
        let begins = vec![u64::MAX; nodes.len()];
        let (mut begins, mut last) = (begins, vec![0; nodes.len()]);
        let mut wires = BinaryHeap::new();
        for (origin, at) in origins {
            (begins[*origin], last[*origin]) = (*at, *at);
            self.tell(world, nodes, (*at, *origin, *origin, *origin), &mut wires);
        }
        while let Some(Reverse((at, to, from, whose))) = wires.pop() {
            self.messages += 1;
            if lost > 0 && rng.u32(..1000) < lost {
                continue;
            }
            let (bytes, says) = (&nodes[whose].bytes, &nodes[whose].says);
            if nodes[to].topology.knows(bytes) {
                continue;
            }
            let (says, from_whom) = (Arc::clone(says), nodes[from].address);
            match nodes[to].topology.insert(says, BEGIN + at / SECOND, Some(from_whom)) {
                AnnouncementResult::New => {
                    last[whose] = at;
                    self.tell(world, nodes, (at, to, from, whose), &mut wires);
                }
                AnnouncementResult::TooMany => self.refused += 1,
                _ => {}
            }
        }
        self.takes.extend(origins.iter().map(|(origin, _)| last[*origin] - begins[*origin]));
    }

    /// Tells all neighbours but `from`.
    fn tell(
        &mut self,
        world: &World,
        nodes: &[Node],
        (at, node, from, whose): (u64, usize, usize, usize),
        wires: &mut BinaryHeap<OnTheWay>,
    ) {
        let bytes = on_wire(&nodes[whose].bytes) as u64;
        for (link, (to, takes)) in world.links[node].iter().enumerate() {
            if *to == from {
                continue;
            }
            self.sent[node] += bytes;
            let (low, link) = if node < *to {
                (node, link)
            } else {
                let back = world.links[*to].binary_search_by_key(&node, |(other, _)| *other);
                (*to, back.unwrap_or_default())
            };
            self.crossed[low][link] += bytes;
            wires.push(Reverse((at + takes, *to, node, whose)));
        }
    }
}
