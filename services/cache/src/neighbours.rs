//! Nodes of other boxes that this node takes objects from, and gives objects to: those of its
//! `[[neighbour]]` lines. They are reached over paths, at their node addresses.
//!
//! A line names the key of the node, and not that of its `cache`. So both ends of a connection show
//! the certificate of theirs: [`certificates`] checks it, and [`connection`] connects. What is taken
//! and given is counted by [`traffic`].

mod certificates;
mod connection;
mod traffic;

pub use certificates::{MAX_CERTIFICATE, NeighbourKeys, RefusedCertificate};
pub use connection::{CACHE_ALPN, NeighbourUnreachable};
pub use traffic::{FREE, FREE_PERIOD, ObjectTraffic, ObjectTrafficRow, Taker, UNKNOWN_LIMIT};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use octet_appliance::Neighbour;
use octet_node::address::NodeAddress;
use octet_node::control::PublicKey;
use octet_node::key::NoRandomness;
use octet_node::sub_key::Certified;
use tokio::sync::watch;

use crate::peers::PORT;
use connection::NeighbourSlot;

/// How long a neighbour that sent wrong data is not asked for anything.
pub const LIAR_PAUSE: Duration = Duration::from_secs(60);

/// How long an unreachable neighbour is not tried again.
pub const UNREACHABLE_PAUSE: Duration = Duration::from_secs(30);

/// A node of another box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourNode {
    /// What its line calls it.
    pub name: String,
    pub node: PublicKey,
    /// Where its `cache` listens.
    pub address: SocketAddr,
}

/// The neighbours of this node, and what is known about them.
#[derive(Debug)]
pub struct Neighbours {
    list: Mutex<Vec<NeighbourNode>>,
    /// Whether this node takes objects from them.
    takes: AtomicBool,
    pub traffic: ObjectTraffic,
    keys: NeighbourKeys,
    certified: watch::Receiver<Option<Certified>>,
    slots: Mutex<BTreeMap<PublicKey, Arc<tokio::sync::Mutex<NeighbourSlot>>>>,
    /// Until when a neighbour is not asked.
    paused: Mutex<BTreeMap<PublicKey, Instant>>,
}

/// The neighbours of the board `number` in these lines, at their node addresses.
pub fn from_lines(lines: &[Neighbour], number: Option<u8>) -> Vec<NeighbourNode> {
    let node = |line: &Neighbour| {
        let node = line.descriptor.node();
        let address = SocketAddr::new(NodeAddress::of(&node).ip().into(), PORT);
        NeighbourNode { name: line.name.to_string(), node, address }
    };
    lines.iter().filter(|line| line.is_of(number)).map(node).collect()
}

impl Neighbours {
    /// No neighbours yet. This node shows the certificate of `certified`.
    ///
    /// # Errors
    /// The kernel provides no randomness.
    pub fn new(certified: watch::Receiver<Option<Certified>>) -> Result<Arc<Self>, NoRandomness> {
        Ok(Arc::new(Self {
            list: Mutex::default(),
            takes: AtomicBool::default(),
            traffic: ObjectTraffic::new()?,
            keys: NeighbourKeys::default(),
            certified,
            slots: Mutex::default(),
            paused: Mutex::default(),
        }))
    }

    /// Replaces the list. Connections to nodes that are gone end. This node takes objects from the
    /// others if `takes`.
    pub fn set(&self, list: Vec<NeighbourNode>, takes: bool) {
        self.takes.store(takes, Ordering::Relaxed);
        lock(&self.slots).retain(|node, _| list.iter().any(|it| it.node == *node));
        *lock(&self.list) = list;
    }

    pub fn list(&self) -> Vec<NeighbourNode> {
        lock(&self.list).clone()
    }

    /// Whether a policy allows this node to ask for objects over paths.
    pub fn takes(&self) -> bool {
        self.takes.load(Ordering::Relaxed)
    }

    /// Those that this node takes objects from.
    pub fn givers(&self) -> Vec<NeighbourNode> {
        if self.takes() { self.list() } else { vec![] }
    }

    pub fn has(&self, node: &PublicKey) -> bool {
        lock(&self.list).iter().any(|it| it.node == *node)
    }

    /// The neighbour whose `cache` has `key`, as the certificate in `bytes` says.
    ///
    /// # Errors
    /// It is none, or the certificate does not prove it.
    pub fn check(&self, bytes: &[u8], key: &PublicKey) -> Result<PublicKey, RefusedCertificate> {
        let nodes: Vec<_> = lock(&self.list).iter().map(|it| it.node).collect();
        self.keys.check(bytes, key, &nodes)
    }

    /// The certificate that this node shows; `None` before its key is certified.
    pub fn own_certificate(&self) -> Option<Vec<u8>> {
        self.certified.borrow().as_ref().map(|own| own.certificate.to_bytes())
    }

    /// Does not ask this neighbour for anything for `pause`.
    pub fn pause(&self, node: PublicKey, pause: Duration) {
        lock(&self.paused).insert(node, Instant::now() + pause);
    }

    fn is_paused(&self, node: &PublicKey) -> bool {
        lock(&self.paused).get(node).is_some_and(|until| Instant::now() < *until)
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_board_has_those_of_its_own_lines() {
        let descriptor = |seed: u8| {
            use octet_node::certificate::{Certificate, KeyStatement};
            use octet_node::key::PrivateKey;
            let node = PrivateKey::from_seed([seed; 32]).unwrap();
            let (unit, key) = ("forward".parse().unwrap(), node.public());
            let statement = KeyStatement { node: node.public(), unit, key, epoch: 1, issued: 0 };
            let certificate = Certificate::sign(statement, &node).unwrap();
            octet_appliance::PeerDescriptor::from_bytes(&certificate.to_bytes()).unwrap()
        };
        let line = |name: &str, seed, board| Neighbour {
            name: name.parse().unwrap(),
            descriptor: descriptor(seed),
            at: None,
            board,
            price: None,
            max_price: None,
            object_price: None,
            max_object_price: None,
            ledger: false,
        };
        let lines = [line("hill", 1, None), line("lake", 2, Some(3))];
        let names = |number| -> Vec<_> {
            from_lines(&lines, number).into_iter().map(|it| it.name).collect()
        };
        assert_eq!(names(None), ["hill"]);
        assert_eq!(names(Some(0)), ["hill"]);
        assert_eq!(names(Some(3)), ["lake"]);
        assert!(names(Some(4)).is_empty());
        let lake = from_lines(&lines, Some(3)).remove(0);
        let ip = NodeAddress::of(&lake.node).ip();
        assert_eq!(lake.address, SocketAddr::new(ip.into(), 4433));
    }
}
