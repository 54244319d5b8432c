//! A letter, as it lies in an envelope: whose it is, and what their session has made of what they say.

use octet_node::bytes::Fields;
use vodozemac::olm::OlmMessage;

use crate::card::ContactCard;

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// A letter. Whoever knows a card can put it into one: that it is theirs, the session shows.
///
/// Its encoding (numbers are big-endian): version (1 byte, 1), the card (2 bytes of length, then itself), the number of
/// the text (8), the kind of message (1: 0 begins a session, 1 goes on with one), and the message, as Olm encodes it.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Of whom it says it is: and where they are answered.
    pub card: ContactCard,
    /// Which text it says that it has, 0 for none: who cannot open it knows what to make of it. What counts is in the
    /// record.
    pub number: u64,
    /// What the session has made.
    pub message: OlmMessage,
}

impl Letter {
    pub fn to_bytes(&self) -> Vec<u8> {
        let card = self.card.to_bytes();
        let (kind, message) = self.message.to_parts();
        let mut out = vec![VERSION];
        out.extend_from_slice(&(card.len() as u16).to_be_bytes());
        out.extend_from_slice(&card);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.push(kind as u8);
        out.extend_from_slice(&message);
        out
    }

    /// Reads the encoding, and verifies the card.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.u8()? == VERSION).then_some(())?;
        let length = usize::from(fields.u16()?);
        let card = fields.take(length)?;
        let number = fields.u64()?;
        let message = OlmMessage::from_parts(fields.u8()?.into(), fields.0).ok()?;
        let card = ContactCard::from_bytes(card).ok()?;
        Some(Self { card, number, message })
    }
}
