//! An owner's signed records of boards, for clients that do not trust the coordinator.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use octet_control::PublicKey;
use serde::{Deserialize, Serialize};

use crate::bytes::Fields;
use crate::key::{Domain, PrivateKey, SIGNATURE, verify};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// States that in the box of this coordinator, the board with this number is this node.
///
/// Its one encoding: version (1 byte, 1), owner (32), coordinator (32), number (1), node (32), and the owner's
/// signature (64) over all before it, in the domain `octet board 1`. As text that is base64 for URLs without
/// padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    pub owner: PublicKey,
    pub coordinator: PublicKey,
    pub number: u8,
    pub node: PublicKey,
}

/// A seat with the owner's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeatRecord {
    seat: Seat,
    signature: [u8; SIGNATURE],
}

/// Why bytes are not a valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSeatRecord {
    #[error("this is not a record of a board of version {VERSION}")]
    Malformed,
    #[error("the record is not signed by the owner that it names")]
    Forged,
}

impl SeatRecord {
    /// Signs `seat` with the owner's key.
    ///
    /// # Errors
    /// `owner` is not the key of the owner in the seat.
    pub fn sign(seat: Seat, owner: &PrivateKey) -> Result<Self, InvalidSeatRecord> {
        if owner.public() != seat.owner {
            return Err(InvalidSeatRecord::Forged);
        }
        Ok(Self { seat, signature: owner.sign(Domain::Record, &seat.body()) })
    }

    /// The seat. The caller must check that its owner owns the box.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.seat.body();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes the record and verifies the signature.
    ///
    /// # Errors
    /// The bytes are malformed, or the signature is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidSeatRecord> {
        let (seat, signature) = parse(bytes).ok_or(InvalidSeatRecord::Malformed)?;
        if !verify(&seat.owner, Domain::Record, &seat.body(), &signature) {
            return Err(InvalidSeatRecord::Forged);
        }
        Ok(Self { seat, signature })
    }
}

impl Seat {
    fn body(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(self.owner.as_bytes());
        out.extend_from_slice(self.coordinator.as_bytes());
        out.push(self.number);
        out.extend_from_slice(self.node.as_bytes());
        out
    }
}

fn parse(bytes: &[u8]) -> Option<(Seat, [u8; SIGNATURE])> {
    let mut fields = Fields(bytes);
    let [version] = fields.array()?;
    let (owner, coordinator) = (fields.key()?, fields.key()?);
    let [number] = fields.array()?;
    let (node, signature) = (fields.key()?, fields.array()?);
    let whole = version == VERSION && fields.0.is_empty();
    whole.then_some((Seat { owner, coordinator, number, node }, signature))
}

impl TryFrom<String> for SeatRecord {
    type Error = InvalidSeatRecord;

    fn try_from(text: String) -> Result<Self, InvalidSeatRecord> {
        Self::from_bytes(&URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidSeatRecord::Malformed)?)
    }
}

impl From<SeatRecord> for String {
    fn from(record: SeatRecord) -> String {
        URL_SAFE_NO_PAD.encode(record.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_changed_bit_is_seen() {
        let (owner, node) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let seat = Seat {
            owner: owner.public(),
            coordinator: node.public(),
            number: 3,
            node: PrivateKey::generate().unwrap().public(),
        };
        assert!(SeatRecord::sign(seat, &node).is_err());
        let whole = SeatRecord::sign(seat, &owner).unwrap();
        let bytes = whole.to_bytes();
        assert_eq!(SeatRecord::from_bytes(&bytes), Ok(whole));
        assert_eq!(SeatRecord::try_from(String::from(whole)), Ok(whole));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(SeatRecord::from_bytes(&changed).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(SeatRecord::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some((seat, signature)) = parse(&bytes) {
                prop_assert_eq!([&seat.body()[..], &signature].concat(), bytes);
            }
        }
    }
}
