//! Timeouts and limits of this unit.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct ClusterLimits {
    /// The timeout to connect, complete the handshake, and send the hello.
    pub handshake_timeout: Duration,
    /// The number of boards that may present a long map at once; each number may present a short
    /// one at any time.
    pub long_joins: usize,
    /// The timeout for a silent peer.
    pub idle_timeout: Duration,
    /// The interval of keepalives in both directions.
    pub ping_interval: Duration,
    /// The timeout for a peer to read a message.
    pub send_timeout: Duration,
    /// The burst of connections per number.
    pub burst: u32,
    /// The interval at which another connection is allowed.
    pub interval: Duration,
    /// The burst of map changes per number, by new keys of its services or by presented maps: at
    /// its first start a board's services start one after another.
    pub changes: u32,
    /// The interval at which another change is allowed.
    pub change_interval: Duration,
    /// The pause after a failed connection; it doubles each time.
    pub retry_delay: Duration,
    pub max_retry_delay: Duration,
}

impl Default for ClusterLimits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            long_joins: 8,
            idle_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(10),
            send_timeout: Duration::from_secs(30),
            burst: 20,
            interval: Duration::from_secs(2),
            changes: 8,
            change_interval: Duration::from_secs(10),
            retry_delay: Duration::from_millis(200),
            max_retry_delay: Duration::from_secs(10),
        }
    }
}
