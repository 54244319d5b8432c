//! A record: the plaintext of a session, visible to its two ends only.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;

use crate::limits::MAX_TEXT;

/// The version of the encoding, its first byte.
const VERSION: u8 = 2;

/// The plaintext of a message. It contains both names, because a card could be combined with
/// another person's keys.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 2), sender (32), receiver (32),
/// epoch (8), number (8; 0 if there is no text), first (8), the receiver's epoch that the next
/// field refers to (8), the number of the receiver's texts that were received in order (8), whether
/// the others are requested again (1: 0 or 1, and 0 if there is a text), the time of writing, in
/// seconds since 1970 (8), and the text, in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRecord {
    pub from: PublicKey,
    pub to: PublicKey,
    /// The sender's epoch. It increases with each restore, and numbers start at 1 in it.
    pub epoch: u64,
    /// The number of the text in that epoch, from 1; 0 if there is no text.
    pub number: u64,
    /// The first unacknowledged text, or the next one: no earlier text follows.
    pub first: u64,
    /// The receiver's epoch that `received` refers to.
    pub of: u64,
    /// The number of texts received in that epoch, without a gap.
    pub received: u64,
    /// Whether some texts could not be decrypted and must be sealed anew.
    pub again: bool,
    /// The time of writing, by the sender's clock, in seconds since 1970.
    pub written: u64,
    pub text: String,
}

impl PersonRecord {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(self.from.as_bytes());
        out.extend_from_slice(self.to.as_bytes());
        for number in [self.epoch, self.number, self.first, self.of, self.received] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.push(self.again.into());
        out.extend_from_slice(&self.written.to_be_bytes());
        out.extend_from_slice(self.text.as_bytes());
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.u8()? == VERSION).then_some(())?;
        let (from, to) = (fields.key()?, fields.key()?);
        let (epoch, number, first) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (of, received) = (fields.u64()?, fields.u64()?);
        let again = match fields.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let written = fields.u64()?;
        let text = std::str::from_utf8(fields.0).ok()?.to_owned();
        // Each number must have a successor.
        let counts = number < u64::MAX && (1..u64::MAX).contains(&first);
        let right = if number > 0 { !again && first <= number } else { text.is_empty() };
        (counts && right && text.len() <= MAX_TEXT).then_some(())?;
        Some(Self { from, to, epoch, number, first, of, received, again, written, text })
    }
}
