//! Nodes, a network and disks in virtual time, on one thread: the same seed gives the same run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use octet_coins::{Action, Genesis, LedgerParameters, SignedTransaction, Transaction, Validator};
use octet_ledger::consensus::{ConsensusNode, ConsensusSettings, EquivocationKind, Recipient};
use octet_ledger::store::BlockStore;
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;

use crate::disk::{Disk, Fuse};
use crate::evaluator::Evaluator;
use crate::liar::{Liar, Lie};

/// Each has every so many-th transaction.
pub const OWNERS: usize = 300;

/// What the network and the machines do.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Of a thousand frames.
    pub lost: u32,
    pub doubled: u32,
    /// The longest delay in milliseconds.
    pub delay: u64,
    /// Of ten thousand calls of a node.
    pub crashes: u32,
    /// Whether a crash is a power cut half of the time.
    pub cuts: bool,
    /// Whether a node loses its store, but not its log, in some crashes.
    pub lost_stores: bool,
    /// Whether a node forgets its log when it crashes: the control.
    pub amnesia: bool,
}

pub struct SimulatedNode {
    pub key: Arc<PrivateKey>,
    pub public: PublicKey,
    pub store: Disk,
    pub log: Disk,
    pub fuse: Fuse,
    pub node: Option<ConsensusNode>,
    pub liar: Option<Liar>,
    /// Nodes hear each other within a group only.
    pub group: u8,
    next_tick: Duration,
    /// How often it was started.
    pub starts: u32,
}

enum Event {
    Frame { from: usize, to: usize, bytes: Arc<[u8]> },
    Tick(usize),
    Start(usize),
}

pub struct World {
    pub seed: u64,
    pub rng: Rng,
    pub now: Duration,
    pub genesis: Genesis,
    pub nodes: Vec<SimulatedNode>,
    pub faults: Faults,
    pub evaluator: Evaluator,
    /// Votes of honest nodes that contradicted each other.
    pub contradictions: u64,
    pub crashes: u64,
    pub frames: u64,
    /// The node that is killed when its fuse has blown, and not started again.
    killed: Option<usize>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    owners: Vec<Arc<PrivateKey>>,
    pub submitted: Vec<SignedTransaction>,
}

impl World {
    /// `validators` and some followers.
    pub fn new(seed: u64, validators: usize, followers: usize) -> Self {
        let key = |of: u8, at: usize| {
            let mut seed = [of; 32];
            seed[..2].copy_from_slice(&(at as u16).to_be_bytes());
            Arc::new(PrivateKey::from_seed(seed).unwrap())
        };
        let owners: Vec<_> = (0..OWNERS).map(|at| key(9, at)).collect();
        let keys: Vec<_> = (0..validators + followers).map(|at| key(1, at)).collect();
        let validator = |key: &Arc<PrivateKey>| {
            let mut seed = *key.seed();
            seed[2] = 2;
            let owner = PrivateKey::from_seed(seed).unwrap().public();
            Validator { owner, key: key.public() }
        };
        let genesis = Genesis::new(
            "simulation",
            keys[..validators].iter().map(validator).collect(),
            owners.iter().map(|owner| (owner.public(), 1_000_000_000)).collect(),
            LedgerParameters::with_spacing(Duration::from_secs(1)),
        );
        let genesis = genesis.unwrap();
        let node = |key: Arc<PrivateKey>| {
            let fuse = Fuse::default();
            SimulatedNode {
                public: key.public(),
                key,
                store: Disk::new(fuse.clone()),
                log: Disk::new(fuse.clone()),
                fuse,
                node: None,
                liar: None,
                group: 0,
                next_tick: Duration::ZERO,
                starts: 0,
            }
        };
        let mut world = Self {
            seed,
            rng: Rng::with_seed(seed),
            now: Duration::from_secs(1000),
            genesis,
            nodes: keys.into_iter().map(node).collect(),
            faults: Faults { delay: 20, ..Faults::default() },
            evaluator: Evaluator::default(),
            contradictions: 0,
            crashes: 0,
            frames: 0,
            killed: None,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            owners,
            submitted: vec![],
        };
        (0..validators + followers).for_each(|at| world.start(at));
        world
    }

    pub fn lies(&mut self, at: usize, lie: Lie) {
        let node = &mut self.nodes[at];
        node.liar = Some(Liar::new(lie, node.key.clone(), &self.genesis));
    }

    pub fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        assert!(node.node.is_none());
        node.fuse.set(None);
        if node.starts == 0 {
            // The process creates the file under another name (`store_file`), so no crash falls into that.
            drop(BlockStore::open(node.store.clone(), &self.genesis).unwrap());
        }
        node.starts += 1;
        let settings = ConsensusSettings::new(self.genesis.clone());
        if self.rng.u32(..10_000) < 20 * self.faults.crashes {
            node.fuse.set(Some(self.rng.u64(..12)));
        }
        let log = Box::new(node.log.clone());
        let opened =
            ConsensusNode::open(settings, node.key.clone(), node.store.clone(), log, self.now);
        match opened {
            Ok(opened) => {
                node.node = Some(opened);
                self.after(at);
            }
            Err(error) => {
                assert!(error.to_string().contains("killed"), "seed {}: {error}", self.seed);
                self.crash(at);
            }
        }
    }

    /// Ends the process of a node now. It starts again soon.
    pub fn crash(&mut self, at: usize) {
        self.crashes += 1;
        let is_cut = self.faults.cuts && self.rng.bool();
        self.stop(at, is_cut);
        let delay = Duration::from_millis(self.rng.u64(10..8_000));
        self.push(self.now + delay, Event::Start(at));
    }

    pub fn stop(&mut self, at: usize, is_cut: bool) {
        let node = &mut self.nodes[at];
        // Nothing is written while the process ends.
        node.fuse.set(Some(0));
        node.node = None;
        if is_cut {
            node.store.cut_power(&mut self.rng);
            node.log.cut_power(&mut self.rng);
        }
        // The first node keeps all blocks: what nobody has cannot be fetched.
        if self.faults.lost_stores && at > 0 && self.rng.u32(..4) == 0 {
            node.store.erase();
            node.starts = 0;
        }
        if self.faults.amnesia {
            node.log.erase();
        }
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.queue.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
        self.next += 1;
    }

    /// Sends what a node has to say, and notes when it is to be called.
    fn after(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.node else { return };
        let frames = running.take_frames();
        let deadline = running.deadline().max(self.now + Duration::from_millis(1));
        let (height, tip) = (running.state().height(), running.state().tip());
        let (own, is_liar) = (node.public, node.liar.is_some());
        if node.next_tick <= self.now || deadline < node.next_tick {
            node.next_tick = deadline;
            self.push(deadline, Event::Tick(at));
        }
        self.evaluator.decided(height, tip.0);
        let crashes = self.rng.u32(..10_000) < self.faults.crashes;
        let count = if crashes { self.rng.usize(..=frames.len()) } else { frames.len() };
        for (to, frame) in frames.into_iter().take(count) {
            if !is_liar && self.evaluator.is_contradiction(own, &frame) {
                self.contradictions += 1;
            }
            self.send(at, to, frame);
        }
        if crashes {
            self.crash(at);
        }
    }

    fn send(&mut self, at: usize, to: Recipient, frame: Arc<[u8]>) {
        let mut other = None;
        let mut lie = None;
        if let Some(liar) = &mut self.nodes[at].liar {
            other = liar.other(&frame).map(Arc::<[u8]>::from);
            lie = Some(liar.lie);
        }
        for peer in 0..self.nodes.len() {
            let is_meant = match to {
                Recipient::Everyone => peer != at,
                Recipient::One(key) => self.nodes[peer].public == key,
            };
            if !is_meant {
                continue;
            }
            let is_other = lie == Some(Lie::Split) && peer % 2 == 1 || lie == Some(Lie::Round);
            if let Some(other) = &other {
                if lie == Some(Lie::Double) || is_other {
                    self.carry(at, peer, other.clone());
                }
                if is_other {
                    continue;
                }
            }
            self.carry(at, peer, frame.clone());
        }
    }

    fn carry(&mut self, from: usize, to: usize, bytes: Arc<[u8]>) {
        self.frames += 1;
        let copies = match self.rng.u32(..1000) {
            roll if roll < self.faults.lost => 0,
            roll if roll < self.faults.lost + self.faults.doubled => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = Duration::from_millis(self.rng.u64(1..=self.faults.delay.max(1)));
            // An honest node ends when others pass on a vote with its key that contradicts its own. A liar does not.
            if self.nodes[to].liar.as_ref().is_some_and(|liar| liar.has_signed(&bytes)) {
                continue;
            }
            self.push(self.now + delay, Event::Frame { from, to, bytes: bytes.clone() });
        }
    }

    /// Calls a node, which may be killed at one of the operations of its disks.
    fn call(
        &mut self,
        at: usize,
        what: impl FnOnce(
            &mut ConsensusNode,
            Duration,
        ) -> Result<(), octet_ledger::consensus::ConsensusError>,
    ) {
        let (now, node) = (self.now, &mut self.nodes[at]);
        let Some(running) = &mut node.node else { return };
        if self.rng.u32(..10_000) < 4 * self.faults.crashes {
            node.fuse.set(Some(self.rng.u64(..12)));
        }
        match what(running, now) {
            Ok(()) => {
                if self.killed != Some(at) {
                    node.fuse.set(None);
                }
                self.after(at);
            }
            Err(_) if self.killed == Some(at) => node.node = None,
            Err(error) => {
                assert!(error.to_string().contains("killed"), "seed {}: {error}", self.seed);
                self.crash(at);
            }
        }
    }

    /// Goes on for so long.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Goes on until `is_done`, or until `end`. Returns whether it is done.
    pub fn run_until(&mut self, end: Duration, is_done: impl Fn(&Self) -> bool) -> bool {
        while !is_done(self) {
            let Some(Reverse((at, number))) = self.queue.peek().copied() else { break };
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            match self.events.remove(&number).unwrap() {
                Event::Frame { from, to, bytes } => {
                    if self.nodes[from].group == self.nodes[to].group {
                        let from = self.nodes[from].public;
                        self.call(to, |node, now| node.receive(from, &bytes, now));
                    }
                }
                Event::Tick(of) => {
                    if self.nodes[of].next_tick == at {
                        self.call(of, ConsensusNode::tick);
                    }
                }
                Event::Start(of) => {
                    if self.nodes[of].node.is_none() {
                        self.start(of);
                    }
                }
            }
        }
        let done = is_done(self);
        if !done {
            self.now = self.now.max(end);
        }
        done
    }

    /// Kills a node at the given operation of its disks, for good.
    pub fn run_until_killed(&mut self, at: usize, operation: u64) {
        self.nodes[at].fuse.set(Some(operation));
        self.killed = Some(at);
        let end = self.now + Duration::from_secs(100);
        assert!(self.run_until(end, |world| world.nodes[at].node.is_none()));
    }

    /// Gives a transaction to the node `at`.
    pub fn submit(&mut self, at: usize) {
        let transaction = self.transaction();
        self.give(at, transaction);
    }

    /// The next transaction.
    pub fn transaction(&mut self) -> SignedTransaction {
        let number = self.submitted.len();
        let transaction = self.transaction_of(number % OWNERS, (number / OWNERS) as u64 + 1);
        self.submitted.push(transaction);
        transaction
    }

    /// A transaction of the owner `of`.
    pub fn transaction_of(&mut self, of: usize, nonce: u64) -> SignedTransaction {
        let from = &self.owners[of];
        let transaction = Transaction {
            signer: from.public(),
            nonce,
            action: Action::Transfer {
                to: self.owners[(of + 1) % OWNERS].public(),
                amount: self.rng.u64(1..5),
            },
        };
        SignedTransaction::sign(transaction, &self.genesis.hash(), from)
    }

    /// Gives all transactions again: those that wait are not on the disk.
    pub fn submit_again(&mut self) {
        for at in 0..self.nodes.len() {
            for transaction in self.submitted.clone() {
                self.give(at, transaction);
            }
        }
    }

    fn give(&mut self, at: usize, transaction: SignedTransaction) {
        self.call(at, |node, now| node.submit(transaction, now).map(|_| ()));
    }

    /// How many transactions the newest state of a running node has.
    pub fn transactions(&mut self, at: usize) -> usize {
        let validators = self.genesis.validators().iter().map(|it| it.key).collect::<Vec<_>>();
        let genesis = self.genesis.hash().0;
        let node = self.nodes[at].node.as_ref().unwrap();
        self.evaluator.walk(node.store(), genesis, &validators)
    }

    pub fn accused(&self, at: usize) -> BTreeSet<PublicKey> {
        let store = self.nodes[at].node.as_ref().unwrap().store();
        Evaluator::accused(store).into_iter().map(|(key, _)| key).collect()
    }

    /// Of which kinds the evidence is.
    pub fn evidence(&self, at: usize) -> BTreeSet<EquivocationKind> {
        let store = self.nodes[at].node.as_ref().unwrap().store();
        Evaluator::accused(store).into_iter().map(|(_, kind)| kind).collect()
    }

    pub fn height(&self, at: usize) -> u64 {
        self.nodes[at].node.as_ref().map_or(0, |node| node.state().height())
    }

    /// Ends all faults and waits until all nodes have all transactions.
    pub fn heal(&mut self) {
        self.faults = Faults { delay: 20, ..Faults::default() };
        self.nodes.iter_mut().for_each(|node| node.group = 0);
        for round in 0.. {
            self.run(Duration::from_secs(20));
            self.submit_again();
            self.run(Duration::from_secs(40));
            let all = self.submitted.len();
            let missing: Vec<_> =
                (0..self.nodes.len()).filter(|at| self.transactions(*at) != all).collect();
            if missing.is_empty() {
                return;
            }
            assert!(round < 10, "seed {}: {missing:?} have not all", self.seed);
        }
    }
}
