//! A box: its keys, its book, its disk, and what its kernel counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;
use octet_receipts::{AccountBook, AccountId, Agreement, NeighbourCounters, ServiceKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    None,
    /// A payer that tells its book of a part of what it bought.
    Less,
    /// A payer that sends no receipts any more.
    Silent,
    /// A payer that signs for another price, scope or epoch.
    Others,
    /// A payee that restores an old book after a crash.
    OldBook,
    /// A payee that tells its book of more than it served.
    More,
}

/// Whose account it is of a node, and of what.
pub type Line = (usize, ServiceKind);

pub fn id(nodes: &[PublicKey], (neighbour, kind): Line) -> AccountId {
    AccountId { node: nodes[neighbour], kind }
}

/// What is counted for one neighbour in this epoch, and up to where it is served.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel {
    pub bought: u64,
    pub served: u64,
    pub limit: Option<u64>,
}

pub struct Node {
    pub node: PrivateKey,
    pub identity: Certified,
    pub book: AccountBook,
    pub disk: Vec<u8>,
    pub old_disk: Option<Vec<u8>>,
    pub kernels: BTreeMap<Line, Kernel>,
    /// How often the counters of a kind have begun.
    pub boots: BTreeMap<ServiceKind, u64>,
    /// When the process began, in the time of the world.
    pub start: Duration,
    pub agreements: BTreeMap<Line, Agreement>,
    pub lie: Lie,
}

pub fn seed(kind: u8, name: usize, epoch: u64) -> [u8; 32] {
    let mut seed = [kind; 32];
    seed[0] = u8::try_from(name).unwrap();
    seed[1] = u8::try_from(epoch % 256).unwrap();
    seed
}

pub fn certified(node: &PrivateKey, name: usize, epoch: u64) -> Certified {
    let key = PrivateKey::from_seed(seed(2, name, epoch)).unwrap();
    let unit = "accounts".parse().unwrap();
    let statement = KeyStatement { node: node.public(), unit, key: key.public(), epoch, issued: 0 };
    let certificate = Certificate::sign(statement, node).unwrap();
    Certified { key: Arc::new(key), certificate }
}

impl Node {
    pub fn new(name: usize, lie: Lie) -> Self {
        let node = PrivateKey::from_seed(seed(1, name, 0)).unwrap();
        let identity = certified(&node, name, 1);
        let mut book = AccountBook::default();
        let disk = book.to_bytes();
        Self {
            node,
            identity,
            book,
            disk,
            old_disk: None,
            kernels: BTreeMap::new(),
            boots: ServiceKind::ALL.map(|kind| (kind, 1)).into(),
            start: Duration::ZERO,
            agreements: BTreeMap::new(),
            lie,
        }
    }

    pub fn public(&self) -> PublicKey {
        self.node.public()
    }

    /// Begins with what is on the disk.
    pub fn start(&mut self, now: Duration, nodes: &[PublicKey]) {
        self.start = now;
        self.book = AccountBook::from_bytes(&self.disk).expect("the disk is whole");
        assert_eq!(self.book.to_bytes(), self.disk);
        self.book.set_identity(self.identity.clone());
        for (line, agreement) in &self.agreements {
            self.book.agree(id(nodes, *line), *agreement).unwrap();
        }
    }

    pub fn observe(&mut self, nodes: &[PublicKey]) {
        for (line, kernel) in &self.kernels {
            let mut epoch = [0; 16];
            epoch[..8].copy_from_slice(&self.boots[&line.1].to_le_bytes());
            let Kernel { bought, served, limit } = *kernel;
            let (bought, served) = match self.lie {
                Lie::Less => (bought / 2, served),
                Lie::More => (bought, served + served / 8),
                _ => (bought, served),
            };
            let counters = NeighbourCounters { epoch, bought, served, limit };
            self.book.observe(&id(nodes, *line), counters);
        }
    }

    /// Sets the quotas, as the kernel has them: up to an absolute count.
    pub fn limit(&mut self, nodes: &[PublicKey], observed: &BTreeMap<Line, u64>) {
        for (line, kernel) in &mut self.kernels {
            let remaining = self.book.remaining(&id(nodes, *line));
            kernel.limit = remaining.map(|it| observed[line] + it);
        }
    }
}
