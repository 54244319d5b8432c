//! Size and rate limits of a mailbox server.

use std::time::Duration;

use octet_node::limits::Rate;

#[derive(Debug, Clone, Copy)]
pub struct MailboxLimits {
    /// The maximum number of mailboxes ever made: their numbers are kept forever.
    pub people: usize,
    pub letters: u32,
    pub bytes: u64,
    pub all_bytes: u64,
    /// How long a message is stored, in seconds.
    pub lifetime: u64,
    /// The rate limit of one-time keys per person; above it the fallback key is given.
    pub keys_of: Rate,
    /// The rate limit of claims per address.
    pub claims: Rate,
    /// The rate limit of deposits per address.
    pub deposits: Rate,
    /// The maximum number of remembered addresses.
    pub sources: usize,
}

impl Default for MailboxLimits {
    fn default() -> Self {
        Self {
            people: 1024,
            letters: 1000,
            bytes: 8 << 20,
            all_bytes: 256 << 20,
            lifetime: 30 * 24 * 3600,
            keys_of: Rate { burst: 20, interval: Duration::from_secs(60) },
            claims: Rate { burst: 60, interval: Duration::from_secs(1) },
            deposits: Rate { burst: 1000, interval: Duration::from_secs(1) },
            sources: 4096,
        }
    }
}
