//! An owner's signed records of boards, for clients that do not trust the coordinator.

use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use octet_control::PublicKey;

use crate::bytes::Fields;
use crate::key::Domain;
use crate::signed::{Signable, SignedStatement};

/// States that in the box of this coordinator, the board with this number is this node.
///
/// Its encoding within [`SignedStatement`]: owner (32 bytes), coordinator (32), number (1) and node (32), in the
/// domain `octet board 1`. The text is base64 for URLs without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    pub owner: PublicKey,
    pub coordinator: PublicKey,
    pub number: u8,
    pub node: PublicKey,
}

/// A seat with the owner's signature.
pub type SeatRecord = SignedStatement<Seat>;

impl Signable for Seat {
    const NAME: &'static str = "record of a board";
    const DOMAIN: Domain = Domain::Record;
    const TEXT: GeneralPurpose = URL_SAFE_NO_PAD;

    fn signer(&self) -> PublicKey {
        self.owner
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.owner.as_bytes());
        out.extend_from_slice(self.coordinator.as_bytes());
        out.push(self.number);
        out.extend_from_slice(self.node.as_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (owner, coordinator) = (fields.key()?, fields.key()?);
        let [number] = fields.array()?;
        Some(Self { owner, coordinator, number, node: fields.key()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::signed::tests::{has_one_encoding, only_as_signed};
    use proptest::prelude::*;

    #[test]
    fn only_the_owner_signs_it() {
        let [owner, coordinator, node] = [(); 3].map(|()| PrivateKey::generate().unwrap());
        let (coordinator, node) = (coordinator.public(), node.public());
        only_as_signed(&Seat { owner: owner.public(), coordinator, number: 3, node }, &owner);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            has_one_encoding::<Seat>(&bytes);
        }
    }
}
