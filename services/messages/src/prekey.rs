//! Prekeys for first messages: each is used once, except the fallback key, which is used when the
//! others are exhausted.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use octet_node::key::{Domain, PrivateKey, SIGNATURE, verify};

use crate::card::{ContactCard, InvalidContactCard};
use crate::limits::ONE_TIME_KEYS;

/// The version of the encodings, their first byte.
const VERSION: u8 = 1;

/// The size of a prekey, in bytes.
pub const PREKEY: usize = 1 + 1 + 8 + 32 + 32 + SIGNATURE;

/// How often a prekey can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrekeyUse {
    /// For one session: the private half is deleted with the first message.
    OneTime,
    /// For any number of sessions while there is no other.
    Fallback,
}

/// A key that starts a session, signed by its owner.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 1), use (1: 1 one-time, 2 fallback),
/// number (8), the identity key that it belongs to (32), the key (32), and the signature (64) over
/// all before it, in the domain `octet prekey 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prekey {
    pub usage: PrekeyUse,
    /// Increases with each prekey.
    pub number: u64,
    /// The identity key that it belongs to.
    pub identity: [u8; 32],
    /// The X25519 key.
    pub key: [u8; 32],
    signature: [u8; SIGNATURE],
}

impl Prekey {
    pub fn sign(
        usage: PrekeyUse,
        number: u64,
        identity: [u8; 32],
        key: [u8; 32],
        signer: &PrivateKey,
    ) -> Self {
        let mut prekey = Self { usage, number, identity, key, signature: [0; SIGNATURE] };
        prekey.signature = signer.sign(Domain::Prekey, &prekey.body());
        prekey
    }

    fn body(&self) -> Vec<u8> {
        let mut out = vec![VERSION, if self.usage == PrekeyUse::OneTime { 1 } else { 2 }];
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.identity);
        out.extend_from_slice(&self.key);
        out
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.body();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes a prekey without verifying it: see [`is_signed_by`](Self::is_signed_by).
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let version = fields.u8()?;
        let usage = match fields.u8()? {
            1 => PrekeyUse::OneTime,
            2 => PrekeyUse::Fallback,
            _ => return None,
        };
        let (number, identity, key) = (fields.u64()?, fields.array()?, fields.array()?);
        let signature = fields.array()?;
        let whole = version == VERSION && fields.0.is_empty();
        whole.then_some(Self { usage, number, identity, key, signature })
    }

    /// Whether the owner of `card` has signed it, for the card's identity key.
    pub fn is_signed_by(&self, card: &ContactCard) -> bool {
        self.identity == card.details().identity
            && verify(&card.key(), Domain::Prekey, &self.body(), &self.signature)
    }
}

/// What a person publishes at a mailbox: a card, and prekeys.
///
/// Its encoding: version (1 byte, 1), the card (2 bytes of length, then the card), the number of
/// prekeys (1), and each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub card: ContactCard,
    /// The prekeys for first messages.
    pub prekeys: Vec<Prekey>,
}

impl Bundle {
    pub fn to_bytes(&self) -> Vec<u8> {
        let card = self.card.to_bytes();
        let mut out = vec![VERSION];
        out.extend_from_slice(&(card.len() as u16).to_be_bytes());
        out.extend_from_slice(&card);
        out.push(self.prekeys.len() as u8);
        for prekey in &self.prekeys {
            out.extend_from_slice(&prekey.to_bytes());
        }
        out
    }

    /// Decodes the bundle and verifies all signatures.
    ///
    /// # Errors
    /// The bytes are malformed, or a signature is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidContactCard> {
        let mut fields = Fields(bytes);
        let (card, prekeys) = Self::parse(&mut fields).ok_or(InvalidContactCard::Malformed)?;
        let card = ContactCard::from_bytes(card)?;
        let are_own = prekeys.iter().all(|prekey| prekey.is_signed_by(&card));
        are_own.then_some(Self { card, prekeys }).ok_or(InvalidContactCard::Forged)
    }

    fn parse<'a>(fields: &mut Fields<'a>) -> Option<(&'a [u8], Vec<Prekey>)> {
        (fields.u8()? == VERSION).then_some(())?;
        let length = usize::from(fields.u16()?);
        let card = fields.take(length)?;
        let count = usize::from(fields.u8()?);
        (count <= ONE_TIME_KEYS + 1).then_some(())?;
        let prekeys = (0..count).map(|_| Prekey::from_bytes(fields.take(PREKEY)?));
        let prekeys = prekeys.collect::<Option<_>>()?;
        fields.0.is_empty().then_some((card, prekeys))
    }
}

/// Verifies that a mailbox's answer to a claim belongs to `name`: mailboxes are not trusted.
pub fn check(card: &[u8], prekey: &[u8], name: &PublicKey) -> Option<(ContactCard, Prekey)> {
    let (card, prekey) = (ContactCard::from_bytes(card).ok()?, Prekey::from_bytes(prekey)?);
    (card.name() == *name && prekey.is_signed_by(&card)).then_some((card, prekey))
}
