//! Statements with the signature of the key that they name, as certificates are.

use base64::Engine;
use base64::engine::GeneralPurpose;
use octet_control::PublicKey;
use serde::{Deserialize, Serialize};

use crate::bytes::Fields;
use crate::key::{Domain, PrivateKey, SIGNATURE, verify};

/// The version of all encodings, their first byte.
pub const VERSION: u8 = 1;

/// What a key signs. It has one encoding: decoding accepts no other bytes for the same value.
pub trait Signable: Sized {
    /// What it is called in errors.
    const NAME: &'static str;
    const DOMAIN: Domain;
    /// The base64 of its text.
    const TEXT: GeneralPurpose;
    /// The maximum size of the encoding with its signature, in bytes.
    const MAX_BYTES: usize = 1 << 10;

    /// The key that signs it.
    fn signer(&self) -> PublicKey;

    /// Appends the encoding that follows the version.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads the encoding. `fields` ends where the signature begins.
    fn decode(fields: &mut Fields<'_>) -> Option<Self>;

    /// Whether the fields are short enough for the encoding.
    fn fits(&self) -> bool {
        true
    }
}

/// A statement with its signature.
///
/// Its encoding (numbers are big-endian): version (1 byte, 1), the statement, and the signature (64)
/// over all before it, in the statement's domain. As text that is base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String", bound = "T: Signable + Clone")]
pub struct SignedStatement<T> {
    body: T,
    signature: [u8; SIGNATURE],
}

/// Why there is no signed statement; each names its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigned {
    #[error("this is not a {0} of version {VERSION}")]
    Malformed(&'static str),
    #[error("the {0} is not signed by the key that it names")]
    Forged(&'static str),
    #[error("the {0} is longer than {1} bytes, or a part of it than 255")]
    TooLong(&'static str, usize),
}

impl<T: Signable> SignedStatement<T> {
    /// Signs `body` with the key that it names.
    ///
    /// # Errors
    /// `key` is another key, or the statement is too long.
    pub fn sign(body: T, key: &PrivateKey) -> Result<Self, InvalidSigned> {
        if key.public() != body.signer() {
            return Err(InvalidSigned::Forged(T::NAME));
        }
        if !body.fits() {
            return Err(InvalidSigned::TooLong(T::NAME, T::MAX_BYTES));
        }
        let encoded = encode(&body);
        if encoded.len() + SIGNATURE > T::MAX_BYTES {
            return Err(InvalidSigned::TooLong(T::NAME, T::MAX_BYTES));
        }
        Ok(Self { signature: key.sign(T::DOMAIN, &encoded), body })
    }

    /// The statement. The caller must check that its signer is the expected one.
    pub fn body(&self) -> &T {
        &self.body
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(&self.body);
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes the statement and verifies the signature.
    ///
    /// # Errors
    /// The bytes are malformed, or the signature is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidSigned> {
        let (body, signed, signature) =
            parse::<T>(bytes).ok_or(InvalidSigned::Malformed(T::NAME))?;
        match verify(&body.signer(), T::DOMAIN, signed, &signature) {
            true => Ok(Self { body, signature }),
            false => Err(InvalidSigned::Forged(T::NAME)),
        }
    }
}

fn encode<T: Signable>(body: &T) -> Vec<u8> {
    let mut out = vec![VERSION];
    body.encode(&mut out);
    out
}

/// The statement, the signed bytes, and the signature.
fn parse<T: Signable>(bytes: &[u8]) -> Option<(T, &[u8], [u8; SIGNATURE])> {
    if bytes.len() > T::MAX_BYTES {
        return None;
    }
    let (signed, signature) = bytes.split_last_chunk()?;
    let mut fields = Fields(signed);
    let [version] = fields.array()?;
    let body = T::decode(&mut fields)?;
    let is_whole = version == VERSION && fields.0.is_empty();
    is_whole.then_some((body, signed, *signature))
}

impl<T: Signable> TryFrom<String> for SignedStatement<T> {
    type Error = InvalidSigned;

    fn try_from(text: String) -> Result<Self, InvalidSigned> {
        Self::from_bytes(&T::TEXT.decode(text).map_err(|_| InvalidSigned::Malformed(T::NAME))?)
    }
}

impl<T: Signable> From<SignedStatement<T>> for String {
    fn from(signed: SignedStatement<T>) -> String {
        T::TEXT.encode(signed.to_bytes())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fmt::Debug;

    /// Signs `body`, and expects that no other bytes are accepted for it, and no other signer.
    pub fn only_as_signed<T>(body: &T, key: &PrivateKey)
    where
        T: Signable + Clone + Debug + PartialEq,
    {
        let whole = SignedStatement::sign(body.clone(), key).unwrap();
        let bytes = whole.to_bytes();
        assert_eq!(SignedStatement::from_bytes(&bytes).as_ref(), Ok(&whole));
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<SignedStatement<T>>(&json).unwrap(), whole);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(SignedStatement::<T>::from_bytes(&changed).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(SignedStatement::<T>::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(SignedStatement::<T>::from_bytes(&[&bytes[..], b"x"].concat()).is_err());

        let other = PrivateKey::generate().unwrap();
        assert_eq!(
            SignedStatement::sign(body.clone(), &other),
            Err(InvalidSigned::Forged(T::NAME))
        );
        let signature = other.sign(T::DOMAIN, &encode(body));
        let forged = SignedStatement { body: body.clone(), signature }.to_bytes();
        assert_eq!(SignedStatement::<T>::from_bytes(&forged), Err(InvalidSigned::Forged(T::NAME)));
    }

    /// The bytes that are read as a statement are those that it is written as.
    pub fn has_one_encoding<T: Signable>(bytes: &[u8]) {
        if let Some((body, _, signature)) = parse::<T>(bytes) {
            assert_eq!([&encode(&body)[..], &signature].concat(), bytes);
        }
    }

    /// The statement with a signature that is not checked, as it is read again.
    pub fn reads<T: Signable>(body: &T) -> Option<T> {
        let bytes = [&encode(body)[..], &[5; SIGNATURE]].concat();
        parse(&bytes).map(|(body, ..)| body)
    }
}
