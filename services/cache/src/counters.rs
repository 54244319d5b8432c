//! Counters since the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use octet_node::control::PublicKey;
use serde_json::{Value, json};

/// A monotonic counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The outcomes of requests to one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerOutcomes {
    /// Objects whose last byte it sent.
    pub sent: u64,
    /// Objects that it lacks.
    pub missing: u64,
    /// Failed connections and timeouts.
    pub timeouts: u64,
    /// Invalid answers.
    pub invalid: u64,
}

#[derive(Debug, Default)]
pub struct CacheCounters {
    pub http_requests: Counter,
    /// Bytes sent over HTTP: of objects, and of multipart delimiters.
    pub http_bytes: Counter,
    pub from_memory: Counter,
    /// Requests for objects on this node.
    pub hits: Counter,
    /// Requests for objects that were not on this node.
    pub misses: Counter,
    /// HTTP responses, by status code.
    responses: ResponseCounters,
    /// HTTP connections that were refused.
    pub http_refused: Counter,
    pub peers_served: Counter,
    /// Connections of other nodes that were refused.
    pub peers_refused: Counter,
    /// Objects that were fetched from other nodes.
    pub fetched: Counter,
    /// Damaged objects that were repaired.
    pub repaired: Counter,
    pub origins: OriginCounters,
    /// Nodes of the box, by key: as many as the membership map has.
    nodes: Mutex<BTreeMap<PublicKey, PeerOutcomes>>,
}

/// How a request to a web origin was answered; the words are those of nginx's `$upstream_cache_status` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginOutcome {
    /// From the store.
    Hit,
    /// From the store, while it is being validated.
    Updating,
    /// From the store, after the origin has validated it.
    Revalidated,
    /// From the store, because the origin fails.
    Stale,
    /// The origin was asked, and the response is being stored.
    Miss,
    /// As `Miss`, and another request had asked.
    Collapsed,
    /// The request was passed through.
    Bypass,
    /// There is no response.
    Failed,
}

impl OriginOutcome {
    const ALL: [(Self, &str); 8] = [
        (Self::Hit, "hit"),
        (Self::Updating, "updating"),
        (Self::Revalidated, "revalidated"),
        (Self::Stale, "stale"),
        (Self::Miss, "miss"),
        (Self::Collapsed, "collapsed"),
        (Self::Bypass, "bypass"),
        (Self::Failed, "failed"),
    ];
}

/// Requests to web origins.
#[derive(Debug, Default)]
pub struct OriginCounters([Counter; OriginOutcome::ALL.len()]);

impl OriginCounters {
    pub fn count(&self, outcome: OriginOutcome) {
        self.0[outcome as usize].add(1);
    }

    /// The number of requests with each outcome, by its name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OriginOutcome::ALL.iter().map(|(outcome, name)| (*name, self.0[*outcome as usize].get()))
    }
}

/// HTTP responses, by status code. Each response is counted, so that nothing is locked for it.
#[derive(Debug)]
struct ResponseCounters(Box<[Counter]>);

impl ResponseCounters {
    /// Status codes have three digits (RFC 9110, section 15).
    const FIRST: u16 = 100;
    const LAST: u16 = 999;

    fn count(&self, code: u16) {
        let number = code.checked_sub(Self::FIRST).map(usize::from);
        if let Some(counter) = number.and_then(|number| self.0.get(number)) {
            counter.add(1);
        }
    }

    fn all(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (Self::FIRST..).zip(self.0.iter().map(Counter::get));
        counts.filter(|(_, count)| *count > 0)
    }
}

impl Default for ResponseCounters {
    fn default() -> Self {
        Self((Self::FIRST..=Self::LAST).map(|_| Counter::default()).collect())
    }
}

impl CacheCounters {
    /// Records the outcome of a request to `node`.
    pub fn record_outcome(&self, node: PublicKey, note: impl FnOnce(&mut PeerOutcomes)) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        note(nodes.entry(node).or_default());
    }

    /// The outcomes of requests to `node`.
    pub fn outcomes(&self, node: PublicKey) -> PeerOutcomes {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&node).copied().unwrap_or_default()
    }

    /// Counts an HTTP response.
    pub fn count_response(&self, code: u16) {
        self.responses.count(code);
    }

    /// HTTP responses, by status code.
    pub fn responses(&self) -> BTreeMap<u16, u64> {
        self.responses.all().collect()
    }

    /// The counters as `stats` shows them.
    pub fn show(&self) -> Value {
        json!({
            "http_requests": self.http_requests.get(),
            "http_bytes": self.http_bytes.get(),
            "from_memory": self.from_memory.get(),
            "http_refused": self.http_refused.get(),
            "nodes_served": self.peers_served.get(),
            "nodes_refused": self.peers_refused.get(),
            "fetched": self.fetched.get(),
            "origins": self.origins.all().collect::<BTreeMap<_, _>>(),
        })
    }
}
