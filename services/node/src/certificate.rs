//! A node's certificates for the keys of its services.

use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::STANDARD;
use octet_control::{PublicKey, UnitName};

use crate::bytes::{Fields, put_text};
use crate::key::Domain;
use crate::signed::{Signable, SignedStatement};

/// A node's statement that `key` is the key of its service `unit`.
///
/// Its encoding within [`SignedStatement`]: node (32 bytes), key (32), epoch (8), issued (8), and the unit's
/// name (1 byte of length, then UTF-8), in the domain `octet certificate 1`. The text is base64 with
/// padding.
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
pub type Certificate = SignedStatement<KeyStatement>;

impl Signable for KeyStatement {
    const NAME: &'static str = "certificate";
    const DOMAIN: Domain = Domain::Certificate;
    const TEXT: GeneralPurpose = STANDARD;

    fn signer(&self) -> PublicKey {
        self.node
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.node.as_bytes());
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.issued.to_be_bytes());
        put_text(self.unit.as_str(), out);
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (node, key) = (fields.key()?, fields.key()?);
        let (epoch, issued) = (fields.u64()?, fields.u64()?);
        Some(Self { node, unit: fields.unit()?, key, epoch, issued })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::signed::tests::{has_one_encoding, only_as_signed, reads};
    use proptest::prelude::*;

    #[test]
    fn only_the_node_signs_it() {
        let node = PrivateKey::generate().unwrap();
        let key = PrivateKey::generate().unwrap().public();
        let unit = "gate".parse().unwrap();
        let issued = 1_700_000_000;
        only_as_signed(&KeyStatement { node: node.public(), unit, key, epoch: 3, issued }, &node);
    }

    proptest! {
        #[test]
        fn one_encoding(
            node: [u8; 32], key: [u8; 32], epoch: u64, issued: u64, unit in "[a-z][a-z0-9-]{0,31}",
        ) {
            let (node, key) = (PublicKey::new(node), PublicKey::new(key));
            let statement = KeyStatement { node, unit: unit.parse().unwrap(), key, epoch, issued };
            prop_assert_eq!(reads(&statement), Some(statement));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            has_one_encoding::<KeyStatement>(&bytes);
        }
    }
}
