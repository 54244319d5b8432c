//! What the gate gives at most to whom it does not know yet, and to whom it does.

use std::time::Duration;

use crate::places::SessionLimits;

#[derive(Debug, Clone, Copy)]
pub struct GateLimits {
    /// Connections whose peer has not yet shown its key. One more, and the oldest of the address that
    /// has the most of them goes.
    pub handshakes: usize,
    /// How long a peer has to show its key.
    pub handshake_time: Duration,
    /// Operators connected at once; a further one is turned away.
    pub sessions: SessionLimits,
    /// How many connections an address may open at once, after it has been quiet, that do not turn
    /// out to be an operator's.
    pub burst: u32,
    /// After how long it may open one more.
    pub interval: Duration,
    /// How long a request may take to arrive, from its first byte.
    pub frame_time: Duration,
    /// How long an operator may be silent who waits for no answer.
    pub idle_time: Duration,
    /// How long an operator may leave an answer unread.
    pub unread_time: Duration,
    /// Requests of one connection that wait for an answer.
    pub open: usize,
    /// Connections that are handed on to boards.
    pub relays: SessionLimits,
    /// How long nothing may pass through one. The board's own gate ends those sooner who want nothing.
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
