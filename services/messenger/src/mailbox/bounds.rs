//! How much a mailbox takes, and how often.

use crate::rate::RequestRate;

/// What a mailbox gives at most.
#[derive(Debug, Clone, Copy)]
pub struct MailboxLimits {
    /// Mailboxes there have ever been: their numbers are kept for good.
    pub people: usize,
    pub letters: u32,
    pub bytes: u64,
    pub all_bytes: u64,
    /// Seconds that a letter lies there.
    pub lifetime: u64,
    /// How often one-time keys of one person are given; more often it is the fallback key.
    pub keys_of: RequestRate,
    /// How often one address may ask for keys.
    pub claims: RequestRate,
    /// How often one address may leave a letter.
    pub deposits: RequestRate,
    /// So many addresses are remembered at once.
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
            keys_of: RequestRate { burst: 20, seconds: 60 },
            claims: RequestRate { burst: 60, seconds: 1 },
            deposits: RequestRate { burst: 1000, seconds: 1 },
            sources: 4096,
        }
    }
}
