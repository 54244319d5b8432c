//! An owner's signed appointment of a coordinator.

use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use octet_control::PublicKey;

use crate::bytes::Fields;
use crate::key::Domain;
use crate::signed::{Signable, SignedStatement};

/// The encoding of "no previous coordinator".
const NONE: [u8; 32] = [0; 32];

/// Appoints this node as the coordinator.
///
/// Its encoding within [`SignedStatement`]: owner (32 bytes), coordinator (32), epoch (8), and the coordinator
/// that it replaces (32; zeros if it replaces none), in the domain `octet coordinator 1`. The text is
/// base64 for URLs without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appointment {
    pub owner: PublicKey,
    /// The appointed node.
    pub coordinator: PublicKey,
    /// How often the coordinator was replaced. Of two appointments, the one with the higher epoch counts.
    pub epoch: u64,
    /// The previous coordinator, whose map is continued.
    pub replaces: Option<PublicKey>,
}

/// An appointment with the owner's signature.
pub type SignedAppointment = SignedStatement<Appointment>;

impl Signable for Appointment {
    const NAME: &'static str = "statement about a coordinator";
    const DOMAIN: Domain = Domain::Statement;
    const TEXT: GeneralPurpose = URL_SAFE_NO_PAD;

    fn signer(&self) -> PublicKey {
        self.owner
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.owner.as_bytes());
        out.extend_from_slice(self.coordinator.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(self.replaces.as_ref().map_or(&NONE[..], |key| key.as_bytes()));
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (owner, coordinator) = (fields.key()?, fields.key()?);
        let (epoch, replaces) = (fields.u64()?, fields.key()?);
        let replaces = (*replaces.as_bytes() != NONE).then_some(replaces);
        Some(Self { owner, coordinator, epoch, replaces })
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
        let [owner, coordinator, other] = [(); 3].map(|()| PrivateKey::generate().unwrap());
        for replaces in [None, Some(other.public())] {
            let coordinator = coordinator.public();
            let appointment =
                Appointment { owner: owner.public(), coordinator, epoch: 2, replaces };
            only_as_signed(&appointment, &owner);
        }
    }

    proptest! {
        #[test]
        fn never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            fixed in prop::collection::vec(any::<u8>(), 168..170),
        ) {
            has_one_encoding::<Appointment>(&bytes);
            has_one_encoding::<Appointment>(&[&[1][..], &fixed].concat());
        }
    }
}
