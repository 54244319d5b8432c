//! Envelopes, the encrypted form of messages in a mailbox: HPKE (RFC 9180) in base mode, with
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305. The receiver follows from the
//! mailbox that holds an envelope; the sender is hidden.

use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable};
use octet_node::control::PublicKey;

use crate::limits::MAX_ENVELOPE;

type Kem = hpke::kem::X25519HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::ChaCha20Poly1305;

/// The HPKE info string.
const INFO: &[u8] = b"octet envelope 1";

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The overhead of an envelope: version, ephemeral key, length and tag.
const AROUND: usize = 1 + 32 + 4 + 16;

/// The smallest envelope, in bytes. Sizes are this times powers of two.
pub const SMALLEST: usize = 1 << 10;

/// The secret that opens envelopes. Its public half is in the card.
pub struct Seal {
    secret: [u8; 32],
    private: <Kem as hpke::Kem>::PrivateKey,
}

impl Seal {
    /// Makes a key from 32 random bytes (X25519, RFC 7748).
    pub fn new(secret: [u8; 32]) -> Option<Self> {
        let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(&secret).ok()?;
        Some(Self { secret, private })
    }

    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    pub fn public(&self) -> [u8; 32] {
        Kem::sk_to_pk(&self.private).to_bytes().into()
    }

    /// Decrypts `envelope` for `name`.
    pub fn open(&self, envelope: &[u8], name: &PublicKey) -> Option<Vec<u8>> {
        let (version, rest) = envelope.split_first()?;
        let (key, sealed) = rest.split_at_checked(32)?;
        if *version != VERSION || !is_size(envelope.len()) {
            return None;
        }
        let key = <Kem as hpke::Kem>::EncappedKey::from_bytes(key).ok()?;
        let padded = hpke::single_shot_open::<Aead, Kdf, Kem>(
            &OpModeR::Base,
            &self.private,
            &key,
            INFO,
            sealed,
            name.as_bytes(),
        );
        unpad(padded.ok()?)
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

/// Seals `letter` for `name`, whose card has `seal`; `None` if it is too long, or the key is
/// invalid.
pub fn seal(letter: &[u8], name: &PublicKey, seal: &[u8; 32]) -> Option<Vec<u8>> {
    let padded = pad(letter)?;
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(seal).ok()?;
    let (key, sealed) = hpke::single_shot_seal::<Aead, Kdf, Kem>(
        &OpModeS::Base,
        &public,
        INFO,
        &padded,
        name.as_bytes(),
    )
    .ok()?;
    let mut envelope = vec![VERSION];
    envelope.extend_from_slice(&key.to_bytes());
    envelope.extend_from_slice(&sealed);
    Some(envelope)
}

/// Whether `length` is a valid size of envelopes.
pub fn is_size(length: usize) -> bool {
    length.is_power_of_two() && (SMALLEST..=MAX_ENVELOPE).contains(&length)
}

/// The length of `letter`, the bytes, and zeros up to the next envelope size.
fn pad(letter: &[u8]) -> Option<Vec<u8>> {
    let size = (letter.len() + AROUND).next_power_of_two().max(SMALLEST);
    (size <= MAX_ENVELOPE).then_some(())?;
    let mut padded = (letter.len() as u32).to_be_bytes().to_vec();
    padded.extend_from_slice(letter);
    padded.resize(size - AROUND + 4, 0);
    Some(padded)
}

fn unpad(mut padded: Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(*padded.first_chunk()?) as usize;
    padded.drain(..4);
    (length <= padded.len() && padded[length..].iter().all(|byte| *byte == 0)).then_some(())?;
    padded.truncate(length);
    Some(padded)
}
