//! A record: what a session carries, and only its two ends see.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;

use crate::limits::TEXT;

/// The version of the encoding, its first byte.
const VERSION: u8 = 2;

/// What a record says. Both names are in it, since a card could be laid to somebody else's keys.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 2), who says it (32), to whom (32), epoch (8), number (8;
/// 0 if there is no text), first (8), of which epoch of the other the next is (8), how many of the other's were received
/// in order (8), whether the others are wanted again (1: 0 or 1, and 0 if there is a text), when it was written, in
/// seconds since 1970 (8), and the text, in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRecord {
    pub from: PublicKey,
    pub to: PublicKey,
    /// In which epoch of who says it: with each, which is higher than those before, numbers begin at 1.
    pub epoch: u64,
    /// The how-manieth text from one to the other it is in that epoch, from 1 on; 0 if there is none.
    pub number: u64,
    /// The first text that the other has not said has come, or the next one: none before it comes any more.
    pub first: u64,
    /// Of which epoch of the other what is said of its texts is.
    pub of: u64,
    /// How many texts of that epoch were received, without a gap.
    pub received: u64,
    /// Whether there are others that cannot be opened: they are to be sealed anew.
    pub again: bool,
    /// When it was written, by the clock of the sender, in seconds since 1970.
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
        // After each number there is another one.
        let counts = number < u64::MAX && (1..u64::MAX).contains(&first);
        let right = if number > 0 { !again && first <= number } else { text.is_empty() };
        (counts && right && text.len() <= TEXT).then_some(())?;
        Some(Self { from, to, epoch, number, first, of, received, again, written, text })
    }
}
