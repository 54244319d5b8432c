//! What is sealed with a key that is kept: XChaCha20-Poly1305, under a nonce that is random and stands before it.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use octet_node::key::{NoRandomness, random};

/// The bytes of a nonce.
const NONCE: usize = 24;

/// `bytes` sealed with `key`: a nonce (24 bytes), them, and a tag (16) that is also over `about`.
pub fn seal(key: &[u8; 32], bytes: &[u8], about: &[u8]) -> Result<Vec<u8>, NoRandomness> {
    let nonce: [u8; NONCE] = random()?;
    let payload = Payload { msg: bytes, aad: about };
    // It fails for what is longer than memory.
    let sealed = XChaCha20Poly1305::new(key.into()).encrypt(&nonce.into(), payload);
    Ok([&nonce[..], &sealed.map_err(|_| NoRandomness)?].concat())
}

/// What [`seal`] has sealed; `None` if anything is other than it was.
pub fn open(key: &[u8; 32], sealed: &[u8], about: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
    let nonce: [u8; NONCE] = nonce.try_into().ok()?;
    let payload = Payload { msg: sealed, aad: about };
    XChaCha20Poly1305::new(key.into()).decrypt(&nonce.into(), payload).ok()
}
