//! What was counted since the start.

use serde::Serialize;

use super::query::QueryRefusal;

/// What was counted since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DnsCounters {
    pub queries: u64,
    /// Answered by what this node itself knows.
    pub from_own: u64,
    pub from_cache: u64,
    /// For which upstreams were asked.
    pub forwarded: u64,
    /// For which upstreams were being asked already.
    pub joined: u64,
    /// Messages that were not answered with what they asked for.
    pub refused: RefusedCounters,
    /// Messages of clients that ask too often: dropped before they were read.
    pub limited: u64,
    /// Messages for which there was no room among those that wait to be read.
    pub crowded: u64,
    /// Questions for which there was no room among those that wait for upstreams.
    pub busy: u64,
    /// Connections for which there was no room.
    pub connections_refused: u64,
    /// Messages that came in the place of an upstream's answer and were none.
    pub spoofed: u64,
    /// Records of upstreams that would have led to the box's own networks.
    pub removed: u64,
    /// Tries with an upstream that came to nothing.
    pub upstream_failures: u64,
    /// Questions that no upstream has answered.
    pub unanswered: u64,
}

/// Messages that were not answered with what they asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RefusedCounters {
    /// From somebody who is not of the box: dropped.
    pub strangers: u64,
    /// No questions at all: dropped.
    pub no_question: u64,
    /// They cannot be read, or have not exactly one question.
    pub malformed: u64,
    /// They want something else than to ask.
    pub opcode: u64,
    /// About another class than the internet's.
    pub class: u64,
    /// For a whole zone, or a type that is not handed on.
    pub kind: u64,
    /// Upstreams would have to be asked, and the client does not want that.
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
