//! What a client wants to read, and how far it is.

use crate::entry::Entry;
use octet_node::boot::BootId;

/// What a client wants to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Lines of this unit only.
    pub unit: Option<String>,
    /// Lines from this time on, in microseconds since 1970.
    pub since: u64,
    /// Lines of this boot only.
    pub boot: Option<BootId>,
    /// No more than the last this many of what is there.
    pub last: Option<usize>,
    /// Goes on with what comes later.
    pub follow: bool,
}

/// How far a client is.
#[derive(Debug, Clone)]
pub struct Cursor {
    pub wanted: LogQuery,
    /// The sequence number that comes next.
    pub next: u64,
    /// Where on disk that is, as far as it is known: segment and offset.
    pub place: Option<(u32, u64)>,
    /// It ends before this sequence number, unless it follows.
    pub end: u64,
    /// Whether the beginning has been looked for.
    pub begun: bool,
    /// By how much sequence numbers had been moved when this was last used.
    pub moved: u64,
}

impl Cursor {
    /// At the beginning of what is wanted, in a log whose next entry will be `end`.
    pub fn new(wanted: LogQuery, end: u64, moved: u64) -> Self {
        Self { wanted, next: 0, place: None, end, begun: false, moved }
    }

    /// Whether `entry` is wanted.
    pub fn wants(&self, entry: &Entry) -> bool {
        entry.wall >= self.wanted.since
            && self.wanted.unit.as_deref().is_none_or(|unit| unit == &*entry.unit)
    }

    /// Whether nothing further is wanted once everything before `next` was seen.
    pub fn is_done(&self) -> bool {
        !self.wanted.follow && self.next >= self.end
    }
}
