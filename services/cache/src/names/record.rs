//! Signed records, which map a name to an object.

use iroh_blobs::Hash;
use octet_appliance::NamePath;
use octet_node::bytes::Fields;
use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;
use octet_node::key::{Domain, PrivateKey, SIGNATURE, verify};

use crate::peers::UNIT;

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The maximum length of an encoded record, in bytes.
pub const LONGEST: usize = 1024;

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameEntry {
    pub path: NamePath,
    pub hash: Hash,
    /// How often the name was published. Of two records by one key, the one with the higher number
    /// is newer.
    pub sequence: u64,
    /// The expiry, in seconds since 1970.
    pub expires: u64,
}

/// An entry, signed with the key of the node's `cache`, together with the certificate of that key.
///
/// Its canonical encoding (numbers are big-endian): version (1 byte, 1), path (1 byte of length,
/// then ASCII), hash (32), sequence (8), expires (8), the certificate (2 bytes of length, then as
/// in docs/gate.md), and the signature (64) over all preceding bytes, in the domain `octet name 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRecord {
    entry: NameEntry,
    certificate: Certificate,
    signature: [u8; SIGNATURE],
}

/// Why bytes are not a valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNameRecord {
    /// The encoding is malformed.
    #[error("this is not a record of a name of version {VERSION}")]
    Malformed,
    /// The node has not certified the key for names, or the key has not signed the entry.
    #[error("the record is not signed by the `cache` of the node that it names")]
    Forged,
}

impl NameRecord {
    /// Signs `entry` with the key that `certificate` names.
    ///
    /// # Errors
    /// `key` is another key, or it is not certified for this purpose.
    pub fn sign(
        entry: NameEntry,
        certificate: Certificate,
        key: &PrivateKey,
    ) -> Result<Self, InvalidNameRecord> {
        if !is_for(&certificate) || certificate.body().key != key.public() {
            return Err(InvalidNameRecord::Forged);
        }
        let signature = key.sign(Domain::Name, &body(&entry, &certificate));
        Ok(Self { entry, certificate, signature })
    }

    /// The content. The caller has to check the expiry.
    pub fn entry(&self) -> &NameEntry {
        &self.entry
    }

    /// The node to which the name belongs.
    pub fn node(&self) -> PublicKey {
        self.certificate.body().node
    }

    /// Orders the records of a name: the epoch of the key, and then the sequence. A record by a
    /// newer key is newer.
    pub fn version(&self) -> (u64, u64) {
        (self.certificate.body().epoch, self.entry.sequence)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = body(&self.entry, &self.certificate);
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Parses the encoding, and verifies both signatures.
    ///
    /// # Errors
    /// The encoding is malformed, or a signature is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidNameRecord> {
        let (entry, certificate, signature) = parse(bytes).ok_or(InvalidNameRecord::Malformed)?;
        let certificate =
            Certificate::from_bytes(certificate).map_err(|_| InvalidNameRecord::Forged)?;
        let signed = &bytes[..bytes.len() - SIGNATURE];
        let key = certificate.body().key;
        if !is_for(&certificate) || !verify(&key, Domain::Name, signed, &signature) {
            return Err(InvalidNameRecord::Forged);
        }
        Ok(Self { entry, certificate, signature })
    }
}

fn is_for(certificate: &Certificate) -> bool {
    certificate.body().unit.as_str() == UNIT
}

fn body(entry: &NameEntry, certificate: &Certificate) -> Vec<u8> {
    let certificate = certificate.to_bytes();
    let path = entry.path.as_str();
    // A path has at most 200 bytes, and a certificate has fewer than 1024, so both lengths fit.
    let lengths = (path.len() as u8, certificate.len() as u16);
    let mut out = vec![VERSION, lengths.0];
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(entry.hash.as_bytes());
    out.extend_from_slice(&entry.sequence.to_be_bytes());
    out.extend_from_slice(&entry.expires.to_be_bytes());
    out.extend_from_slice(&lengths.1.to_be_bytes());
    out.extend_from_slice(&certificate);
    out
}

fn parse(bytes: &[u8]) -> Option<(NameEntry, &[u8], [u8; SIGNATURE])> {
    if bytes.len() > LONGEST {
        return None;
    }
    let mut fields = Fields(bytes);
    let version = fields.u8()?;
    let path = fields.text()?.parse().ok()?;
    let hash = Hash::from_bytes(fields.array()?);
    let (sequence, expires) = (fields.u64()?, fields.u64()?);
    let length = fields.u16()?;
    let certificate = fields.take(length.into())?;
    let signature = fields.array()?;
    let is_whole = version == VERSION && fields.0.is_empty();
    is_whole.then_some((NameEntry { path, hash, sequence, expires }, certificate, signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::certificate::KeyStatement;
    use proptest::prelude::*;

    fn certificate(unit: &str) -> (Certificate, PrivateKey) {
        let [node, key] = [(); 2].map(|()| PrivateKey::generate().unwrap());
        let unit = unit.parse().unwrap();
        let statement =
            KeyStatement { node: node.public(), unit, key: key.public(), epoch: 3, issued: 1 };
        (Certificate::sign(statement, &node).unwrap(), key)
    }

    fn entry() -> NameEntry {
        let path = "site/index.html".parse().unwrap();
        NameEntry { path, hash: Hash::new(b"it"), sequence: 7, expires: 1_800_000_000 }
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let (certificate, key) = certificate(UNIT);
        let whole = NameRecord::sign(entry(), certificate, &key).unwrap();
        let bytes = whole.to_bytes();
        assert_eq!(NameRecord::from_bytes(&bytes), Ok(whole.clone()));
        assert_eq!(whole.version(), (3, 7));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(NameRecord::from_bytes(&changed).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(NameRecord::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(NameRecord::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn nobody_else_signs() {
        let (own, _) = certificate(UNIT);
        let (other, other_key) = certificate("messenger");
        assert!(NameRecord::sign(entry(), own.clone(), &other_key).is_err());
        assert!(NameRecord::sign(entry(), other.clone(), &other_key).is_err());
        // With the key of another unit, and with a key that the certificate does not name.
        for (certificate, key) in [(other, &other_key), (own, &other_key)] {
            let body = body(&entry(), &certificate);
            let signed = [&body[..], &key.sign(Domain::Name, &body)].concat();
            assert_eq!(NameRecord::from_bytes(&signed), Err(InvalidNameRecord::Forged));
        }
    }

    proptest! {
        #[test]
        fn one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..400), path in "[a-z]{1,9}") {
            prop_assert!(NameRecord::from_bytes(&bytes).is_err());
            let head = [&[VERSION, path.len() as u8][..], path.as_bytes(), &[5; 48], &[0, 0]].concat();
            let whole = [&head[..], &[9; 64]].concat();
            let (entry, certificate, signature) = parse(&whole).unwrap();
            prop_assert_eq!((entry.path.as_str(), certificate, signature), (&path[..], &[][..], [9; 64]));
            // Any bytes may follow the head.
            let _ = parse(&[&head[..], &bytes].concat());
        }
    }
}
