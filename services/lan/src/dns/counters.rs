//! Counters since the start.

use serde::Serialize;

use super::query::QueryRefusal;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DnsCounters {
    pub queries: u64,
    /// Answered from this node's own names.
    pub from_own: u64,
    pub from_cache: u64,
    /// Forwarded to upstreams.
    pub forwarded: u64,
    /// Joined to an identical query in flight.
    pub joined: u64,
    /// Queries that were refused or dropped.
    pub refused: RefusedCounters,
    /// Messages above the rate limit, dropped unread.
    pub limited: u64,
    /// Messages that were dropped because the queue was full.
    pub crowded: u64,
    /// Queries that were refused because too many waited for upstreams.
    pub busy: u64,
    /// Connections above the limit.
    pub connections_refused: u64,
    /// Messages from an upstream's address that were not its answer.
    pub spoofed: u64,
    /// Records of upstreams with addresses inside of the box, which were removed.
    pub removed: u64,
    /// Failed tries at an upstream.
    pub upstream_failures: u64,
    /// Queries that no upstream has answered.
    pub unanswered: u64,
}

/// The number of refused queries by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RefusedCounters {
    /// From an address outside of the box: dropped.
    pub strangers: u64,
    /// Not a query: dropped.
    pub no_question: u64,
    /// Malformed, or not exactly one question.
    pub malformed: u64,
    /// An opcode other than QUERY.
    pub opcode: u64,
    /// A class other than IN, or an unknown EDNS version.
    pub class: u64,
    /// A zone transfer, or a type that is not forwarded.
    pub kind: u64,
    /// Recursion is required, but not desired (RD is not set).
    pub recursion: u64,
}

impl RefusedCounters {
    pub(super) fn count(&mut self, why: QueryRefusal) {
        let counter = match why {
            QueryRefusal::NoQuestion => &mut self.no_question,
            QueryRefusal::Malformed => &mut self.malformed,
            QueryRefusal::Opcode => &mut self.opcode,
            QueryRefusal::Class => &mut self.class,
            QueryRefusal::Kind => &mut self.kind,
        };
        *counter += 1;
    }
}
