//! An announcement with its signature by the node's `forward` key, and the certificate of that key.

use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;
use octet_node::key::{Domain, PrivateKey, SIGNATURE, verify};
use octet_node::signed::InvalidSigned;

use super::{Announcement, LONGEST, UNIT};
use octet_node::address::NodeAddress;
use octet_node::bytes::Fields;

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// An announcement that its node has signed.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 1), the node's certificate about its key for
/// `forward` (1 byte of length, then the certificate), sequence (8), issued (8), lifetime (2), onion key (32),
/// flags (1; bit 0: relays, bit 1: exit, the others 0), price (4), the number of links (1), then for each
/// link neighbour (16), capacity (4), latency (2) and loss (1), and the signature (64) over all before it, in
/// the domain `octet announcement 1`. At most [`LONGEST`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAnnouncement {
    certificate: Certificate,
    address: NodeAddress,
    announcement: Announcement,
    signature: [u8; SIGNATURE],
}

/// Why bytes are not a valid announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnnouncement {
    #[error("this is not an announcement of version {VERSION}")]
    Malformed,
    /// A field has an impossible value.
    #[error("this announcement cannot be: {0}")]
    Wrong(&'static str),
    /// The embedded certificate is invalid.
    #[error(transparent)]
    Certificate(#[from] InvalidSigned),
    /// The certificate is for another unit's key.
    #[error("the announcement is signed by a key that is not the node's for `{UNIT}`")]
    Uncertified,
    #[error("the announcement is not signed by the key that its certificate is about")]
    Forged,
}

impl SignedAnnouncement {
    /// Signs `announcement` with `key`. `certificate` must certify `key` as the node's `forward` key.
    ///
    /// # Errors
    /// The certificate is for another key, or the announcement is invalid.
    pub fn sign(
        announcement: Announcement,
        certificate: Certificate,
        key: &PrivateKey,
    ) -> Result<Self, InvalidAnnouncement> {
        let signature = key.sign(Domain::Announcement, &body(&certificate, &announcement)?);
        Self::checked(announcement, certificate, signature)
    }

    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    pub fn node(&self) -> &PublicKey {
        &self.certificate.body().node
    }

    pub fn address(&self) -> NodeAddress {
        self.address
    }

    /// The node's key for `forward`.
    pub fn key(&self) -> &PublicKey {
        &self.certificate.body().key
    }

    /// The epoch of the node's `forward` key.
    pub fn epoch(&self) -> u64 {
        self.certificate.body().epoch
    }

    /// The certificate of the `forward` key.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The signature. It identifies the announcement, because the encoding is unique.
    pub(crate) fn signature(&self) -> &[u8; SIGNATURE] {
        &self.signature
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        // An announcement that cannot be decoded must not be signed.
        let mut bytes = body(&self.certificate, &self.announcement).unwrap_or_default();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes the announcement and verifies both signatures.
    ///
    /// # Errors
    /// The bytes are malformed, a value is out of range, or a signature is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidAnnouncement> {
        let (certificate, announcement, signature) = parse(bytes)?;
        Self::checked(announcement, certificate, signature)
    }

    /// The claimed origin of `bytes`, if they look like an announcement. Nothing is verified.
    pub(crate) fn speaker(bytes: &[u8]) -> Option<NodeAddress> {
        // Skips the version, the certificate's length, and the certificate's version, up to its node.
        let mut fields = Fields(bytes);
        fields.take(3)?;
        fields.array().map(|node| NodeAddress::of(&PublicKey::new(node)))
    }

    fn checked(
        announcement: Announcement,
        certificate: Certificate,
        signature: [u8; SIGNATURE],
    ) -> Result<Self, InvalidAnnouncement> {
        let statement = certificate.body();
        if statement.unit.as_str() != UNIT {
            return Err(InvalidAnnouncement::Uncertified);
        }
        let address = NodeAddress::of(&statement.node);
        announcement.check(address).map_err(InvalidAnnouncement::Wrong)?;
        let body = body(&certificate, &announcement)?;
        if !verify(&statement.key, Domain::Announcement, &body, &signature) {
            return Err(InvalidAnnouncement::Forged);
        }
        Ok(Self { certificate, address, announcement, signature })
    }
}

fn body(
    certificate: &Certificate,
    announcement: &Announcement,
) -> Result<Vec<u8>, InvalidAnnouncement> {
    let certificate = certificate.to_bytes();
    let length = u8::try_from(certificate.len());
    let mut out = vec![VERSION, length.map_err(|_| InvalidAnnouncement::Malformed)?];
    out.extend_from_slice(&certificate);
    announcement.put(&mut out);
    Ok(out)
}

type Parts = (Certificate, Announcement, [u8; SIGNATURE]);

fn parse(bytes: &[u8]) -> Result<Parts, InvalidAnnouncement> {
    let none = InvalidAnnouncement::Malformed;
    if bytes.len() > LONGEST {
        return Err(none);
    }
    let mut fields = Fields(bytes);
    let [version, length] = fields.array().ok_or(none)?;
    let certificate = fields.take(length.into()).ok_or(none)?;
    let announcement = Announcement::read(&mut fields).ok_or(none)?;
    let signature = fields.array().ok_or(none)?;
    if version != VERSION || !fields.0.is_empty() {
        return Err(none);
    }
    // Signatures are the most expensive check, so they come last.
    Ok((Certificate::from_bytes(certificate)?, announcement, signature))
}

#[cfg(test)]
mod tests;
