//! A record: what a session carries, and only its two ends see.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;

use crate::limits::TEXT;

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// What a record says. Both names are in it, since a card could be laid to somebody else's keys.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 1), who says it (32), to whom (32), number (8; 0 if
/// there is no text), how many of the other's were received in order (8), whether the others are wanted again (1: 0 or
/// 1, and 0 if there is a text), when it was written, in seconds since 1970 (8), and the text, in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who says it.
    pub from: PublicKey,
    /// To whom.
    pub to: PublicKey,
    /// The how-manieth text from one to the other it is, from 1 on; 0 if there is none.
    pub number: u64,
    /// How many texts of the other were received, without a gap.
    pub received: u64,
    /// Whether there are others that cannot be opened: they are to be sealed anew.
    pub again: bool,
    /// When it was written, by the clock of the sender, in seconds since 1970.
    pub written: u64,
    /// The text.
    pub text: String,
}

impl Record {
    /// The encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(self.from.as_bytes());
        out.extend_from_slice(self.to.as_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.received.to_be_bytes());
        out.push(self.again.into());
        out.extend_from_slice(&self.written.to_be_bytes());
        out.extend_from_slice(self.text.as_bytes());
        out
    }

    /// Reads the encoding.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.u8()? == VERSION).then_some(())?;
        let (from, to) = (fields.key()?, fields.key()?);
        let (number, received) = (fields.u64()?, fields.u64()?);
        let again = match fields.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let written = fields.u64()?;
        let text = std::str::from_utf8(fields.0).ok()?.to_owned();
        let right = text.len() <= TEXT && if number > 0 { !again } else { text.is_empty() };
        right.then_some(Self { from, to, number, received, again, written, text })
    }
}
