//! Limits of this node.

use std::time::Duration;

/// The part of the file system that stays free: one part in `share`, and at most `most` bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reserve {
    pub share: u64,
    /// In bytes.
    pub most: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct CacheLimits {
    /// The space that stays free for other units.
    pub reserve: Reserve,
    /// The quota of objects in bytes; by default three quarters of the file system.
    pub quota: Option<u64>,
    /// The maximum number of objects: each has an entry in memory.
    pub objects: usize,
    /// The size of the memory cache of small objects, in bytes.
    pub memory: u64,
    pub http: usize,
    /// The maximum of these per client: an IPv4 address, or a /64 of IPv6.
    pub http_of_one: usize,
    /// The timeout of a request's head, and of an idle connection.
    pub head: Duration,
    /// The timeout for a client to read sent data.
    pub unread: Duration,
    /// The maximum number of other nodes' connections, and of handshakes.
    pub peers: usize,
    /// The timeout of another node's handshake and request, and of its idle connection.
    pub request: Duration,
    /// The maximum number of concurrent fetches.
    pub fetches: usize,
    /// The maximum of these that HTTP clients have started. The rest is reserved for operators.
    pub fetches_of_clients: usize,
    /// The maximum of these that one HTTP client has started.
    pub fetches_of_one: usize,
    /// The maximum number of concurrent uploads.
    pub puts: usize,
    /// The timeout to connect to another node.
    pub connect: Duration,
    /// The timeout for another node's data.
    pub silence: Duration,
    /// How long a request waits for a fetch.
    pub patience: Duration,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            reserve: Reserve { share: 20, most: 1 << 30 },
            quota: None,
            objects: 100_000,
            memory: 8 << 20,
            http: 128,
            http_of_one: 32,
            head: Duration::from_secs(30),
            unread: Duration::from_secs(60),
            peers: 32,
            request: Duration::from_secs(10),
            fetches: 16,
            fetches_of_clients: 12,
            fetches_of_one: 4,
            puts: 8,
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(2),
            patience: Duration::from_secs(60),
        }
    }
}
