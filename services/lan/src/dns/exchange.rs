//! One query to one upstream, and the check of its answer (RFC 5452).
//!
//! An attacker who spoofs an answer has to guess the port, the ID, and the random case of the
//! name's letters (draft-vixie-dnsext-dns0x20): an upstream repeats the question as it is.

use hickory_proto::op::{Edns, Message, OpCode, Query as Asked};

use super::query::{BY_UDP, DnsQuestion, HEAD};

/// The maximum size of an answer by UDP, in bytes. The size advertised to upstreams is smaller.
pub const LONGEST_BY_UDP: usize = 4096;

/// The random bytes of a query: two for the ID, and a bit for each letter of the name.
pub type Random = [u8; 34];

/// The form of a query. Some upstreams do not support all features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryForm {
    /// Whether letters have random case.
    pub mixed_case: bool,
    pub edns: bool,
}

#[derive(Debug, Clone)]
pub struct Exchange {
    bytes: Vec<u8>,
    /// The offset in `bytes` after the name; type and class follow.
    name_end: usize,
    edns: bool,
}

/// The classification of a message from an upstream's address.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamMessage {
    Answer(Box<Message>),
    /// A truncated answer, to be asked for by TCP.
    Truncated,
    /// The answer, but it is malformed or too long.
    Unreadable,
    /// The upstream does not support EDNS.
    NoEdns,
    /// An answer with a changed case of letters: it is spoofed, or the upstream does not repeat the
    /// question as it is.
    OtherCase,
    /// An error without the question: it is spoofed, or the upstream does not support EDNS.
    BareError,
    Spoofed,
}

impl Default for QueryForm {
    fn default() -> Self {
        Self { mixed_case: true, edns: true }
    }
}

impl Exchange {
    /// A query for `question`; `None` if it cannot be encoded.
    pub fn new(question: &DnsQuestion, form: QueryForm, random: &Random) -> Option<Self> {
        let [high, low, case @ ..] = random;
        let id = u16::from_be_bytes([*high, *low]);
        let mut message = Message::new(id, hickory_proto::op::MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.queries.push(Asked::query(question.name.to_lowercase(), question.kind));
        if form.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(BY_UDP as u16);
            message.edns = Some(edns);
        }
        let mut bytes = message.to_vec().ok()?;
        let name_end = HEAD + question.name.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
        let name = bytes.get_mut(HEAD..name_end)?;
        if form.mixed_case {
            for (index, byte) in name.iter_mut().enumerate() {
                // Bytes with the length of a label are below 64, and so no letters.
                if case[index / 8] >> (index % 8) & 1 == 1 {
                    byte.make_ascii_uppercase();
                }
            }
        }
        Some(Self { bytes, name_end, edns: form.edns })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Classifies `bytes`, received by UDP or TCP. `longest` is the maximum size of an answer.
    pub fn parse_reply(&self, bytes: &[u8], longest: usize) -> UpstreamMessage {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
            return UpstreamMessage::Spoofed;
        };
        // An answer has the same ID, the QR flag, and opcode QUERY.
        if head[..2] != self.bytes[..2] || head[2] & 0xf8 != 0x80 {
            return UpstreamMessage::Spoofed;
        }
        let code = head[3] & 0x0f;
        let refuses = matches!(code, 1 | 4);
        match &head[4..6] {
            [0, 1] => {}
            [0, 0] if self.edns && refuses => return UpstreamMessage::BareError,
            _ => return UpstreamMessage::Spoofed,
        }
        let asked = &self.bytes[HEAD..self.name_end + 4];
        let Some(repeated) = rest.get(..asked.len()) else { return UpstreamMessage::Spoofed };
        if repeated != asked {
            let (name, kind) = asked.split_at(self.name_end - HEAD);
            let (repeated, repeated_kind) = repeated.split_at(name.len());
            let same = repeated.eq_ignore_ascii_case(name) && repeated_kind == kind;
            return if same { UpstreamMessage::OtherCase } else { UpstreamMessage::Spoofed };
        }
        if refuses && self.edns {
            return UpstreamMessage::NoEdns;
        }
        if bytes.len() > longest {
            return UpstreamMessage::Unreadable;
        }
        if head[2] & 2 != 0 {
            return UpstreamMessage::Truncated;
        }
        match Message::from_vec(bytes) {
            Ok(message) => UpstreamMessage::Answer(Box::new(message)),
            Err(_) => UpstreamMessage::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests;
