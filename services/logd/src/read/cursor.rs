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
    pub wanted: LogQuery,
    /// The next sequence number.
    pub next: u64,
    /// Its position on disk, if known: segment and offset.
    pub place: Option<(u32, u64)>,
    /// The sequence number to stop before, unless the query follows.
    pub end: u64,
    /// Whether the first entry was found.
    pub begun: bool,
    /// The value of `State::moved` (renumbering of entries) at the last use.
    pub moved: u64,
}

impl Cursor {
    /// Creates a cursor at the start of the query, in a log whose next entry will be `end`.
    pub fn new(wanted: LogQuery, end: u64, moved: u64) -> Self {
        Self { wanted, next: 0, place: None, end, begun: false, moved }
    }

    /// Whether `entry` matches the query.
    pub fn wants(&self, entry: &Entry) -> bool {
        entry.wall >= self.wanted.since
            && self.wanted.unit.as_deref().is_none_or(|unit| unit == &*entry.unit)
    }

    /// Whether nothing after the entries before `next` can match.
    pub fn is_done(&self) -> bool {
        !self.wanted.follow && self.next >= self.end
    }
}
