//! The queries of clients that are answered (RFC 1035, 4.1; RFC 6891).

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};

use super::answer::{CachedAnswer, reply};
use super::upstream_path::UpstreamPath;

/// The size of a message's header, in bytes.
pub(super) const HEAD: usize = 12;

/// The maximum size of a query, in bytes: a name has at most 255, and options are few.
pub const LONGEST: usize = 1232;

/// The maximum size of an answer by UDP, in bytes: it fits in one packet on every path (DNS flag
/// day 2020).
pub const BY_UDP: usize = 1232;

/// The maximum size of an answer by UDP to a client without EDNS, in bytes (RFC 1035, 2.3.4).
const WITHOUT_EDNS: usize = 512;

/// Types whose data can contain compressed names and is not parsed here: copied into another
/// message, it would have another meaning (RFC 3597, 4). They are obsolete.
const COMPRESSED: [u16; 12] = [3, 4, 7, 8, 9, 14, 17, 18, 21, 24, 26, 30];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// A question, and the upstream path for it. Equality ignores the case of letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsQuestion {
    /// The name in the client's spelling.
    pub name: Name,
    pub kind: RecordType,
    /// The upstream path; answers of different paths can differ.
    pub path: UpstreamPath,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The ID that the client has chosen.
    pub id: u16,
    pub question: DnsQuestion,
    /// Whether recursion is desired (RD).
    pub recursion: bool,
    /// Whether the query has EDNS, and so must the answer.
    pub edns: bool,
    /// The maximum size of the answer, in bytes.
    pub limit: usize,
}

/// Why a query is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryRefusal {
    /// It is a response itself, or too short.
    NoQuestion,
    /// It is malformed, or has not exactly one question.
    Malformed,
    /// The opcode is not QUERY.
    Opcode,
    /// The class is not IN, or the EDNS version is unknown.
    Class,
    /// It asks for a zone transfer, or a type that is not forwarded.
    Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedQuery {
    pub reason: QueryRefusal,
    /// The error response; `None` if it could answer a response, which would cause a loop.
    pub reply: Option<Vec<u8>>,
}

impl Query {
    /// Parses a client's message. The client is not considered yet: the path is the node's own.
    ///
    /// # Errors
    /// The query is refused.
    pub fn parse(bytes: &[u8], transport: Transport) -> Result<Self, RefusedQuery> {
        let silent = RefusedQuery { reason: QueryRefusal::NoQuestion, reply: None };
        let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else { return Err(silent) };
        if head[2] & 0x80 != 0 {
            return Err(silent);
        }
        let refused =
            |why, code| RefusedQuery { reason: why, reply: Some(error_reply(head, code)) };
        let malformed = || refused(QueryRefusal::Malformed, ResponseCode::FormErr);
        if head[2] & 0x78 != 0 {
            return Err(refused(QueryRefusal::Opcode, ResponseCode::NotImp));
        }
        // The message must have one question and no answers, so that a header which claims
        // thousands is rejected early.
        if head[4..10] != [0, 1, 0, 0, 0, 0] || bytes.len() > LONGEST {
            return Err(malformed());
        }
        let message = Message::from_vec(bytes).map_err(|_| malformed())?;
        let [asked] = &message.queries[..] else { return Err(malformed()) };
        let (name, kind) = (asked.name.clone(), asked.query_type);
        let by_udp = message.edns.as_ref().map_or(WITHOUT_EDNS, |edns| edns.max_payload().into());
        let query = Self {
            id: message.metadata.id,
            question: DnsQuestion { name, kind, path: UpstreamPath::Own },
            recursion: message.metadata.recursion_desired,
            edns: message.edns.is_some(),
            limit: match transport {
                Transport::Udp => by_udp.clamp(WITHOUT_EDNS, BY_UDP),
                Transport::Tcp => u16::MAX.into(),
            },
        };
        let version = message.edns.as_ref().map_or(0, Edns::version);
        if version != 0 {
            return Err(query.refused(QueryRefusal::Class, ResponseCode::BADVERS));
        }
        if asked.query_class != DNSClass::IN {
            return Err(query.refused(QueryRefusal::Class, ResponseCode::Refused));
        }
        if !is_forwarded(kind) {
            return Err(query.refused(QueryRefusal::Kind, ResponseCode::Refused));
        }
        Ok(query)
    }

    fn refused(&self, why: QueryRefusal, code: ResponseCode) -> RefusedQuery {
        RefusedQuery { reason: why, reply: Some(reply(self, &CachedAnswer::with_code(code))) }
    }
}

/// Whether records of `kind` can be asked for: neither meta types (RFC 6895, 3.1), nor types that
/// stand for a whole zone.
fn is_forwarded(kind: RecordType) -> bool {
    match u16::from(kind) {
        255 => true,
        0 | 41 | 128..=255 => false,
        number => !COMPRESSED.contains(&number),
    }
}

/// An error response with a header only.
fn error_reply(head: &[u8; HEAD], code: ResponseCode) -> Vec<u8> {
    let opcode_and_recursion = head[2] & 0x79;
    let mut bytes = vec![head[0], head[1], 0x80 | opcode_and_recursion, 0x80 | code.low()];
    bytes.resize(HEAD, 0);
    bytes
}

#[cfg(test)]
mod tests;
