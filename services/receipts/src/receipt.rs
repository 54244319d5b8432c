//! A payer's signed admission of how many bytes it bought.

use ed25519_dalek::VerifyingKey;
use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use octet_node::key::{Domain, PrivateKey, SIGNATURE, verify};

use crate::locks::KeyPair;
use crate::terms::cost;

const VERSION: u8 = 1;

/// What one payer owes one payee in one epoch. It is cumulative: of two, the one with more bytes counts.
///
/// Its encoding (numbers are big-endian): version (1 byte, 1), payer (32), payee (32), scope (32), epoch (8),
/// bytes (8), price (8), amount (8); then the signature (64). Signed are, in the domain `octet receipt 1`, the
/// hash of the ledger's genesis (32; zeros without a ledger) and the encoding: so a receipt is for one ledger
/// only. With the signature it has 193 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    pub payer: PublicKey,
    pub payee: PublicKey,
    /// [`AccountTerms::scope`](crate::AccountTerms::scope)
    pub scope: [u8; 32],
    pub epoch: u64,
    /// All bytes in this epoch, by the payer's counters.
    pub bytes: u64,
    /// For [`UNIT_BYTES`](crate::UNIT_BYTES), in millionths of the unit of account.
    pub price: u64,
    /// What the bytes cost, in millionths of the unit of account.
    pub amount: u64,
}

/// A receipt with a signature; [`verify`](Self::verify) says whether it is the payer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedReceipt {
    receipt: Receipt,
    signature: [u8; SIGNATURE],
}

/// Why a receipt is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReceipt {
    #[error("the payer of the receipt is its payee")]
    OneKey,
    #[error("the amount of the receipt is not what its bytes cost")]
    Amount,
    #[error("the receipt is not signed by its payer")]
    Forged,
}

impl Receipt {
    pub(crate) fn pair(&self) -> KeyPair {
        KeyPair { payer: self.payer, payee: self.payee }
    }

    fn check(&self) -> Result<(), InvalidReceipt> {
        if self.payer == self.payee {
            return Err(InvalidReceipt::OneKey);
        }
        match self.amount == cost(self.bytes, self.price) {
            true => Ok(()),
            false => Err(InvalidReceipt::Amount),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(self.payer.as_bytes());
        out.extend_from_slice(self.payee.as_bytes());
        out.extend_from_slice(&self.scope);
        for number in [self.epoch, self.bytes, self.price, self.amount] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let version = fields.u8()?;
        let (payer, payee, scope) = (fields.key()?, fields.key()?, fields.array()?);
        let (epoch, bytes) = (fields.u64()?, fields.u64()?);
        let (price, amount) = (fields.u64()?, fields.u64()?);
        let receipt = Self { payer, payee, scope, epoch, bytes, price, amount };
        (version == VERSION).then_some(receipt)
    }

    fn signed_bytes(&self, genesis: &[u8; 32]) -> Vec<u8> {
        [&genesis[..], &self.encode()].concat()
    }
}

impl SignedReceipt {
    /// The size of the encoding, in bytes.
    pub const BYTES: usize = 193;

    /// Signs `receipt` for the ledger with this genesis.
    ///
    /// # Errors
    /// `key` is not the payer's, or the receipt contradicts itself.
    pub fn sign(
        receipt: Receipt,
        genesis: &[u8; 32],
        key: &PrivateKey,
    ) -> Result<Self, InvalidReceipt> {
        receipt.check()?;
        if key.public() != receipt.payer {
            return Err(InvalidReceipt::Forged);
        }
        let signature = key.sign(Domain::Receipt, &receipt.signed_bytes(genesis));
        Ok(Self { receipt, signature })
    }

    /// What is signed. Whether it is, [`verify`](Self::verify) says.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Whether the receipt is consistent and signed by its payer for the ledger with this genesis.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, genesis: &[u8; 32]) -> Result<(), InvalidReceipt> {
        self.receipt.check()?;
        let signed = self.receipt.signed_bytes(genesis);
        let is_signed = is_strong(&self.receipt.payer)
            && verify(&self.receipt.payer, Domain::Receipt, &signed, &self.signature);
        if is_signed { Ok(()) } else { Err(InvalidReceipt::Forged) }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.receipt.encode();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes a receipt. Its signature is not verified.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let decoded = Self::decode(&mut fields)?;
        fields.0.is_empty().then_some(decoded)
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { receipt: Receipt::decode(fields)?, signature: fields.array()? })
    }
}

/// Whether a key can be bound by a signature. For a point of small order, one signature fits many messages.
pub fn is_strong(key: &PublicKey) -> bool {
    VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|key| !key.is_weak())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WITHOUT_LEDGER: [u8; 32] = [0; 32];

    fn keys() -> (PrivateKey, PublicKey) {
        let payee = PrivateKey::from_seed([2; 32]).unwrap().public();
        (PrivateKey::from_seed([1; 32]).unwrap(), payee)
    }

    fn receipt() -> Receipt {
        let (payer, payee) = keys();
        let (bytes, price) = (3 << 30, 5);
        let payer = payer.public();
        Receipt { payer, payee, scope: [7; 32], epoch: 4, bytes, price, amount: 15 }
    }

    #[test]
    fn only_as_signed() {
        let (key, _) = keys();
        let signed = SignedReceipt::sign(receipt(), &WITHOUT_LEDGER, &key).unwrap();
        let bytes = signed.to_bytes();
        assert_eq!(bytes.len(), SignedReceipt::BYTES);
        assert_eq!(SignedReceipt::from_bytes(&bytes), Some(signed));
        assert_eq!(signed.verify(&WITHOUT_LEDGER), Ok(()));
        assert_eq!(signed.verify(&[1; 32]), Err(InvalidReceipt::Forged));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let read = SignedReceipt::from_bytes(&changed);
            assert!(read.is_none_or(|it| it.verify(&WITHOUT_LEDGER).is_err()), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(SignedReceipt::from_bytes(&bytes[..length]), None);
        }
        assert_eq!(SignedReceipt::from_bytes(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn what_contradicts_itself_is_not_signed() {
        let (key, payee) = keys();
        let sign = |receipt| SignedReceipt::sign(receipt, &WITHOUT_LEDGER, &key).map(drop);
        assert_eq!(sign(receipt()), Ok(()));
        let own = Receipt { payee: key.public(), ..receipt() };
        assert_eq!(sign(own), Err(InvalidReceipt::OneKey));
        let more = Receipt { amount: 16, ..receipt() };
        assert_eq!(sign(more), Err(InvalidReceipt::Amount));
        let others = Receipt { payer: payee, payee: key.public(), ..receipt() };
        assert_eq!(sign(others), Err(InvalidReceipt::Forged));
    }

    /// Such receipts are refused also with a signature that fits.
    #[test]
    fn what_contradicts_itself_is_not_valid() {
        let (key, _) = keys();
        let forced = |receipt: Receipt| {
            let signature = key.sign(Domain::Receipt, &receipt.signed_bytes(&WITHOUT_LEDGER));
            SignedReceipt { receipt, signature }.verify(&WITHOUT_LEDGER)
        };
        assert_eq!(forced(receipt()), Ok(()));
        let own = Receipt { payee: key.public(), ..receipt() };
        assert_eq!(forced(own), Err(InvalidReceipt::OneKey));
        assert_eq!(forced(Receipt { amount: 14, ..receipt() }), Err(InvalidReceipt::Amount));
    }

    /// The neutral element as key and `R`, with `s` = 0, is a signature for everything under the plain equation.
    #[test]
    fn a_weak_key_signs_nothing() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; SIGNATURE];
        signature[0] = 1;
        let weak = PublicKey::new(neutral);
        assert!(!is_strong(&weak) && is_strong(&receipt().payer));
        let signed = SignedReceipt { receipt: Receipt { payer: weak, ..receipt() }, signature };
        assert_eq!(signed.verify(&WITHOUT_LEDGER), Err(InvalidReceipt::Forged));
    }

    proptest! {
        #[test]
        fn one_encoding(
            bytes in prop::collection::vec(any::<u8>(), 0..250),
            fixed in prop::collection::vec(any::<u8>(), SignedReceipt::BYTES - 1),
        ) {
            for bytes in [bytes, [&[VERSION][..], &fixed].concat()] {
                if let Some(read) = SignedReceipt::from_bytes(&bytes) {
                    prop_assert_eq!(read.to_bytes(), bytes);
                    prop_assert!(read.verify(&WITHOUT_LEDGER).is_err());
                }
            }
        }
    }
}
