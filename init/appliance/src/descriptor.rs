//! The peer descriptor: what another node has to know about a node for a link, as one text that
//! people can copy.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::public_key::PublicKey;

/// The prefix of a certificate's signed bytes (`services/node/src/key.rs`).
const DOMAIN: &[u8] = b"octet certificate 1\0";

/// The version of the encoding.
const VERSION: u8 = 1;

/// The certificate's unit: `forward`, preceded by the length of this name.
const UNIT: &[u8; 8] = b"\x07forward";

/// Offsets of the node's key, of the key of its `forward`, and of the unit's name; the signature
/// follows.
const NODE: usize = 1;
const KEY: usize = NODE + 32;
const NAME: usize = KEY + 32 + 8 + 8;
const SIGNATURE: usize = NAME + UNIT.len();

/// Total length in bytes.
const LENGTH: usize = SIGNATURE + 64;

/// A node's certificate about the key of its unit `forward`, signed by the node: 153 bytes
/// (`services/node` has the encoding of certificates in general), as base64 text, which needs no
/// padding for that length. Each descriptor has exactly one text.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerDescriptor([u8; LENGTH]);

/// Text that is not a valid descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeerDescriptor {
    /// It is not base64.
    #[error(
        "this is not a descriptor: copy what `octetctl --box BOX forward descriptor` prints there, all of it"
    )]
    Text,
    /// Its length is wrong.
    #[error(
        "this is not a descriptor: it has {0} bytes and not {LENGTH}; copy what `octetctl --box BOX forward descriptor` prints there, all of it"
    )]
    Length(usize),
    /// It has another version, or is about another unit.
    #[error(
        "this is a certificate, but none about the key of a node's `forward`: `octetctl --box BOX forward descriptor` prints that"
    )]
    Other,
    /// A key is a point of small order, which gives no secrecy.
    #[error(
        "a key in this descriptor is not secure (not a point of the curve, or one of small order): do not trust its sender"
    )]
    Key,
    /// The signature of the node named in it is invalid.
    #[error(
        "the node that this descriptor names has not signed it: a letter is wrong, or somebody has changed it; ask for it once more"
    )]
    Forged,
}

impl PeerDescriptor {
    /// Parses and verifies the encoding.
    ///
    /// # Errors
    /// It is not a descriptor, or its signature or a key is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidPeerDescriptor> {
        let bytes: [u8; LENGTH] =
            bytes.try_into().map_err(|_| InvalidPeerDescriptor::Length(bytes.len()))?;
        let descriptor = Self(bytes);
        if bytes[0] != VERSION || bytes[NAME..SIGNATURE] != *UNIT {
            return Err(InvalidPeerDescriptor::Other);
        }
        // With a node's key of small order anybody could sign.
        if ![descriptor.node(), descriptor.key()].iter().all(is_strong_key) {
            return Err(InvalidPeerDescriptor::Key);
        }
        let (body, signature) = bytes.split_at(SIGNATURE);
        let key = VerifyingKey::from_bytes(descriptor.node().as_bytes())
            .map_err(|_| InvalidPeerDescriptor::Key)?;
        let verified = Signature::from_slice(signature)
            .and_then(|signature| key.verify_strict(&[DOMAIN, body].concat(), &signature));
        verified.map(|()| descriptor).map_err(|_| InvalidPeerDescriptor::Forged)
    }

    pub fn node(&self) -> PublicKey {
        self.key_at(NODE)
    }

    /// The key of its `forward`.
    pub fn key(&self) -> PublicKey {
        self.key_at(KEY)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn key_at(&self, at: usize) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(&self.0[at..at + 32]);
        PublicKey::new(key)
    }
}

/// Whether a key is a point of the curve, and not one of small order, for which all secrets give
/// the same few results.
fn is_strong_key(key: &PublicKey) -> bool {
    CompressedEdwardsY(*key.as_bytes()).decompress().is_some_and(|point| !point.is_small_order())
}

impl TryFrom<String> for PeerDescriptor {
    type Error = InvalidPeerDescriptor;

    fn try_from(text: String) -> Result<Self, InvalidPeerDescriptor> {
        Self::from_bytes(&STANDARD.decode(text).map_err(|_| InvalidPeerDescriptor::Text)?)
    }
}

impl std::str::FromStr for PeerDescriptor {
    type Err = InvalidPeerDescriptor;

    fn from_str(text: &str) -> Result<Self, InvalidPeerDescriptor> {
        Self::try_from(text.to_owned())
    }
}

impl From<PeerDescriptor> for String {
    fn from(descriptor: PeerDescriptor) -> String {
        descriptor.to_string()
    }
}

impl fmt::Display for PeerDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PeerDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the descriptor of {}", self.node())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn public(seed: u8) -> PublicKey {
        PublicKey::new(pair(seed).public_key().as_ref().try_into().unwrap())
    }

    /// A certificate of the node of this seed about `key`, valid or not.
    fn signed(seed: u8, key: PublicKey, unit: &[u8]) -> Vec<u8> {
        let node = public(seed);
        let mut bytes = [&[VERSION][..], node.as_bytes(), key.as_bytes(), &[0; 16], unit].concat();
        let signature = pair(seed).sign(&[DOMAIN, &bytes].concat());
        bytes.extend_from_slice(signature.as_ref());
        bytes
    }

    /// The descriptor of the node of this seed.
    pub(crate) fn descriptor(seed: u8) -> PeerDescriptor {
        descriptor_with(seed, seed)
    }

    /// The same with the key of another node's `forward`.
    pub(crate) fn descriptor_with(seed: u8, other: u8) -> PeerDescriptor {
        PeerDescriptor::from_bytes(&signed(seed, public(other ^ 0x80), UNIT)).unwrap()
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let whole = descriptor(1);
        assert_eq!((whole.node(), whole.key()), (public(1), public(0x81)));
        assert_eq!(whole.to_string().parse(), Ok(whole));
        for bit in 0..LENGTH * 8 {
            let mut changed = whole.0;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(PeerDescriptor::from_bytes(&changed).is_err(), "bit {bit}");
        }
        for length in 0..LENGTH {
            assert_eq!(
                PeerDescriptor::from_bytes(&whole.0[..length]),
                Err(InvalidPeerDescriptor::Length(length))
            );
        }
    }

    #[test]
    fn what_is_no_card_is_told() {
        let small = |first: u8| {
            let mut key = [0; 32];
            key[0] = first;
            PublicKey::new(key)
        };
        let gate = signed(1, public(2), b"\x07gateway");
        assert_eq!(PeerDescriptor::from_bytes(&gate), Err(InvalidPeerDescriptor::Other));
        // The neutral point, one of order 4, and no point.
        for key in [small(1), small(0), small(2)] {
            assert_eq!(
                PeerDescriptor::from_bytes(&signed(1, key, UNIT)),
                Err(InvalidPeerDescriptor::Key)
            );
        }
        // A signature that anybody can make: its scalar is 0, and its point the neutral one.
        let mut anybodys = [&[VERSION][..], small(1).as_bytes(), public(2).as_bytes()].concat();
        anybodys.extend([&[0; 16][..], UNIT, small(1).as_bytes(), &[0; 32]].concat());
        assert_eq!(PeerDescriptor::from_bytes(&anybodys), Err(InvalidPeerDescriptor::Key));
        let text = descriptor(1).to_string();
        for bad in ["", "?", &text[1..], &format!("{text}AAAA"), &format!("{text}\n")] {
            assert!(bad.parse::<PeerDescriptor>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn one_text_for_each(seed: u8, at in 0usize..204, other in "[A-Za-z0-9+/=]") {
            let whole = descriptor(seed);
            let text = whole.to_string();
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            prop_assert_eq!(changed.parse::<PeerDescriptor>().is_ok(), changed == text);
        }

        #[test]
        fn never_panics(text in "\\PC*", bytes in prop::collection::vec(any::<u8>(), 140..160)) {
            let _ = text.parse::<PeerDescriptor>();
            let _ = STANDARD.encode(&bytes).parse::<PeerDescriptor>();
            let mut whole = descriptor(1).0;
            for (own, other) in whole.iter_mut().zip(&bytes) {
                *own ^= other;
            }
            let _ = PeerDescriptor::from_bytes(&whole);
        }
    }
}
