//! Public keys, as people and files write them.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

/// The prefix of every `did:key`; `z` stands for base58 with the alphabet of Bitcoin (multibase).
const PREFIX: &str = "did:key:z";

/// The prefix of an Ed25519 public key (multicodec `ed25519-pub`, 0xed as a varint).
const ED25519: [u8; 2] = [0xed, 0x01];

/// An Ed25519 public key (RFC 8032); its text form is a `did:key` (W3C, The did:key Method), such
/// as `did:key:z6Mk…`. Each key has exactly one text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// Text that is not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a public key: write it as `octetctl keygen` prints it, did:key:z6Mk…")]
pub struct InvalidPublicKey(String);

impl PublicKey {
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidPublicKey;

    fn try_from(text: String) -> Result<Self, InvalidPublicKey> {
        let mut bytes = [0; ED25519.len() + 32];
        let decoded =
            text.strip_prefix(PREFIX).and_then(|text| bs58::decode(text).onto(&mut bytes).ok());
        // Base58 has one text for each number, but leading zeros could be left out.
        match decoded {
            Some(count) if count == bytes.len() && bytes.starts_with(&ED25519) => {
                let mut key = [0; 32];
                key.copy_from_slice(&bytes[ED25519.len()..]);
                // About half of all 32-byte values are not a point of the curve, and cannot be a
                // key. The text has no checksum, so this is the only way to detect a mistyped
                // letter.
                VerifyingKey::from_bytes(&key)
                    .map(|_| Self(key))
                    .map_err(|_| InvalidPublicKey(text))
            }
            _ => Err(InvalidPublicKey(text)),
        }
    }
}

impl std::str::FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        Self::try_from(text.to_owned())
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = ED25519.to_vec();
        bytes.extend_from_slice(&self.0);
        write!(f, "{PREFIX}{}", bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    /// The first Ed25519 example of the specification of did:key, whose bytes the method's
    /// verification document gives.
    const KNOWN: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

    #[test]
    fn the_text_of_the_specification() {
        let key: PublicKey = KNOWN.parse().unwrap();
        assert_eq!(key.to_string(), KNOWN);
        let hex: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6");
    }

    #[test]
    fn refuses_what_is_no_ed25519_key() {
        for bad in [
            "",
            "did:key:",
            "did:key:z",
            &KNOWN[8..],
            &KNOWN[..KNOWN.len() - 1],
            &format!("{KNOWN}1"),
            &format!(" {KNOWN}"),
            &KNOWN.replace("did:key:z6", "did:key:z16"),
            // secp256k1, X25519: of the specification, too
            "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
            "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc",
        ] {
            let error = bad.parse::<PublicKey>().unwrap_err();
            assert!(error.to_string().contains("octetctl keygen"), "{error}");
        }
    }

    /// Of the texts that differ from a key's in one letter about half are rejected, because they
    /// are not a point.
    #[test]
    fn a_letter_that_was_mistyped_is_seen_half_of_the_time() {
        let other = |at: usize| if &KNOWN[at..=at] == "a" { "b" } else { "a" };
        let mistyped = |at: usize| format!("{}{}{}", &KNOWN[..at], other(at), &KNOWN[at + 1..]);
        let all: Vec<_> = (13..KNOWN.len()).map(mistyped).collect();
        let refused = all.iter().filter(|text| text.parse::<PublicKey>().is_err()).count();
        assert!(
            (all.len() / 3..all.len() * 2 / 3).contains(&refused),
            "{refused} of {}",
            all.len()
        );
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(seed: [u8; 32]) {
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
            let key = PublicKey::new(pair.public_key().as_ref().try_into().unwrap());
            prop_assert!(key.to_string().starts_with("did:key:z6Mk"));
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn one_text_for_each_key(bytes: [u8; 32], at in 9usize..56, other in "[1-9A-Za-z]") {
            let text = PublicKey::new(bytes).to_string();
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            if let Ok(key) = changed.parse::<PublicKey>() {
                prop_assert_eq!(key.to_string(), changed);
            }
        }

        #[test]
        fn never_panics(text in "(did:key:z)?\\PC*") {
            let _ = text.parse::<PublicKey>();
        }
    }
}
