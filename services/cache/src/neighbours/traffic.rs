//! The bytes of objects that neighbours gave and were given, and how far the latter may grow.
//!
//! Bytes are of content: the hashes that prove it do not count. They are counted where they are written and read, each
//! as it passes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use octet_node::control::PublicKey;
use octet_node::key::{NoRandomness, random};

/// The bytes that a neighbour is given before its limit is known, if this box has `[accounts]`.
pub const UNKNOWN_LIMIT: u64 = 1 << 20;

/// The bytes that nodes without an account are given together in [`FREE_PERIOD`], if this box has `[accounts]`.
pub const FREE: u64 = 1 << 20;

/// The time after which these nodes get [`FREE`] bytes again.
pub const FREE_PERIOD: Duration = Duration::from_secs(3600);

/// Who takes objects from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taker {
    /// A node of this box: without limit, and not counted here.
    Board,
    /// The `cache` of this neighbour.
    Neighbour(PublicKey),
    /// Any other node.
    Other,
}

/// The traffic of one neighbour, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ObjectTrafficRow {
    /// Received from it, and verified.
    pub bought: u64,
    /// Written to it.
    pub served: u64,
    /// How far `served` may grow; `None`: without limit.
    pub limit: Option<u64>,
}

/// How far `served` of a neighbour may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ServedLimit {
    /// Nobody has set it since the start.
    #[default]
    Unknown,
    Bytes(u64),
    Unlimited,
}

#[derive(Debug, Default)]
struct Row {
    bought: u64,
    served: u64,
    limit: ServedLimit,
}

#[derive(Debug, Default)]
struct Rows {
    has_accounts: bool,
    neighbours: BTreeMap<PublicKey, Row>,
    /// What other nodes were given since when.
    free: Option<(Instant, u64)>,
}

/// The traffic of all neighbours since the start. Counts never decrease.
#[derive(Debug)]
pub struct ObjectTraffic {
    epoch: [u8; 16],
    rows: Mutex<Rows>,
}

impl ObjectTraffic {
    /// No traffic, in a new epoch.
    ///
    /// # Errors
    /// The kernel provides no randomness.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self { epoch: random()?, rows: Mutex::default() })
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch of the counts, in hexadecimal digits.
    pub fn epoch(&self) -> String {
        self.epoch.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Sets whether this box has `[accounts]`.
    pub fn set_accounts(&self, has_accounts: bool) {
        self.rows().has_accounts = has_accounts;
    }

    /// Sets how far `served` of a neighbour may grow; `None`: without limit.
    pub fn set_limit(&self, node: PublicKey, limit: Option<u64>) {
        let limit = limit.map_or(ServedLimit::Unlimited, ServedLimit::Bytes);
        self.rows().neighbours.entry(node).or_default().limit = limit;
    }

    /// The traffic of this neighbour.
    pub fn of(&self, node: &PublicKey) -> ObjectTrafficRow {
        let rows = self.rows();
        let Some(row) = rows.neighbours.get(node) else {
            return ObjectTrafficRow {
                limit: ServedLimit::Unknown.bytes(&rows),
                ..Default::default()
            };
        };
        ObjectTrafficRow { bought: row.bought, served: row.served, limit: row.limit.bytes(&rows) }
    }

    /// Counts verified bytes that this neighbour has sent.
    pub fn add_bought(&self, node: PublicKey, bytes: u64) {
        self.rows().neighbours.entry(node).or_default().bought += bytes;
    }

    /// Counts `bytes` as given to `taker`, all or none. Whether they may be written.
    pub fn take(&self, taker: Taker, bytes: u64, now: Instant) -> bool {
        let rows = &mut *self.rows();
        let has_accounts = rows.has_accounts;
        let (given, limit) = match taker {
            Taker::Board => return true,
            Taker::Other if !has_accounts => return true,
            Taker::Other => {
                let free = rows.free.get_or_insert((now, 0));
                if now.saturating_duration_since(free.0) >= FREE_PERIOD {
                    *free = (now, 0);
                }
                (&mut free.1, Some(FREE))
            }
            Taker::Neighbour(node) => {
                let row = rows.neighbours.entry(node).or_default();
                let limit = row.limit.or_unknown(has_accounts);
                (&mut row.served, limit)
            }
        };
        let sum = given.saturating_add(bytes);
        let may = limit.is_none_or(|limit| sum <= limit);
        if may {
            *given = sum;
        }
        may
    }

    /// Takes `bytes` off again that were not written.
    pub fn put_back(&self, taker: Taker, bytes: u64) {
        let rows = &mut *self.rows();
        let given = match taker {
            Taker::Board => return,
            Taker::Other => rows.free.as_mut().map(|free| &mut free.1),
            Taker::Neighbour(node) => rows.neighbours.get_mut(&node).map(|row| &mut row.served),
        };
        if let Some(given) = given {
            *given = given.saturating_sub(bytes);
        }
    }
}

impl ServedLimit {
    fn bytes(self, rows: &Rows) -> Option<u64> {
        self.or_unknown(rows.has_accounts)
    }

    fn or_unknown(self, has_accounts: bool) -> Option<u64> {
        match self {
            Self::Unknown => has_accounts.then_some(UNKNOWN_LIMIT),
            Self::Bytes(bytes) => Some(bytes),
            Self::Unlimited => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: PublicKey = PublicKey::new([1; 32]);
    const OTHER: PublicKey = PublicKey::new([2; 32]);

    #[test]
    fn a_limit_is_exact_and_can_be_raised() {
        let (traffic, now) = (ObjectTraffic::new().unwrap(), Instant::now());
        let take = |bytes| traffic.take(Taker::Neighbour(NODE), bytes, now);
        assert!(take(u64::from(u32::MAX)), "without a limit");
        traffic.set_limit(NODE, Some((1 << 32) + 10));
        assert!(take(11) && !take(1), "the limit itself may be reached");
        traffic.set_limit(NODE, Some((1 << 32) + 20));
        assert!(!take(11) && take(10) && !take(1));
        traffic.put_back(Taker::Neighbour(NODE), 4);
        assert!(take(4) && !take(1));
        traffic.set_limit(NODE, Some(1));
        assert!(!take(1), "it may be below what was served");
        traffic.set_limit(NODE, None);
        assert!(take(1 << 40));
        traffic.add_bought(NODE, 7);
        traffic.add_bought(NODE, 8);
        let served = (1 << 32) + 20 + (1 << 40);
        assert_eq!(traffic.of(&NODE), ObjectTrafficRow { bought: 15, served, limit: None });
        assert_eq!(traffic.of(&OTHER), ObjectTrafficRow::default());
    }

    #[test]
    fn with_accounts_a_neighbour_has_little_until_its_limit_is_known() {
        let (traffic, now) = (ObjectTraffic::new().unwrap(), Instant::now());
        let take = |node, bytes| traffic.take(Taker::Neighbour(node), bytes, now);
        assert!(take(NODE, UNKNOWN_LIMIT));
        traffic.set_accounts(true);
        assert!(!take(NODE, 1) && take(OTHER, UNKNOWN_LIMIT) && !take(OTHER, 1));
        assert_eq!(traffic.of(&NODE).limit, Some(UNKNOWN_LIMIT));
        traffic.set_limit(NODE, None);
        traffic.set_limit(OTHER, Some(UNKNOWN_LIMIT + 1));
        assert!(take(NODE, 1 << 40) && take(OTHER, 1) && !take(OTHER, 1));
    }

    #[test]
    fn with_accounts_all_others_share_an_allowance() {
        let (traffic, start) = (ObjectTraffic::new().unwrap(), Instant::now());
        let take = |bytes, after| traffic.take(Taker::Other, bytes, start + after);
        assert!(take(5 * FREE, Duration::ZERO), "without accounts");
        traffic.set_accounts(true);
        let late = FREE_PERIOD - Duration::from_nanos(1);
        assert!(take(FREE, Duration::ZERO) && !take(1, late));
        assert!(take(FREE, FREE_PERIOD) && !take(1, FREE_PERIOD));
        assert!(traffic.take(Taker::Board, 1 << 40, start), "nodes of the box share nothing");
    }

    #[test]
    fn each_start_is_an_epoch() {
        let [one, two] = [(); 2].map(|()| ObjectTraffic::new().unwrap().epoch());
        assert!(one.len() == 32 && one != two, "{one} {two}");
    }
}
