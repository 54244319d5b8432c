//! The known network: the last announcement of each node, bounded in number, in time, and per neighbour.

mod pace;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::announcement::{AnnouncedLink, SignedAnnouncement};
use octet_node::address::NodeAddress;
use pace::ReadPace;

/// The maximum number of nodes.
pub const NODES: usize = 4096;

/// The factor by which remembered sequence numbers, also of expired announcements, may exceed the nodes.
const MARKS: usize = 2;

/// The minimum interval in seconds between accepted announcements of a node. Nodes announce less often, because
/// delays vary.
pub const MIN_INTERVAL: u64 = 2;

/// The maximum time that an announcement may be issued ahead of the local clock, in seconds.
pub const AHEAD: u64 = 60;

/// The result of a received announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnnouncementResult {
    /// It is stored, and must be sent to all other neighbours.
    New,
    /// It is already stored.
    Known,
    /// A newer one of its node is known.
    Older,
    Expired,
    /// It is issued more than [`AHEAD`] seconds in the future.
    Ahead,
    /// The last one of its node is less than [`MIN_INTERVAL`] seconds old.
    TooSoon,
    /// There is no room for another node.
    TooMany,
    /// It is this node's own. If its sequence is higher than that of the last one, the next one must exceed it.
    Own,
}

/// The last announcement of each node.
#[derive(Debug)]
pub struct Topology {
    own: NodeAddress,
    /// The maximum number of nodes.
    room: usize,
    neighbours: BTreeSet<NodeAddress>,
    nodes: BTreeMap<NodeAddress, Node>,
    marks: BTreeMap<NodeAddress, Mark>,
    /// The rate limits of neighbours that have sent an announcement.
    paces: BTreeMap<NodeAddress, ReadPace>,
}

#[derive(Debug)]
struct Node {
    signed: Arc<SignedAnnouncement>,
    /// The neighbour that sent it; `None` for this node's own.
    from: Option<NodeAddress>,
    /// The receive time, in seconds since 1970.
    received_at: u64,
}

/// The last announcement of a node, remembered after it expires: otherwise an older one would be accepted
/// again.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// The key's epoch, and the sequence.
    order: (u64, u64),
    /// When the last of the node's accepted announcements expires.
    until: u64,
}

impl Topology {
    /// An empty topology of the node with this address.
    pub fn new(own: NodeAddress) -> Self {
        Self::with_room(own, NODES)
    }

    /// The same, with room for this number of nodes instead of [`NODES`].
    pub fn with_room(own: NodeAddress, room: usize) -> Self {
        let (nodes, marks, paces) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { own, room, neighbours: BTreeSet::new(), nodes, marks, paces }
    }

    /// Sets the neighbours: their announcements are not displaced by others.
    pub fn set_neighbours(&mut self, neighbours: BTreeSet<NodeAddress>) {
        self.paces.retain(|neighbour, _| neighbours.contains(neighbour));
        self.neighbours = neighbours;
    }

    /// Whether `bytes` carry the signature of a stored announcement. This is checked before signatures are
    /// verified, because each announcement is received from every neighbour.
    pub fn knows(&self, bytes: &[u8]) -> bool {
        let node = SignedAnnouncement::speaker(bytes).and_then(|it| self.nodes.get(&it));
        node.is_some_and(|node| bytes.ends_with(node.signed.signature()))
    }

    /// Whether another unknown announcement of the neighbour `from` is processed, at `now` in seconds since
    /// 1970: verifying its signatures costs time.
    pub fn allow(&mut self, from: NodeAddress, now: u64) -> bool {
        self.paces.entry(from).or_insert_with(|| ReadPace::new(now)).allow(now)
    }

    /// Handles an announcement of the neighbour `from`, at `now` in seconds since 1970; `from` is `None` for
    /// this node's own.
    pub fn insert(
        &mut self,
        signed: impl Into<Arc<SignedAnnouncement>>,
        now: u64,
        from: Option<NodeAddress>,
    ) -> AnnouncementResult {
        let signed = signed.into();
        let node = signed.address();
        if node == self.own && from.is_some() {
            return AnnouncementResult::Own;
        }
        let announcement = signed.announcement();
        let order = (signed.epoch(), announcement.sequence);
        let expires = announcement.expires();
        if expires <= now {
            return AnnouncementResult::Expired;
        }
        if announcement.issued > now.saturating_add(AHEAD) {
            return AnnouncementResult::Ahead;
        }
        let mark = self.marks.get(&node).copied();
        match mark {
            Some(mark) if order < mark.order => return AnnouncementResult::Older,
            Some(mark) if order == mark.order => return AnnouncementResult::Known,
            _ => {}
        }
        let before = self.nodes.get(&node);
        // The age is unknown if the clock was set back.
        if from.is_some()
            && before.is_some_and(|it| {
                (it.received_at..it.received_at.saturating_add(MIN_INTERVAL)).contains(&now)
            })
        {
            return AnnouncementResult::TooSoon;
        }
        if before.is_none() && !self.make_room(node, from, expires, now) {
            return AnnouncementResult::TooMany;
        }
        let until = expires.max(mark.map_or(0, |mark| mark.until));
        self.nodes.insert(node, Node { signed, from, received_at: now });
        self.mark(node, Mark { order, until });
        AnnouncementResult::New
    }

    /// Drops expired announcements. Returns whether there were any.
    pub fn expire(&mut self, now: u64) -> bool {
        let count = self.nodes.len();
        self.nodes.retain(|_, node| node.expires() > now);
        self.marks.retain(|_, mark| mark.until > now);
        self.nodes.len() < count
    }

    /// The announcements, sorted by the nodes' addresses.
    pub fn iter(&self) -> impl Iterator<Item = &SignedAnnouncement> {
        self.nodes.values().map(|node| node.signed.as_ref())
    }

    pub fn get(&self, node: NodeAddress) -> Option<&SignedAnnouncement> {
        self.nodes.get(&node).map(|node| node.signed.as_ref())
    }

    /// The link between two nodes, if both announce it. Of each value the worse one counts, so that no node can
    /// exaggerate a link.
    pub fn link(&self, from: NodeAddress, to: NodeAddress) -> Option<AnnouncedLink> {
        let (there, back) = (self.half_link(from, to)?, self.half_link(to, from)?);
        Some(AnnouncedLink {
            neighbour: to,
            capacity: there.capacity.min(back.capacity),
            latency: there.latency.max(back.latency),
            loss: there.loss.max(back.loss),
        })
    }

    fn half_link(&self, from: NodeAddress, to: NodeAddress) -> Option<&AnnouncedLink> {
        self.get(from)?.announcement().link(to)
    }

    /// Makes room for `node`, if necessary by displacing another one.
    fn make_room(
        &mut self,
        node: NodeAddress,
        from: Option<NodeAddress>,
        expires: u64,
        now: u64,
    ) -> bool {
        if self.nodes.len() < self.room {
            return true;
        }
        self.expire(now);
        if self.nodes.len() < self.room {
            return true;
        }
        let brought = self.counts_by_neighbour();
        let Some((fills, most)) = brought.iter().max_by_key(|(_, count)| **count) else {
            return false;
        };
        let theirs = self.strangers().filter(|(_, it)| it.from == *fills);
        let victim = theirs.min_by_key(|(_, it)| it.expires()).map(|(it, of)| (*it, of.expires()));
        let Some((victim, ends)) = victim else { return false };
        // Oneself and a neighbour come in always. Of the others only who makes what neighbours have brought
        // more equal, or as equal and for longer: otherwise two push each other out, and what was pushed out
        // goes from node to node for ever.
        let saved = node == self.own || self.neighbours.contains(&node);
        let mine = brought.get(&from).copied().unwrap_or(0);
        let as_equal = *fills == from || mine < *most;
        if !saved && mine + 1 >= *most && !(as_equal && ends < expires) {
            return false;
        }
        self.nodes.remove(&victim);
        true
    }

    /// The nodes that may be displaced: neither this one nor a neighbour.
    fn strangers(&self) -> impl Iterator<Item = (&NodeAddress, &Node)> {
        let saved =
            |address: &NodeAddress| *address == self.own || self.neighbours.contains(address);
        self.nodes.iter().filter(move |(address, _)| !saved(address))
    }

    /// The number of these per neighbour.
    fn counts_by_neighbour(&self) -> BTreeMap<Option<NodeAddress>, usize> {
        let mut brought = BTreeMap::new();
        for (_, node) in self.strangers() {
            *brought.entry(node.from).or_default() += 1;
        }
        brought
    }

    fn mark(&mut self, node: NodeAddress, mark: Mark) {
        self.marks.insert(node, mark);
        if self.marks.len() > MARKS * self.room {
            let gone = self.marks.iter().filter(|(node, _)| !self.nodes.contains_key(*node));
            let first = gone.min_by_key(|(_, mark)| mark.until).map(|(node, _)| *node);
            if let Some(first) = first {
                self.marks.remove(&first);
            }
        }
    }
}

impl Node {
    fn expires(&self) -> u64 {
        self.signed.announcement().expires()
    }
}
