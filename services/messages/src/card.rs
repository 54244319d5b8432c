//! The contact card: a person's signed keys and mailboxes.

use octet_node::bytes::Fields;
use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;
use octet_node::key::{Domain, PrivateKey, SIGNATURE, verify};

use crate::mailbox_address::{self, MailboxAddress};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The service whose certified key signs cards.
pub const UNIT: &str = "messenger";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The identity key of sessions (X25519).
    pub identity: [u8; 32],
    /// The public key that envelopes are sealed to (X25519).
    pub seal: [u8; 32],
    /// Of two different cards, the one with the higher serial counts.
    pub serial: u64,
    pub places: Vec<MailboxAddress>,
}

/// A contact card, signed by the person's certified key.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 1), the certificate (2 bytes of
/// length, then the certificate), identity (32), seal (32), serial (8), the
/// [mailboxes](MailboxAddress), and the signature (64) of the certified key over all before it, in
/// the domain `octet card 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactCard {
    certificate: Certificate,
    details: Details,
    signature: [u8; SIGNATURE],
}

/// Why bytes are not a valid card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContactCard {
    #[error("this is not a card of version {VERSION}")]
    Malformed,
    /// The signature is invalid, or the key is certified for another unit.
    #[error("the card is not signed by whom it names")]
    Forged,
}

impl ContactCard {
    /// Signs `details` with the key in `certificate`.
    ///
    /// # Errors
    /// `key` is another key, or certified for another unit.
    pub fn sign(
        details: Details,
        certificate: Certificate,
        key: &PrivateKey,
    ) -> Result<Self, InvalidContactCard> {
        let said = certificate.body();
        if said.key != key.public() || said.unit.as_str() != UNIT {
            return Err(InvalidContactCard::Forged);
        }
        let signature = key.sign(Domain::Card, &body(&details, &certificate));
        Ok(Self { certificate, details, signature })
    }

    /// The owner: a person, or a node.
    pub fn name(&self) -> PublicKey {
        self.certificate.body().node
    }

    /// The certified messaging key.
    pub fn key(&self) -> PublicKey {
        self.certificate.body().key
    }

    /// The epoch of that key.
    pub fn epoch(&self) -> u64 {
        self.certificate.body().epoch
    }

    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Whether this card may replace `old`: it has the same name, and nothing in it is older.
    pub fn follows(&self, old: &Self) -> bool {
        let key = self.epoch() > old.epoch() || self.key() == old.key();
        let newer = (self.epoch(), self.details.serial) > (old.epoch(), old.details.serial);
        self.name() == old.name() && key && (newer || self == old)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = body(&self.details, &self.certificate);
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes the card and verifies both signatures. The caller must check that it is the expected
    /// person's.
    ///
    /// # Errors
    /// The bytes are malformed, or a signature is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidContactCard> {
        let (card, signed) = parse(bytes).ok_or(InvalidContactCard::Malformed)?;
        let own = card.certificate.body().unit.as_str() == UNIT;
        if !own || !verify(&card.key(), Domain::Card, signed, &card.signature) {
            return Err(InvalidContactCard::Forged);
        }
        Ok(card)
    }
}

fn body(details: &Details, certificate: &Certificate) -> Vec<u8> {
    let certificate = certificate.to_bytes();
    let mut out = vec![VERSION];
    out.extend_from_slice(&(certificate.len() as u16).to_be_bytes());
    out.extend_from_slice(&certificate);
    out.extend_from_slice(&details.identity);
    out.extend_from_slice(&details.seal);
    out.extend_from_slice(&details.serial.to_be_bytes());
    mailbox_address::encode(&details.places, &mut out);
    out
}

fn parse(bytes: &[u8]) -> Option<(ContactCard, &[u8])> {
    let mut fields = Fields(bytes);
    let version = fields.u8()?;
    let length = usize::from(fields.u16()?);
    let certificate = Certificate::from_bytes(fields.take(length)?).ok()?;
    let details = Details {
        identity: fields.array()?,
        seal: fields.array()?,
        serial: fields.u64()?,
        places: mailbox_address::decode(&mut fields)?,
    };
    let signature = fields.array()?;
    let whole = version == VERSION && fields.0.is_empty();
    let signed = &bytes[..bytes.len() - SIGNATURE];
    whole.then_some((ContactCard { certificate, details, signature }, signed))
}
