//! The cryptography: HPKE (RFC 9180) in base mode for a slot, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//! ChaCha20-Poly1305, and the keys that are exported from it.

use std::ops::Range;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hpke::aead::{AeadCtxR, AeadCtxS, AeadTag};
use hpke::inout::InOutBuf;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, HpkeError, Kem as _, OpModeR, OpModeS, Serializable};
use sha2::{Digest, Sha256};

type Kem = hpke::kem::X25519HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::ChaCha20Poly1305;

/// The HPKE info string.
const INFO: &[u8] = b"octet set-up 1";

/// The prefix of the keys in the hash that gives a hint.
const HINT_OF: &[u8] = b"octet slot 1\0";

/// The size of an authentication tag, in bytes.
pub(super) const TAG: usize = 16;

/// The size of a slot's hint, in bytes.
pub(super) const HINT: usize = 8;

/// The size of a slot's ephemeral public key, in bytes.
pub(super) const ENC: usize = 32;

/// A node's secret for its slots. The public half is announced.
pub struct OnionSecret {
    private: <Kem as hpke::Kem>::PrivateKey,
    public: [u8; 32],
}

impl OnionSecret {
    /// Makes a key from 32 random bytes (X25519, RFC 7748).
    pub fn new(secret: &[u8; 32]) -> Option<Self> {
        let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(secret).ok()?;
        let public = Kem::sk_to_pk(&private).to_bytes().into();
        Some(Self { private, public })
    }

    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The HPKE context of the slot with the ephemeral key `enc`.
    pub(super) fn receive(&self, enc: &[u8]) -> Result<Receiver, HpkeError> {
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(enc)?;
        hpke::setup_receiver(&OpModeR::Base, &self.private, &enc, INFO).map(Receiver)
    }
}

impl std::fmt::Debug for OnionSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnionSecret").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The hop's HPKE context.
pub(super) struct Receiver(AeadCtxR<Aead, Kdf, Kem>);

impl Receiver {
    /// Decrypts `sealed`, which ends with its tag.
    pub fn open<const N: usize>(&mut self, sealed: &[u8], others: &[u8]) -> Option<[u8; N]> {
        let (text, tag) = sealed.split_at_checked(N)?;
        let tag = AeadTag::from_bytes(tag).ok()?;
        let mut text: [u8; N] = text.try_into().ok()?;
        let buffer = InOutBuf::from(&mut text[..]);
        self.0.open_inout_detached(buffer, others, &tag).ok()?;
        Some(text)
    }

    pub fn keys(&self) -> Result<Keys, HpkeError> {
        Keys::derive(|label, key| self.0.export(label, key))
    }
}

/// The source's HPKE context for a hop's slot.
pub(super) struct Sender {
    pub enc: [u8; ENC],
    context: AeadCtxS<Aead, Kdf, Kem>,
}

impl Sender {
    /// A new context for the hop with this onion key.
    pub fn new(onion_key: &[u8; 32], random: &mut impl CryptoRng) -> Result<Self, HpkeError> {
        let public = <Kem as hpke::Kem>::PublicKey::from_bytes(onion_key)?;
        let (enc, context) =
            hpke::setup_sender_with_rng::<Aead, Kdf, Kem>(&OpModeS::Base, &public, INFO, random)?;
        Ok(Self { enc: enc.to_bytes().into(), context })
    }

    pub fn seal<const N: usize>(
        &mut self,
        mut text: [u8; N],
        others: &[u8],
    ) -> Result<([u8; N], [u8; TAG]), HpkeError> {
        let tag = self.context.seal_inout_detached(InOutBuf::from(&mut text[..]), others)?;
        Ok((text, tag.to_bytes().into()))
    }

    pub fn keys(&self) -> Result<Keys, HpkeError> {
        Keys::derive(|label, key| self.context.export(label, key))
    }
}

/// The keys that a hop shares with the source.
pub(super) struct Keys {
    /// The key stream over a set-up.
    pub layer: [u8; 32],
    /// The key stream over its answer.
    pub back: [u8; 32],
    /// Seals the hop's answer, once.
    pub reply: [u8; 32],
    /// Seals changes; the counter is the nonce.
    pub change: [u8; 32],
    /// The key stream over changes; the counter is the nonce.
    pub cover: [u8; 32],
}

impl Keys {
    fn derive(
        export: impl Fn(&[u8], &mut [u8]) -> Result<(), HpkeError>,
    ) -> Result<Self, HpkeError> {
        let key = |label: &[u8]| {
            let mut key = [0; 32];
            export(label, &mut key).map(|()| key)
        };
        Ok(Self {
            layer: key(b"layer")?,
            back: key(b"back")?,
            reply: key(b"reply")?,
            change: key(b"change")?,
            cover: key(b"cover")?,
        })
    }
}

/// The hint of the slot with `enc` for the hop with `onion_key`.
pub(super) fn hint(onion_key: &[u8; 32], enc: &[u8]) -> [u8; HINT] {
    let digest =
        Sha256::new().chain_update(HINT_OF).chain_update(onion_key).chain_update(enc).finalize();
    let mut hint = [0; HINT];
    hint.copy_from_slice(&digest[..HINT]);
    hint
}

/// A number as a nonce of 12 bytes (RFC 8439).
fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce
}

/// Applies the ChaCha20 key stream (RFC 8439) to `bytes`; applying it twice restores them.
pub(super) fn stream(key: &[u8; 32], number: u64, bytes: &mut [u8]) {
    ChaCha20::new(&(*key).into(), &nonce(number).into()).apply_keystream(bytes);
}

/// Seals `text` into `slot` of `body`, and authenticates the rest of `body` in its current state. A key seals
/// one text per number.
pub(super) fn seal<const N: usize>(
    key: &[u8; 32],
    number: u64,
    mut text: [u8; N],
    (slot, body): (Range<usize>, &mut [u8]),
) {
    let cipher = ChaCha20Poly1305::new(&(*key).into());
    let buffer = InOutBuf::from(&mut text[..]);
    let (sealed, proof): (_, [u8; TAG]) =
        match cipher.encrypt_inout_detached(&nonce(number).into(), body, buffer) {
            Ok(tag) => (text, tag.into()),
            // Sealing fails only for texts of hundreds of gigabytes; even then no plaintext leaves the node.
            Err(_) => ([0; N], [0; TAG]),
        };
    let (text, tag) = body[slot].split_at_mut(N);
    text.copy_from_slice(&sealed);
    tag.copy_from_slice(&proof);
}

/// Decrypts a sealed text with its tag at the end; `None` if it or `covered` was altered.
pub(super) fn unseal<const N: usize>(
    key: &[u8; 32],
    number: u64,
    sealed: &[u8],
    covered: &[u8],
) -> Option<[u8; N]> {
    let (text, tag) = sealed.split_at_checked(N)?;
    let tag: [u8; TAG] = tag.try_into().ok()?;
    let mut text: [u8; N] = text.try_into().ok()?;
    let cipher = ChaCha20Poly1305::new(&(*key).into());
    let buffer = InOutBuf::from(&mut text[..]);
    cipher.decrypt_inout_detached(&nonce(number).into(), covered, buffer, &tag.into()).ok()?;
    Some(text)
}
