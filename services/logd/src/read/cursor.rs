//! A client's query, and its position in the log.

use crate::entry::Entry;
use octet_node::boot::BootId;

/// A query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only lines of this unit.
    pub unit: Option<String>,
    /// Only lines since this time, in microseconds since 1970.
    pub since: u64,
    /// Only lines of this boot.
    pub boot: Option<BootId>,
    /// At most so many of the last existing lines.
    pub last: Option<usize>,
    /// Whether new lines are sent, too.
    pub follow: bool,
}

/// A client's position.
#[derive(Debug, Clone)]
pub struct Cursor {
    pub query: LogQuery,
    /// The next sequence number.
    pub next: u64,
    /// Its position on disk, if known: segment and offset.
    pub position: Option<(u32, u64)>,
    /// The sequence number to stop before, unless the query follows.
    pub end: u64,
    /// Whether the first entry was found.
    pub started: bool,
    /// The value of `State::generation` (renumbering of entries) at the last use.
    pub generation: u64,
}

impl Cursor {
    /// Creates a cursor at the start of the query, in a log whose next entry will be `end`.
    pub fn new(query: LogQuery, end: u64, generation: u64) -> Self {
        Self { query, next: 0, position: None, end, started: false, generation }
    }

    /// Whether `entry` matches the query.
    pub fn matches(&self, entry: &Entry) -> bool {
        entry.wall >= self.query.since
            && self.query.unit.as_deref().is_none_or(|unit| unit == &*entry.unit)
    }

    /// Whether nothing after the entries before `next` can match.
    pub fn is_done(&self) -> bool {
        !self.query.follow && self.next >= self.end
    }
}
