//! The content of an envelope: the sender's card, and a message of their session.

use octet_node::bytes::Fields;
use vodozemac::olm::OlmMessage;

use crate::card::ContactCard;

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The content of an envelope. Anybody can include a known card; the session authenticates the
/// sender.
///
/// Its encoding (numbers are big-endian): version (1 byte, 1), the card (2 bytes of length, then
/// the card), the number of the text (8), the kind of message (1: 0 starts a session, 1 continues
/// one), and the message, as Olm encodes it.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The claimed sender, with the mailboxes for answers.
    pub card: ContactCard,
    /// The claimed number of the text, 0 for none: a receiver that cannot decrypt the message needs
    /// it. The number in the record counts.
    pub number: u64,
    /// The session's message.
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

    /// Decodes the letter and verifies the card.
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
