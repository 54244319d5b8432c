//! An owner's signed appointment of a coordinator.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use octet_control::PublicKey;
use serde::{Deserialize, Serialize};

use crate::bytes::Fields;
use crate::key::{Domain, PrivateKey, SIGNATURE, verify};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The encoding of "no previous coordinator".
const NONE: [u8; 32] = [0; 32];

/// Appoints this node as the coordinator.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 1), owner (32), coordinator (32), epoch (8), the
/// coordinator that it replaces (32; zeros if it replaces none), and the owner's signature (64) over all before
/// it, in the domain `octet coordinator 1`. As text that is base64 for URLs without padding.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignedAppointment {
    appointment: Appointment,
    signature: [u8; SIGNATURE],
}

/// Why bytes are not a valid appointment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStatement {
    #[error("this is not a statement about a coordinator of version {VERSION}")]
    Malformed,
    #[error("the statement is not signed by the owner that it names")]
    Forged,
}

impl SignedAppointment {
    /// Signs `appointment` with the owner's key.
    ///
    /// # Errors
    /// `owner` is not the key of the owner in the appointment.
    pub fn sign(appointment: Appointment, owner: &PrivateKey) -> Result<Self, InvalidStatement> {
        if owner.public() != appointment.owner {
            return Err(InvalidStatement::Forged);
        }
        let signature = owner.sign(Domain::Statement, &appointment.body());
        Ok(Self { appointment, signature })
    }

    /// The appointment. The caller must check that its owner owns the box.
    pub fn appointment(&self) -> &Appointment {
        &self.appointment
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.appointment.body();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes the appointment and verifies the signature.
    ///
    /// # Errors
    /// The bytes are malformed, or the signature is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidStatement> {
        let (appointment, signature) = parse(bytes).ok_or(InvalidStatement::Malformed)?;
        if !verify(&appointment.owner, Domain::Statement, &appointment.body(), &signature) {
            return Err(InvalidStatement::Forged);
        }
        Ok(Self { appointment, signature })
    }
}

impl Appointment {
    fn body(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(self.owner.as_bytes());
        out.extend_from_slice(self.coordinator.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(self.replaces.as_ref().map_or(&NONE[..], |key| key.as_bytes()));
        out
    }
}

fn parse(bytes: &[u8]) -> Option<(Appointment, [u8; SIGNATURE])> {
    let mut fields = Fields(bytes);
    let [version] = fields.array()?;
    let (owner, coordinator) = (fields.key()?, fields.key()?);
    let (epoch, replaces) = (fields.u64()?, fields.key()?);
    let replaces = (*replaces.as_bytes() != NONE).then_some(replaces);
    let signature = fields.array()?;
    let whole = version == VERSION && fields.0.is_empty();
    whole.then_some((Appointment { owner, coordinator, epoch, replaces }, signature))
}

impl TryFrom<String> for SignedAppointment {
    type Error = InvalidStatement;

    fn try_from(text: String) -> Result<Self, InvalidStatement> {
        Self::from_bytes(&URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidStatement::Malformed)?)
    }
}

impl From<SignedAppointment> for String {
    fn from(statement: SignedAppointment) -> String {
        URL_SAFE_NO_PAD.encode(statement.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_changed_bit_is_seen() {
        let (owner, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        for replaces in [None, Some(other.public())] {
            let coordinator = PrivateKey::generate().unwrap().public();
            let appointment =
                Appointment { owner: owner.public(), coordinator, epoch: 2, replaces };
            assert!(SignedAppointment::sign(appointment, &other).is_err());
            let whole = SignedAppointment::sign(appointment, &owner).unwrap();
            let bytes = whole.to_bytes();
            assert_eq!(SignedAppointment::from_bytes(&bytes), Ok(whole));
            assert_eq!(SignedAppointment::try_from(String::from(whole)), Ok(whole));
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(SignedAppointment::from_bytes(&changed).is_err(), "bit {bit}");
            }
            for length in 0..bytes.len() {
                assert!(SignedAppointment::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
            }
            assert!(SignedAppointment::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some((appointment, signature)) = parse(&bytes) {
                prop_assert_eq!([&appointment.body()[..], &signature].concat(), bytes);
            }
        }

        #[test]
        fn one_encoding(bytes in prop::collection::vec(any::<u8>(), 168), rest: u8) {
            let bytes = [&[VERSION][..], &bytes].concat();
            let (appointment, signature) = parse(&bytes).unwrap();
            prop_assert_eq!([&appointment.body()[..], &signature].concat(), bytes.clone());
            prop_assert_eq!(parse(&[&bytes[..], &[rest]].concat()), None);
        }
    }
}
