//! Limits of this node.

use std::time::Duration;

/// The part of the file system that stays free: one part in `share`, and at most `max` bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reserve {
    pub share: u64,
    /// In bytes.
    pub max: u64,
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
    pub http_per_client: usize,
    /// The timeout of a request's head, and of an idle connection.
    pub header_timeout: Duration,
    /// The timeout for a client to read sent data.
    pub write_timeout: Duration,
    /// The maximum number of other nodes' connections, and of handshakes.
    pub peers: usize,
    /// The timeout of another node's handshake and request, and of its idle connection.
    pub request_timeout: Duration,
    /// The maximum number of concurrent fetches.
    pub fetches: usize,
    /// The maximum of these that HTTP clients have started. The rest is reserved for operators.
    pub client_fetches: usize,
    /// The maximum of these that one HTTP client has started.
    pub fetches_per_client: usize,
    /// The maximum number of concurrent uploads.
    pub puts: usize,
    /// The timeout to connect to another node.
    pub connect_timeout: Duration,
    /// The timeout for another node's data.
    pub answer_timeout: Duration,
    /// When a neighbour is asked again that does not serve this node any more.
    pub limit_pause: Duration,
    /// How long a request waits for a fetch.
    pub read_timeout: Duration,
    /// How long a board that did not answer a front is not asked again: nobody waits for it in that time.
    pub board_retry: Duration,
    /// The pause between two looks at what other boards have of kept objects.
    pub keep_pause: Duration,
    /// How long a board is not reached until its copies are made anew.
    pub keep_dead: Duration,
    /// When a copy is tried again for which there was no room, or that nobody had.
    pub keep_retry: Duration,
    /// The size in bytes of the smallest object that is kept in shards: of a smaller one whole copies are kept.
    pub keep_shards_from: u64,
    /// Whether the disk is taken not to change anything, as a sealed file is: for benchmarks on a disk that cannot seal.
    pub is_disk_trusted: bool,
    /// How much of the time the disk is read to verify objects, in percent.
    pub scrub_share: u32,
    /// The time from the start of one pass over all objects to that of the next one.
    pub scrub_pause: Duration,
    /// When a damaged object is tried to be repaired again.
    pub repair_retry: Duration,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            reserve: Reserve { share: 20, max: 1 << 30 },
            quota: None,
            objects: 100_000,
            memory: 8 << 20,
            http: 128,
            http_per_client: 32,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            peers: 32,
            request_timeout: Duration::from_secs(10),
            fetches: 16,
            client_fetches: 12,
            fetches_per_client: 4,
            puts: 8,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(2),
            limit_pause: Duration::from_secs(1),
            read_timeout: Duration::from_secs(60),
            board_retry: Duration::from_secs(5),
            keep_pause: Duration::from_secs(60),
            keep_dead: Duration::from_secs(60 * 60),
            keep_retry: Duration::from_secs(10 * 60),
            keep_shards_from: 64 << 20,
            is_disk_trusted: false,
            scrub_share: 5,
            scrub_pause: Duration::from_secs(7 * 24 * 60 * 60),
            repair_retry: Duration::from_secs(10 * 60),
        }
    }
}
