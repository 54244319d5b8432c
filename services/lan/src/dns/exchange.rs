//! One question to one upstream, and what is an answer to it (RFC 5452).
//!
//! Whoever wants to answer in an upstream's place has to guess the port, the number, and which letters
//! of the name are capitals (draft-vixie-dnsext-dns0x20): an upstream repeats the question as it is.

use hickory_proto::op::{Edns, Message, OpCode, Query as Asked};

use super::query::{BY_UDP, DnsQuestion, HEAD};

/// The longest answer by UDP that is read, in bytes. Upstreams are told less.
pub const LONGEST_BY_UDP: usize = 4096;

/// Random bytes for one question: two for its number, and a bit for each letter of a name.
pub type Random = [u8; 34];

/// How a question is put. Not every upstream takes all that is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// With letters of random case.
    pub mixed_case: bool,
    pub edns: bool,
}

#[derive(Debug, Clone)]
pub struct Exchange {
    bytes: Vec<u8>,
    /// Where in `bytes` the name ends; type and class follow.
    name_end: usize,
    edns: bool,
}

/// What a message is that has come from an upstream's address.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamMessage {
    Answer(Box<Message>),
    /// The answer, or its beginning: it is to be asked for by TCP.
    Truncated,
    /// The answer, but nobody can read it, or it is too long.
    Unreadable,
    /// The upstream does not know EDNS.
    NoEdns,
    /// It would be the answer, but letters have changed their case: somebody guesses, or the upstream
    /// does not repeat what it is asked.
    OtherCase,
    /// An error without the question: somebody guesses, or the upstream does not know EDNS.
    BareError,
    /// Not an answer to this question.
    Spoofed,
}

impl Default for Form {
    fn default() -> Self {
        Self { mixed_case: true, edns: true }
    }
}

impl Exchange {
    /// Asks `question`; `None` if it cannot be written.
    pub fn new(question: &DnsQuestion, form: Form, random: &Random) -> Option<Self> {
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
                // Lengths of labels are less than 64 and no letters.
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

    /// What `bytes` are, which came by UDP or TCP (`longest` bytes at most are an answer).
    pub fn heard(&self, bytes: &[u8], longest: usize) -> UpstreamMessage {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
            return UpstreamMessage::Spoofed;
        };
        // The same number, an answer, to a question.
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
