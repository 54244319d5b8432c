//! Tokens, which authorize uploads over HTTP. They are valid at the node that has made them only.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use octet_node::bytes::Fields;
use octet_node::durable;
use octet_node::key::random;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};

/// The file of the key, in the service's data folder.
const FILE: &str = "token-key";

/// The length of the key in bytes.
const KEY: usize = 32;

/// The version of a token, its first byte.
const VERSION: u8 = 1;

/// The domain of the MAC, which separates this use of the key from any other.
const ABOUT: &[u8] = b"octet token 1\0";

/// Why a token is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// This node has not made it, or has revoked it.
    #[error("this node has not made this token, or it was revoked: ask the box's owner for one")]
    Unknown,
    #[error("this token has expired: ask the box's owner for another one")]
    Expired,
}

/// Makes and checks tokens.
///
/// A token is encoded as base64 for URLs without padding (numbers are big-endian): version (1 byte,
/// 1), the maximum size of an object in bytes (8), its expiry in seconds since 1970 (8), and
/// HMAC-SHA256 (32) over `octet token 1`, a NUL, and all preceding bytes.
#[derive(Debug)]
pub struct Tokens {
    folder: PathBuf,
    key: Mutex<Key>,
}

impl Tokens {
    /// Loads the key from `folder`; creates it if it is missing or damaged.
    ///
    /// # Errors
    /// Reading or writing fails.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        let saved = durable::read(&folder.join(FILE), KEY as u64)?.filter(|it| it.len() == KEY);
        let tokens = Self { folder, key: Key::new(HMAC_SHA256, &saved.unwrap_or_default()).into() };
        if !tokens.folder.join(FILE).metadata().is_ok_and(|file| file.len() == KEY as u64) {
            tokens.revoke()?;
        }
        Ok(tokens)
    }

    /// Replaces the key: all earlier tokens become invalid.
    ///
    /// # Errors
    /// Writing fails; all tokens stay valid then.
    pub fn revoke(&self) -> io::Result<()> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let next: [u8; KEY] = random().map_err(io::Error::other)?;
        durable::replace(&self.folder.join(FILE), &next)?;
        *key = Key::new(HMAC_SHA256, &next);
        Ok(())
    }

    /// A token for objects of at most `bytes` bytes, valid until `expires`, in seconds since 1970.
    pub fn make(&self, bytes: u64, expires: u64) -> String {
        let head = [&[VERSION][..], &bytes.to_be_bytes(), &expires.to_be_bytes()].concat();
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let tag = sign(&key, &[ABOUT, &head].concat());
        URL_SAFE_NO_PAD.encode([&head, tag.as_ref()].concat())
    }

    /// The maximum size of an object that is uploaded with `token`, at the time `now` in seconds
    /// since 1970.
    pub fn check(&self, token: &str, now: u64) -> Result<u64, InvalidToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken::Unknown)?;
        let mut fields = Fields(&bytes);
        let (head, tag) = (fields.take(17).ok_or(InvalidToken::Unknown)?, fields.0);
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        // The comparison takes constant time.
        verify(&key, &[ABOUT, head].concat(), tag).map_err(|_| InvalidToken::Unknown)?;
        let mut fields = Fields(head);
        let (version, bytes, expires) = (fields.u8(), fields.u64(), fields.u64());
        match (version, bytes, expires) {
            (Some(VERSION), Some(bytes), Some(expires)) if now < expires => Ok(bytes),
            (Some(VERSION), ..) => Err(InvalidToken::Expired),
            _ => Err(InvalidToken::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn until_it_expires_or_is_revoked_and_only_as_it_was_made() {
        let folder = TempDir::new().unwrap();
        let open = || Tokens::open(folder.path().to_owned()).unwrap();
        let tokens = open();
        let token = tokens.make(1000, 50);
        assert_eq!(tokens.check(&token, 49), Ok(1000));
        assert_eq!(tokens.check(&token, 50), Err(InvalidToken::Expired));
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                tokens.check(&URL_SAFE_NO_PAD.encode(changed), 0),
                Err(InvalidToken::Unknown)
            );
        }
        for length in 0..token.len() {
            assert_eq!(tokens.check(&token[..length], 0), Err(InvalidToken::Unknown));
        }
        // They stay valid after a restart; another node has another key.
        let other = TempDir::new().unwrap();
        assert_eq!(open().check(&token, 0), Ok(1000));
        let other = Tokens::open(other.path().to_owned()).unwrap();
        assert_eq!(other.check(&token, 0), Err(InvalidToken::Unknown));
        tokens.revoke().unwrap();
        for tokens in [tokens, open()] {
            assert_eq!(tokens.check(&token, 0), Err(InvalidToken::Unknown));
        }
    }
}
