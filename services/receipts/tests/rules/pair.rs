//! A payer P and a payee E, with a link that loses nothing unless a test says so.

use std::sync::Arc;
use std::time::Duration;

use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;
use octet_receipts::{
    AccountBook, AccountId, AccountRow, Agreement, NeighbourCounters, ServiceKind,
};

pub const W: u64 = 1 << 20;

/// With this price, a byte costs a millionth.
pub const A_BYTE: u64 = 1 << 30;

pub fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed([seed; 32]).unwrap()
}

pub fn certificate(node: u8, unit: &str, key_seed: u8, epoch: u64) -> Certificate {
    let (unit, key_of) = (unit.parse().unwrap(), key(key_seed).public());
    let node_key = key(node);
    let statement = KeyStatement { node: node_key.public(), unit, key: key_of, epoch, issued: 0 };
    Certificate::sign(statement, &node_key).unwrap()
}

pub fn certified(node: u8, key_seed: u8, epoch: u64) -> Certified {
    let certificate = certificate(node, "accounts", key_seed, epoch);
    Certified { key: Arc::new(key(key_seed)), certificate }
}

pub fn carriage(node: PublicKey) -> AccountId {
    AccountId { node, kind: ServiceKind::Carriage }
}

pub fn objects(node: PublicKey) -> AccountId {
    AccountId { node, kind: ServiceKind::Objects }
}

pub const PAYS: Agreement = Agreement {
    price: None,
    window: W,
    max_price: Some(A_BYTE),
    max_debt: u64::MAX / 2,
    max_loss: 0,
    genesis: [0; 32],
};

pub const CHARGES: Agreement = Agreement { price: Some(A_BYTE), max_price: None, ..PAYS };

/// One end of the link.
pub struct End {
    pub node: PublicKey,
    pub book: AccountBook,
    pub disk: Vec<u8>,
    /// Of carriage, and of objects.
    pub counters: NeighbourCounters,
    pub objects: NeighbourCounters,
}

impl End {
    fn new(node: u8, key_seed: u8, other: &PublicKey, agreement: Agreement) -> Self {
        let mut book = AccountBook::default();
        book.set_identity(certified(node, key_seed, 1));
        book.agree(carriage(*other), agreement).unwrap();
        let disk = book.to_bytes();
        book.persisted();
        let counters = NeighbourCounters { epoch: [1; 16], bought: 0, served: 0, limit: None };
        Self { node: key(node).public(), book, disk, counters, objects: counters }
    }

    pub fn write(&mut self) {
        if self.book.is_dirty() {
            self.disk = self.book.to_bytes();
            self.book.persisted();
        }
    }

    pub fn row_of(&self, kind: ServiceKind) -> AccountRow {
        self.book.rows().into_iter().find(|row| row.kind == kind).unwrap()
    }

    pub fn counters_of(&mut self, kind: ServiceKind) -> &mut NeighbourCounters {
        match kind {
            ServiceKind::Carriage => &mut self.counters,
            ServiceKind::Objects => &mut self.objects,
        }
    }

    /// That of the only account.
    pub fn row(&self) -> AccountRow {
        let [row] = self.book.rows().try_into().unwrap();
        row
    }
}

pub struct Pair {
    pub p: End,
    pub e: End,
    pub now: Duration,
    /// Whether E may refuse messages: it has lost its book.
    pub may_refuse: bool,
}

impl Pair {
    /// The node keys have the seeds 1 and 2, those of `accounts` 11 and 12.
    pub fn new(pays: Agreement, charges: Agreement) -> Self {
        let (p, e) = (key(1).public(), key(2).public());
        let mut pair = Self {
            p: End::new(1, 11, &e, pays),
            e: End::new(2, 12, &p, charges),
            now: Duration::ZERO,
            may_refuse: false,
        };
        pair.observe();
        pair
    }

    /// A pair that has agreed.
    pub fn agreed(pays: Agreement, charges: Agreement) -> Self {
        let mut pair = Self::new(pays, charges);
        pair.run(2);
        assert_eq!(pair.p.row().paid_price, charges.price);
        pair
    }

    pub fn observe(&mut self) {
        let (p, e) = (self.p.node, self.e.node);
        for (end, other) in [(&mut self.p, e), (&mut self.e, p)] {
            end.book.observe(&carriage(other), end.counters);
            end.book.observe(&objects(other), end.objects);
        }
    }

    /// What P's unit would send now.
    pub fn sent_by_p(&mut self) -> Vec<Vec<u8>> {
        self.p.book.tick(self.now);
        self.p.write();
        self.p.book.take_messages().into_iter().map(|it| it.1).collect()
    }

    pub fn sent_by_e(&mut self) -> Vec<Vec<u8>> {
        self.e.book.tick(self.now);
        self.e.write();
        self.e.book.take_messages().into_iter().map(|it| it.1).collect()
    }

    pub fn p_handles(&mut self, messages: &[Vec<u8>]) {
        for message in messages {
            // A price that is too high is shown.
            let _ = self.p.book.handle(&self.e.node, message, self.now);
        }
        self.p.write();
    }

    pub fn e_handles(&mut self, messages: &[Vec<u8>]) {
        for message in messages {
            let taken = self.e.book.handle(&self.p.node, message, self.now);
            assert!(taken.is_ok() || self.may_refuse, "{taken:?}");
        }
        self.e.write();
    }

    /// So many seconds, in which all messages arrive.
    pub fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.observe();
            let messages = self.sent_by_p();
            self.e_handles(&messages);
            let messages = self.sent_by_e();
            self.p_handles(&messages);
        }
    }

    /// E serves as much of `bytes` as it may, and P gets all of it.
    pub fn serve(&mut self, bytes: u64) -> u64 {
        self.observe();
        let bytes = self.e.book.remaining(&carriage(self.p.node)).unwrap_or(u64::MAX).min(bytes);
        self.p.counters.bought += bytes;
        self.e.counters.served += bytes;
        self.observe();
        bytes
    }

    pub fn remaining(&self) -> Option<u64> {
        self.e.book.remaining(&carriage(self.p.node))
    }
}
