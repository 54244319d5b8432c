//! A node's certificates for the keys of its services.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use octet_control::{PublicKey, UnitName};
use serde::{Deserialize, Serialize};

use crate::bytes::{Fields, put_text};
use crate::key::{Domain, PrivateKey, SIGNATURE, verify};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// A node's statement that `key` is the key of its service `unit`.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 1), node (32), key (32), epoch (8), issued (8),
/// the unit's name (1 byte of length, then UTF-8), and the node's signature (64) over all before it, in the
/// domain `octet certificate 1`. As text that is base64 with padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatement {
    pub node: PublicKey,
    pub unit: UnitName,
    pub key: PublicKey,
    /// The number of keys that the service has had, this one included. Of two certificates, the one with the
    /// higher epoch counts.
    pub epoch: u64,
    /// When the key was first certified, in seconds since 1970, by the node's clock. It is informational,
    /// because that clock may be wrong.
    pub issued: u64,
}

/// A statement with the node's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate {
    statement: KeyStatement,
    signature: [u8; SIGNATURE],
}

/// Why bytes are not a valid certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    #[error("this is not a certificate of version {VERSION}")]
    Malformed,
    #[error("the certificate is not signed by the node that it names")]
    Forged,
}

impl Certificate {
    /// Signs `statement` with the node's key.
    ///
    /// # Errors
    /// `node` is not the key of the node in the statement.
    pub fn sign(statement: KeyStatement, node: &PrivateKey) -> Result<Self, InvalidCertificate> {
        if node.public() != statement.node {
            return Err(InvalidCertificate::Forged);
        }
        let signature = node.sign(Domain::Certificate, &statement.body());
        Ok(Self { statement, signature })
    }

    /// The statement. The caller must check that its node is the expected one.
    pub fn statement(&self) -> &KeyStatement {
        &self.statement
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.statement.body();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes the certificate and verifies the signature.
    ///
    /// # Errors
    /// The bytes are malformed, or the signature is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCertificate> {
        let (statement, signature) = parse(bytes).ok_or(InvalidCertificate::Malformed)?;
        if !verify(&statement.node, Domain::Certificate, &statement.body(), &signature) {
            return Err(InvalidCertificate::Forged);
        }
        Ok(Self { statement, signature })
    }
}

impl KeyStatement {
    fn body(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(self.node.as_bytes());
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.issued.to_be_bytes());
        put_text(self.unit.as_str(), &mut out);
        out
    }
}

fn parse(bytes: &[u8]) -> Option<(KeyStatement, [u8; SIGNATURE])> {
    let mut fields = Fields(bytes);
    let [version] = fields.array()?;
    let (node, key) = (fields.key()?, fields.key()?);
    let (epoch, issued) = (fields.u64()?, fields.u64()?);
    let (unit, signature) = (fields.unit()?, fields.array()?);
    let whole = version == VERSION && fields.0.is_empty();
    whole.then_some((KeyStatement { node, unit, key, epoch, issued }, signature))
}

impl TryFrom<String> for Certificate {
    type Error = InvalidCertificate;

    fn try_from(text: String) -> Result<Self, InvalidCertificate> {
        Self::from_bytes(&STANDARD.decode(text).map_err(|_| InvalidCertificate::Malformed)?)
    }
}

impl From<Certificate> for String {
    fn from(certificate: Certificate) -> String {
        STANDARD.encode(certificate.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn statement(node: &PrivateKey) -> KeyStatement {
        let key = PrivateKey::generate().unwrap().public();
        let unit = "gate".parse().unwrap();
        KeyStatement { node: node.public(), unit, key, epoch: 3, issued: 1_700_000_000 }
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let node = PrivateKey::generate().unwrap();
        let whole = Certificate::sign(statement(&node), &node).unwrap();
        let bytes = whole.to_bytes();
        assert_eq!(Certificate::from_bytes(&bytes), Ok(whole.clone()));
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Certificate>(&json).unwrap(), whole);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Certificate::from_bytes(&changed).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Certificate::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(Certificate::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn nobody_signs_for_another() {
        let (node, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let statement = statement(&node);
        assert!(Certificate::sign(statement.clone(), &other).is_err());
        let signature = other.sign(Domain::Certificate, &statement.body());
        let forged = Certificate { statement, signature }.to_bytes();
        assert_eq!(Certificate::from_bytes(&forged), Err(InvalidCertificate::Forged));
    }

    proptest! {
        /// Each accepted certificate re-encodes to the same bytes.
        #[test]
        fn one_encoding(
            node: [u8; 32], key: [u8; 32], epoch: u64, issued: u64,
            unit in "[a-z][a-z0-9-]{0,31}", signature in prop::collection::vec(any::<u8>(), 64),
        ) {
            let (node, key) = (PublicKey::new(node), PublicKey::new(key));
            let unit = unit.parse().unwrap();
            let statement = KeyStatement { node, unit, key, epoch, issued };
            let bytes = [statement.body(), signature.clone()].concat();
            prop_assert_eq!(parse(&bytes), Some((statement, signature.try_into().unwrap())));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some((statement, signature)) = parse(&bytes) {
                prop_assert_eq!([&statement.body()[..], &signature].concat(), bytes);
            }
        }
    }
}
