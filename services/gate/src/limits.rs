//! Limits of the gate, for unauthenticated peers and for operators.

use std::time::Duration;

use crate::places::SessionLimits;

#[derive(Debug, Clone, Copy)]
pub struct GateLimits {
    /// The maximum number of concurrent handshakes. Above it, the oldest of the address with the
    /// most is dropped.
    pub handshakes: usize,
    /// The timeout of the handshake.
    pub handshake_time: Duration,
    /// The maximum number of operators' connections; further ones are refused.
    pub sessions: SessionLimits,
    /// The burst of connections per address that are not an operator's.
    pub burst: u32,
    /// The interval at which an address may open another one.
    pub interval: Duration,
    /// The timeout of a request, from its first byte.
    pub frame_time: Duration,
    /// The idle timeout of an operator without a pending request.
    pub idle_time: Duration,
    /// The timeout for an operator to read an answer.
    pub unread_time: Duration,
    /// The maximum number of pending requests per connection.
    pub open: usize,
    /// The maximum number of relayed connections to boards.
    pub relays: SessionLimits,
    /// The idle timeout of a relayed connection. The board's own gate has a shorter one for idle
    /// operators.
    pub relay_idle: Duration,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            handshakes: 32,
            handshake_time: Duration::from_secs(10),
            sessions: SessionLimits { all: 24, for_own: 8, of_one: 4, of_one_own: 8 },
            burst: 20,
            interval: Duration::from_secs(2),
            frame_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(600),
            unread_time: Duration::from_secs(60),
            open: 32,
            relays: SessionLimits { all: 8, for_own: 4, of_one: 2, of_one_own: 4 },
            relay_idle: Duration::from_secs(3600),
        }
    }
}
