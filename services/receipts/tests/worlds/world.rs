//! Boxes in a line, and all that happens to them.

mod faults;
mod link;

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use octet_node::control::PublicKey;
use octet_receipts::{AccountRow, Agreement, ServiceKind};

use crate::boxes::{Kernel, Lie, Line, Node, id};
use crate::evaluator::Evaluator;

#[derive(Debug, Clone)]
struct Packet {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

/// Where a box is when it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    BeforeWrite,
    /// The disk has the new bytes, the book does not know it.
    AfterWrite,
    AfterPersisted,
    /// A part of the messages has gone.
    AfterSomeSent,
    Idle,
}

/// Payer, payee, and what is paid for.
type Flow = (usize, usize, ServiceKind);

pub struct World {
    rng: Rng,
    now: Duration,
    nodes: Vec<Node>,
    keys: Vec<PublicKey>,
    flows: BTreeMap<Flow, Evaluator>,
    /// The kinds of all terms that were offered, by their scopes.
    scopes: BTreeMap<[u8; 32], ServiceKind>,
    queue: Vec<Packet>,
    history: Vec<Packet>,
    loss: f64,
    is_quiet: bool,
    is_tight: bool,
    changes_prices: bool,
    changes_keys: bool,
    charges_sometimes: bool,
}

fn agreement(price: u64, is_tight: bool) -> Agreement {
    let max_debt = if is_tight { 4_000_000 } else { u64::MAX / 2 };
    Agreement {
        price: Some(price),
        window: 1 << 20,
        max_price: Some(1 << 40),
        max_debt,
        max_loss: 40,
        genesis: [0; 32],
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(2..4);
        let liar = if rng.f64() < 0.4 { rng.usize(..count) } else { usize::MAX };
        let lies = [Lie::Less, Lie::Silent, Lie::Others, Lie::OldBook, Lie::More];
        let lie = lies[rng.usize(..lies.len())];
        let mut nodes: Vec<Node> = (0..count)
            .map(|name| Node::new(name, if name == liar { lie } else { Lie::None }))
            .collect();
        let keys: Vec<_> = nodes.iter().map(Node::public).collect();
        let is_tight = rng.f64() < 0.2;
        let is_mutual = rng.f64() < 0.3;
        let mut flows = BTreeMap::new();
        for low in 0..count - 1 {
            let kinds = &ServiceKind::ALL[..if rng.f64() < 0.3 { 2 } else { 1 }];
            let both = [(low, low + 1), (low + 1, low)];
            for (a, b, kind) in
                both.into_iter().flat_map(|(a, b)| kinds.iter().map(move |it| (a, b, *it)))
            {
                let price = rng.u64(0..4) * (1 << 30) + rng.u64(..1 << 20);
                nodes[a].agreements.insert((b, kind), agreement(price, is_tight));
                nodes[a].kernels.insert((b, kind), Kernel { limit: Some(0), ..Kernel::default() });
                if is_mutual || a == low {
                    let evaluator = Evaluator {
                        max_window: 1 << 20,
                        max_price: 1 << 40,
                        max_loss: 40,
                        starts: 1,
                        ..Evaluator::default()
                    };
                    flows.insert((a, b, kind), evaluator);
                }
            }
        }
        let now = Duration::ZERO;
        for node in &mut nodes {
            node.start(now, &keys);
        }
        Self {
            loss: f64::from(rng.u32(0..4)) / 100.0,
            changes_prices: rng.f64() < 0.4,
            changes_keys: rng.f64() < 0.3,
            charges_sometimes: rng.f64() < 0.1,
            rng,
            now,
            nodes,
            keys,
            flows,
            scopes: BTreeMap::new(),
            queue: vec![],
            history: vec![],
            is_quiet: false,
            is_tight,
        }
    }

    /// Runs the world and returns how many bytes were paid.
    pub fn run(mut self) -> u64 {
        for _ in 0..90 {
            self.step();
        }
        self.is_quiet = true;
        // What went before is forgotten; what is lost is sent again.
        self.queue.clear();
        for round in 0..36 {
            self.now += Duration::from_secs(2);
            for name in 0..self.nodes.len() {
                self.poll(name, None);
            }
            self.deliver();
            if self.is_tight && round % 5 == 0 {
                self.settle_all();
            }
        }
        for ((payer, payee, kind), evaluator) in &self.flows {
            let is_honest = |name: usize| self.nodes[name].lie == Lie::None;
            if is_honest(*payer) && is_honest(*payee) {
                let row = |of, with| self.row(of, (with, *kind));
                evaluator.quiet(&row(*payer, *payee), &row(*payee, *payer));
            }
        }
        self.flows.values().map(Evaluator::sent_bytes).sum()
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.rng.u64(100..3000));
        if self.rng.f64() < 0.01 {
            self.now += Duration::from_secs(3600);
            self.flows.values_mut().for_each(|flow| flow.hours += 1);
        }
        for pair in self.flows.keys().copied().collect::<Vec<_>>() {
            self.traffic(pair);
        }
        for name in 0..self.nodes.len() {
            if self.rng.f64() < 0.8 {
                let cuts = [
                    Cut::BeforeWrite,
                    Cut::AfterWrite,
                    Cut::AfterPersisted,
                    Cut::AfterSomeSent,
                    Cut::Idle,
                ];
                let cut = (self.rng.f64() < 0.05).then(|| cuts[self.rng.usize(..cuts.len())]);
                self.poll(name, cut);
            }
        }
        self.deliver();
        self.owners();
        self.lie();
    }

    /// Bytes of both directions. What is lost is counted by its sender alone.
    fn traffic(&mut self, (payer, payee, kind): Flow) {
        let chunks = self.rng.u32(0..8);
        for _ in 0..chunks {
            let size = self.rng.u64(1..60_000);
            let is_lost = self.rng.f64() < self.loss;
            let is_up = self.rng.bool();
            let served = &mut self.nodes[payee].kernels.get_mut(&(payer, kind)).unwrap();
            let is_served = served.limit.is_none_or(|limit| served.served + size <= limit)
                && !(is_lost && is_up);
            if is_served {
                served.served += size;
            }
            let is_bought = is_up || (is_served && !is_lost);
            if is_bought {
                self.nodes[payer].kernels.get_mut(&(payee, kind)).unwrap().bought += size;
            }
            let flow = self.flows.get_mut(&(payer, payee, kind)).unwrap();
            flow.bought += if is_bought { size } else { 0 };
            flow.served += if is_served { size } else { 0 };
        }
        if self.is_honest_payee(payee) {
            self.flows[&(payer, payee, kind)].served();
        }
    }

    /// The bounds of a payee hold for one that reads its disk and counts what it serves.
    fn is_honest_payee(&self, payee: usize) -> bool {
        !matches!(self.nodes[payee].lie, Lie::OldBook | Lie::More)
    }

    fn row(&self, of: usize, with: Line) -> AccountRow {
        let rows = self.nodes[of].book.rows();
        rows.into_iter().find(|row| self.is_row(row, with)).unwrap()
    }

    fn is_row(&self, row: &AccountRow, (with, kind): Line) -> bool {
        row.node == self.keys[with] && row.kind == kind
    }

    /// One round of the unit, or a part of one.
    fn poll(&mut self, name: usize, cut: Option<Cut>) {
        let keys = self.keys.clone();
        self.nodes[name].observe(&keys);
        let observed: BTreeMap<Line, u64> =
            self.nodes[name].kernels.iter().map(|(peer, it)| (*peer, it.served)).collect();
        for ((payer, payee, _), flow) in &mut self.flows {
            if *payer == name {
                flow.observed_bought = flow.bought;
            }
            if *payee == name {
                flow.observed_served = flow.served;
            }
        }
        let now = self.now - self.nodes[name].start;
        self.nodes[name].book.tick(now);
        self.look(name);
        // The disk is busy at times, or full.
        let is_late = !self.is_quiet && cut.is_none() && self.rng.f64() < 0.2;
        if is_late && self.rng.bool() && self.nodes[name].book.is_dirty() {
            let _ = self.nodes[name].book.to_bytes();
            self.nodes[name].book.not_persisted();
        }
        if self.nodes[name].book.is_dirty() && !is_late {
            let bytes = self.nodes[name].book.to_bytes();
            let rows = self.nodes[name].book.rows();
            if self.rng.bool() && !self.is_quiet {
                // Messages come while the disk is busy.
                self.deliver();
            }
            if cut == Some(Cut::BeforeWrite) {
                return self.crash(name);
            }
            if self.nodes[name].old_disk.is_none() && self.rng.f64() < 0.1 {
                self.nodes[name].old_disk = Some(self.nodes[name].disk.clone());
            }
            self.nodes[name].disk = bytes;
            self.stored(name, &rows);
            self.is_safe(name);
            if cut == Some(Cut::AfterWrite) {
                return self.crash(name);
            }
            self.nodes[name].book.persisted();
        }
        if !is_late {
            self.is_safe(name);
        }
        if cut == Some(Cut::AfterPersisted) {
            return self.crash(name);
        }
        let mut messages = self.nodes[name].book.take_messages();
        if cut == Some(Cut::AfterSomeSent) {
            messages.truncate(self.rng.usize(..=messages.len()));
        }
        for (to, bytes) in messages {
            let to = keys.iter().position(|key| *key == to).unwrap();
            self.send(name, to, bytes);
        }
        if cut.is_some() {
            return self.crash(name);
        }
        self.nodes[name].limit(&keys, &observed);
    }

    /// After a write of what was observed, the end of a counter epoch is on the disk.
    fn is_safe(&mut self, name: usize) {
        for ((payer, payee, _), flow) in &mut self.flows {
            flow.unsafe_bought *= u64::from(*payer != name);
            flow.unsafe_served *= u64::from(*payee != name);
        }
    }

    fn stored(&mut self, name: usize, rows: &[AccountRow]) {
        for ((payer, payee, kind), flow) in &mut self.flows {
            let is_row =
                |row: &&AccountRow, peer: usize| row.node == self.keys[peer] && row.kind == *kind;
            let row = |peer: usize| rows.iter().find(|row| is_row(row, peer)).unwrap();
            if *payer == name {
                flow.stored_bought = flow.observed_bought;
                flow.is_acceptance_stored = row(*payee).paid_price.is_some();
            }
            if *payee == name {
                flow.stored_served = flow.observed_served;
                flow.received = row(*payer).received;
                flow.is_first_stored = !row(*payer).taken_receipts.is_empty();
            }
        }
    }

    fn look(&mut self, name: usize) {
        let rows = self.nodes[name].book.rows();
        let keys = &self.keys;
        for ((payer, payee, kind), flow) in &mut self.flows {
            let row = |peer: usize| {
                let is_row = |row: &&AccountRow| row.node == keys[peer] && row.kind == *kind;
                rows.iter().find(is_row).unwrap()
            };
            if *payer == name {
                flow.payer_is(row(*payee));
            }
            if *payee == name {
                flow.payee_is(row(*payer));
            }
        }
    }

    fn owners(&mut self) {
        let name = self.rng.usize(..self.nodes.len());
        if self.changes_keys && self.rng.f64() < 0.03 {
            self.renew(name);
            let identity = self.nodes[name].identity.clone();
            self.nodes[name].book.set_identity(identity);
        }
        if self.rng.f64() < 0.03 {
            let kind = self.rng.choice(ServiceKind::ALL).unwrap();
            self.restart_counters(name, kind);
        }
        let lines: Vec<_> = self.nodes[name].kernels.keys().copied().collect();
        let line = self.rng.choice(lines).unwrap();
        let of_line = id(&self.keys, line);
        if self.changes_prices && self.rng.f64() < 0.05 {
            let is_free = self.charges_sometimes && self.rng.bool();
            let price = self.rng.u64(0..4) * (1 << 30) + self.rng.u64(..1 << 20);
            let mut new = agreement(price, self.is_tight);
            new.window = if self.rng.bool() { 1 << 20 } else { 1 << 19 };
            if is_free {
                new.price = None;
                if let Some(flow) = self.flows.get_mut(&(line.0, name, line.1)) {
                    flow.was_free = true;
                }
            }
            self.nodes[name].agreements.insert(line, new);
            self.nodes[name].book.agree(of_line, new).unwrap();
        }
        if self.rng.f64() < 0.05 {
            self.settle(name, line);
        }
        if self.rng.f64() < 0.005 {
            self.nodes[name].book.write_off(&of_line).unwrap();
            if let Some(flow) = self.flows.get_mut(&(line.0, name, line.1)) {
                flow.was_free = true;
            }
        }
    }

    fn settle(&mut self, name: usize, line: Line) {
        let (owed, of_line) = (self.row(name, line).owed, id(&self.keys, line));
        let book = &mut self.nodes[name].book;
        assert!(book.settle(&of_line, owed + 1).is_err());
        let amount = if self.is_quiet { owed } else { self.rng.u64(..=owed) };
        book.settle(&of_line, amount).unwrap();
        // A crash would undo it, and the owner would have to look; here it is on the disk at once.
        let bytes = book.to_bytes();
        let rows = book.rows();
        book.persisted();
        self.nodes[name].disk = bytes;
        self.stored(name, &rows);
        self.is_safe(name);
        self.look(name);
        if let Some(flow) = self.flows.get_mut(&(line.0, name, line.1)) {
            flow.settled += amount;
        }
    }

    fn settle_all(&mut self) {
        for (payer, payee, kind) in self.flows.keys().copied().collect::<Vec<_>>() {
            self.settle(payee, (payer, kind));
        }
    }
}
