//! How long this unit waits for others, and how much it takes from them.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct ClusterLimits {
    /// How long a peer has to connect, to show its key, and to say who it is.
    pub handshake_time: Duration,
    /// How many boards may be showing a long map; of shorter ones each number may show one.
    pub long_joins: usize,
    /// After how long a peer that says nothing is gone.
    pub silence: Duration,
    /// How often each side says that it is there.
    pub beat: Duration,
    /// How long a message may be left unread.
    pub unread: Duration,
    /// How many connections of one number may be opened at once, after it has been quiet.
    pub burst: u32,
    /// After how long it may open one more.
    pub interval: Duration,
    /// How many changes of the map one number may cause at once, by other keys of its services or a map that
    /// it shows: at its first start a board's services come one after another.
    pub changes: u32,
    /// After how long it may cause one more.
    pub change_interval: Duration,
    /// The pause after a connection that came to nothing; doubled each time.
    pub pause: Duration,
    pub longest_pause: Duration,
}

impl Default for ClusterLimits {
    fn default() -> Self {
        Self {
            handshake_time: Duration::from_secs(10),
            long_joins: 8,
            silence: Duration::from_secs(30),
            beat: Duration::from_secs(10),
            unread: Duration::from_secs(30),
            burst: 20,
            interval: Duration::from_secs(2),
            changes: 8,
            change_interval: Duration::from_secs(10),
            pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(10),
        }
    }
}
