//! Encryption of stored data with a persistent key: XChaCha20-Poly1305, with a random nonce as a
//! prefix.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use octet_node::key::{NoRandomness, random};

/// The size of a nonce, in bytes.
const NONCE: usize = 24;

/// Encrypts `bytes` with `key`: the result is a nonce (24 bytes), the ciphertext, and a tag (16)
/// that covers `about`, too.
pub fn seal(key: &[u8; 32], bytes: &[u8], about: &[u8]) -> Result<Vec<u8>, NoRandomness> {
    let nonce: [u8; NONCE] = random()?;
    let payload = Payload { msg: bytes, aad: about };
    // Encryption fails only for inputs that exceed the address space.
    let sealed = XChaCha20Poly1305::new(key.into()).encrypt(&nonce.into(), payload);
    Ok([&nonce[..], &sealed.map_err(|_| NoRandomness)?].concat())
}

/// Decrypts the result of [`seal`]; `None` if it was changed, or `key` or `about` differs.
pub fn open(key: &[u8; 32], sealed: &[u8], about: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
    let nonce: [u8; NONCE] = nonce.try_into().ok()?;
    let payload = Payload { msg: sealed, aad: about };
    XChaCha20Poly1305::new(key.into()).decrypt(&nonce.into(), payload).ok()
}
