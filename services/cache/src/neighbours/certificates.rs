//! Whose `cache` a peer is: its node's certificate names the key that it has proved in the handshake.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;
use octet_node::signed::InvalidSigned;

use crate::peers::UNIT;

/// The maximum size of a certificate, in bytes.
pub const MAX_CERTIFICATE: usize = 1024;

/// Why a certificate does not make a peer the `cache` of a neighbour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedCertificate {
    #[error(transparent)]
    Malformed(#[from] InvalidSigned),
    #[error("no [[neighbour]] of this board is the node {0}")]
    NotANeighbour(PublicKey),
    #[error("it is the certificate of another unit than `{UNIT}`")]
    OtherUnit,
    #[error("the certificate is of another key than the connection's")]
    OtherKey,
    #[error("the certificate has the epoch {0}, and a key of epoch {1} is known")]
    Old(u64, u64),
}

/// The newest certified key of each neighbour's `cache`, since the start.
#[derive(Debug, Default)]
pub struct NeighbourKeys(Mutex<BTreeMap<PublicKey, (u64, PublicKey)>>);

impl NeighbourKeys {
    /// The node whose `cache` has `key`, as the certificate in `bytes` says.
    ///
    /// # Errors
    /// It is none of `neighbours`, or the certificate is invalid, of another key, or older than one that was seen.
    pub fn check(
        &self,
        bytes: &[u8],
        key: &PublicKey,
        neighbours: &[PublicKey],
    ) -> Result<PublicKey, RefusedCertificate> {
        let certificate = Certificate::from_bytes(bytes)?;
        let body = certificate.body();
        if !neighbours.contains(&body.node) {
            return Err(RefusedCertificate::NotANeighbour(body.node));
        }
        if body.unit.as_str() != UNIT {
            return Err(RefusedCertificate::OtherUnit);
        }
        if body.key != *key {
            return Err(RefusedCertificate::OtherKey);
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (epoch, known_key) = *known.entry(body.node).or_insert((body.epoch, body.key));
        if body.epoch < epoch {
            return Err(RefusedCertificate::Old(body.epoch, epoch));
        }
        // A node certifies one key in an epoch.
        if body.epoch == epoch && body.key != known_key {
            return Err(RefusedCertificate::OtherKey);
        }
        known.insert(body.node, (body.epoch, body.key));
        Ok(body.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::certificate::KeyStatement;
    use octet_node::key::PrivateKey;

    fn certificate(node: &PrivateKey, unit: &str, key: PublicKey, epoch: u64) -> Vec<u8> {
        let unit = unit.parse().unwrap();
        let statement = KeyStatement { node: node.public(), unit, key, epoch, issued: 1 };
        Certificate::sign(statement, node).unwrap().to_bytes()
    }

    #[test]
    fn only_the_newest_key_of_a_neighbours_cache() {
        let [node, stranger, first, second] = [(); 4].map(|()| PrivateKey::generate().unwrap());
        let [first, second] = [first.public(), second.public()];
        let (keys, known) = (NeighbourKeys::default(), [node.public()]);
        let check = |bytes: &[u8], key| keys.check(bytes, key, &known);
        let right = certificate(&node, UNIT, first, 5);
        assert_eq!(check(&right, &first), Ok(node.public()));
        assert_eq!(check(&right, &second), Err(RefusedCertificate::OtherKey));
        let other = certificate(&node, "gate", first, 5);
        assert_eq!(check(&other, &first), Err(RefusedCertificate::OtherUnit));
        let strange = certificate(&stranger, UNIT, first, 5);
        let refused = RefusedCertificate::NotANeighbour(stranger.public());
        assert_eq!(check(&strange, &first), Err(refused));
        let mut forged = right.clone();
        forged[40] ^= 1;
        assert!(matches!(check(&forged, &first), Err(RefusedCertificate::Malformed(_))));
        // What was refused changes nothing, and a new epoch replaces the old one.
        let two = certificate(&node, UNIT, second, 5);
        assert_eq!(check(&two, &second), Err(RefusedCertificate::OtherKey));
        assert_eq!(check(&right, &first), Ok(node.public()));
        let newer = certificate(&node, UNIT, second, 6);
        assert_eq!(check(&newer, &second), Ok(node.public()));
        assert_eq!(check(&right, &first), Err(RefusedCertificate::Old(5, 6)));
        assert!(right.len() <= MAX_CERTIFICATE);
    }
}
