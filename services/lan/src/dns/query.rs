//! What a client asks, as far as it is answered (RFC 1035, 4.1; RFC 6891).

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};

use super::answer::{CachedAnswer, reply};
use super::way::UpstreamPath;

/// Bytes of a message before the question.
pub(super) const HEAD: usize = 12;

/// The longest question that is read, in bytes: a name has 255 at most, and options are few.
pub const LONGEST: usize = 1232;

/// The longest answer by UDP: what every path carries in one piece (DNS flag day 2020).
pub const BY_UDP: usize = 1232;

/// The longest answer by UDP to who does not say what it takes (RFC 1035, 2.3.4).
const WITHOUT_EDNS: usize = 512;

/// Types whose data may hold compressed names and are not read here: what an upstream says of them
/// would mean something else in another message (RFC 3597, 4). Nobody uses them.
const COMPRESSED: [u16; 12] = [3, 4, 7, 8, 9, 14, 17, 18, 21, 24, 26, 30];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// A name, what is asked about it, and by which way. Two are equal if they are but for upper and lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsQuestion {
    /// The name, spelled as it was asked.
    pub name: Name,
    /// The type of the records that are wanted.
    pub kind: RecordType,
    /// Whom it is asked of: what the one way says is not what the other does.
    pub way: UpstreamPath,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The client's number for it.
    pub id: u16,
    pub question: DnsQuestion,
    /// Whether others are to be asked (RD).
    pub recursion: bool,
    /// Whether it had EDNS, and so has the answer.
    pub edns: bool,
    /// The longest answer that the client takes, in bytes.
    pub limit: usize,
}

/// Why a message is not answered with what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryRefusal {
    /// It is an answer itself, or too short to be anything.
    NoQuestion,
    /// It cannot be read, or has not exactly one question.
    Malformed,
    /// It wants something else than to ask (an update, a notification, …).
    Opcode,
    /// It is about another class than the internet's, or another version of EDNS.
    Class,
    /// It asks for a whole zone, or for a type that is not handed on.
    Kind,
}

/// A message that is not answered with what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedQuery {
    pub why: QueryRefusal,
    /// What is said to the client; nothing if that could answer an answer.
    pub reply: Option<Vec<u8>>,
}

impl Query {
    /// Reads a client's message, of whom no more is known yet: it is as if this node had asked.
    ///
    /// # Errors
    /// It is not answered with what it asks for.
    pub fn parse(bytes: &[u8], transport: Transport) -> Result<Self, RefusedQuery> {
        let silent = RefusedQuery { why: QueryRefusal::NoQuestion, reply: None };
        let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else { return Err(silent) };
        if head[2] & 0x80 != 0 {
            return Err(silent);
        }
        let refused = |why, code| RefusedQuery { why, reply: Some(bare(head, code)) };
        let malformed = || refused(QueryRefusal::Malformed, ResponseCode::FormErr);
        if head[2] & 0x78 != 0 {
            return Err(refused(QueryRefusal::Opcode, ResponseCode::NotImp));
        }
        // One question and no answers: a message that says to hold thousands is not even begun.
        if head[4..10] != [0, 1, 0, 0, 0, 0] || bytes.len() > LONGEST {
            return Err(malformed());
        }
        let message = Message::from_vec(bytes).map_err(|_| malformed())?;
        let [asked] = &message.queries[..] else { return Err(malformed()) };
        let (name, kind) = (asked.name.clone(), asked.query_type);
        let by_udp = message.edns.as_ref().map_or(WITHOUT_EDNS, |edns| edns.max_payload().into());
        let query = Self {
            id: message.metadata.id,
            question: DnsQuestion { name, kind, way: UpstreamPath::Own },
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
        if !is_handed_on(kind) {
            return Err(query.refused(QueryRefusal::Kind, ResponseCode::Refused));
        }
        Ok(query)
    }

    fn refused(&self, why: QueryRefusal, code: ResponseCode) -> RefusedQuery {
        RefusedQuery { why, reply: Some(reply(self, &CachedAnswer::of(code))) }
    }
}

/// Whether records of `kind` can be asked for: not those that are about a message (RFC 6895, 3.1),
/// or that stand for a whole zone.
fn is_handed_on(kind: RecordType) -> bool {
    match u16::from(kind) {
        255 => true,
        0 | 41 | 128..=255 => false,
        number => !COMPRESSED.contains(&number),
    }
}

/// An answer to a message that was not read beyond its head: the head alone.
fn bare(head: &[u8; HEAD], code: ResponseCode) -> Vec<u8> {
    let opcode_and_recursion = head[2] & 0x79;
    let mut bytes = vec![head[0], head[1], 0x80 | opcode_and_recursion, 0x80 | code.low()];
    bytes.resize(HEAD, 0);
    bytes
}

#[cfg(test)]
mod tests;
