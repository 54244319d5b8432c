//! What this node gives at most.

use std::time::Duration;

/// What is to stay free of the file system: one part in `share`, and `most` bytes at most.
#[derive(Debug, Clone, Copy)]
pub struct Reserve {
    pub share: u64,
    /// In bytes.
    pub most: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct CacheLimits {
    /// What is never filled, so that other units find room.
    pub reserve: Reserve,
    /// Bytes that objects may take; if nothing is said, three quarters of the file system.
    pub quota: Option<u64>,
    /// How many objects there may be: each is known in memory.
    pub objects: usize,
    /// Bytes of small objects in memory.
    pub memory: u64,
    pub http: usize,
    /// Of these, those of one client: an IPv4 address, or a /64 of IPv6.
    pub http_of_one: usize,
    /// How long the head of a request may take, and a connection wait for the next one.
    pub head: Duration,
    /// How long what was sent over HTTP may be left unread.
    pub unread: Duration,
    /// Connections of other nodes that are served, and handshakes of such.
    pub peers: usize,
    /// How long another node may take for a handshake, for a request, and to ask for something.
    pub request: Duration,
    /// Objects that are fetched at the same time.
    pub fetches: usize,
    /// Of these, those that clients over HTTP have asked for first. The rest is for operators.
    pub fetches_of_clients: usize,
    /// Of these, those that one client over HTTP has asked for first.
    pub fetches_of_one: usize,
    /// Objects that are put over HTTP at the same time.
    pub puts: usize,
    /// How long another node may take to take a connection.
    pub connect: Duration,
    /// How long another node may be silent after that.
    pub silence: Duration,
    /// How long who asks for an object waits until it was fetched.
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
