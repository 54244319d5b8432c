//! What is counted since the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use octet_node::control::PublicKey;
use serde_json::{Value, json};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How much it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What came of asking one node for objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dealings {
    /// Objects whose last byte it gave.
    pub gave: u64,
    /// Objects that it does not have, or no longer.
    pub lacked: u64,
    /// It could not be reached, or was silent for too long.
    pub silent: u64,
    /// What it sent was something else than what was asked for.
    pub wrong: u64,
}

#[derive(Debug, Default)]
pub struct CacheCounters {
    pub http_requests: Counter,
    /// Bytes of objects, and what stands between their parts, that were given out over HTTP.
    pub http_bytes: Counter,
    pub from_memory: Counter,
    /// Requests of objects that were here.
    pub hits: Counter,
    /// Requests of objects that were not.
    pub misses: Counter,
    /// Answers over HTTP, by their code.
    answers: Mutex<BTreeMap<u16, u64>>,
    /// Connections over HTTP that were turned away.
    pub http_refused: Counter,
    pub peers_served: Counter,
    /// Connections of other nodes that were turned away.
    pub peers_refused: Counter,
    /// Objects that were fetched from other nodes.
    pub fetched: Counter,
    /// Nodes of the box, by their keys: there are no more than the map has.
    nodes: Mutex<BTreeMap<PublicKey, Dealings>>,
}

impl CacheCounters {
    /// Notes what came of asking `node`.
    pub fn dealt(&self, node: PublicKey, note: impl FnOnce(&mut Dealings)) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        note(nodes.entry(node).or_default());
    }

    /// What came of asking `node`.
    pub fn dealings(&self, node: PublicKey) -> Dealings {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&node).copied().unwrap_or_default()
    }

    /// Notes an answer over HTTP.
    pub fn answered(&self, code: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(code).or_default() += 1;
    }

    /// Answers over HTTP, by their code.
    pub fn answers(&self) -> BTreeMap<u16, u64> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As `stats` shows them.
    pub fn show(&self) -> Value {
        json!({
            "http_requests": self.http_requests.get(),
            "http_bytes": self.http_bytes.get(),
            "from_memory": self.from_memory.get(),
            "http_refused": self.http_refused.get(),
            "nodes_served": self.peers_served.get(),
            "nodes_refused": self.peers_refused.get(),
            "fetched": self.fetched.get(),
        })
    }
}
