//! What two neighbours say to each other about their accounts.

use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::STANDARD;
use octet_node::bytes::Fields;
use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;
use octet_node::key::Domain;
use octet_node::signed::{Signable, SignedStatement};

use crate::receipt::SignedReceipt;
use crate::settlement::{self, Settlement};
use crate::terms::AccountTerms;

/// The maximum size of a message, in bytes. It fits into one packet.
pub const MAX_MESSAGE: usize = 1200;

const VERSION: u8 = 1;
const OFFER: u8 = 1;
const HELLO: u8 = 2;
const PAY: u8 = 3;

/// A payee's offer to serve a payer, and its acknowledgement of receipts.
///
/// Its encoding within [`SignedStatement`], by the certified key: the length of the certificate (2 bytes), the certificate, the terms (49),
/// epoch (8), payer (32), received (8), counted (8), closed epoch (8), closed bytes (8), 1 and the settlement
/// (138), or 0 without one; in the domain `octet offer 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Of the payee's unit `accounts`.
    pub certificate: Certificate,
    pub terms: AccountTerms,
    pub epoch: u64,
    /// The payer's key that this epoch is for.
    pub payer: PublicKey,
    /// The bytes of the newest receipt of this epoch.
    pub received: u64,
    /// The payee's own count in this epoch.
    pub counted: u64,
    /// The lowest epoch for which the payee still takes a receipt while it has none of this one.
    pub closed_epoch: u64,
    /// The bytes of the newest receipt of that epoch.
    pub closed_bytes: u64,
    pub settlement: Option<SignedStatement<Settlement>>,
}

/// A message between the `accounts` of two neighbours.
///
/// Its encoding: version (1 byte, 1), kind (1: 1 is an offer, 2 a greeting, 3 a payment), and the kind's fields: of
/// an offer the signed [`Offer`], of a greeting the certificate, of a payment the receipt (193). It has at most 1200
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountMessage {
    Offer(Box<SignedStatement<Offer>>),
    /// From a payer, so that the payee learns its key.
    Hello {
        certificate: Certificate,
    },
    Pay {
        receipt: SignedReceipt,
    },
}

impl AccountMessage {
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Offer(offer) => [&[VERSION, OFFER][..], &offer.to_bytes()].concat(),
            Self::Hello { certificate } => {
                [&[VERSION, HELLO][..], &certificate.to_bytes()].concat()
            }
            Self::Pay { receipt } => [&[VERSION, PAY][..], &receipt.to_bytes()].concat(),
        }
    }

    /// Decodes a message. All signatures are verified but those of receipts.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_MESSAGE {
            return None;
        }
        let mut fields = Fields(bytes);
        let (version, kind) = (fields.u8()?, fields.u8()?);
        if version != VERSION {
            return None;
        }
        match kind {
            OFFER => SignedStatement::from_bytes(fields.0).ok().map(|it| Self::Offer(Box::new(it))),
            HELLO => Certificate::from_bytes(fields.0)
                .ok()
                .map(|certificate| Self::Hello { certificate }),
            PAY => SignedReceipt::from_bytes(fields.0).map(|receipt| Self::Pay { receipt }),
            _ => None,
        }
    }
}

impl Signable for Offer {
    const NAME: &'static str = "offer";
    const DOMAIN: Domain = Domain::Offer;
    const TEXT: GeneralPurpose = STANDARD;
    const MAX_BYTES: usize = MAX_MESSAGE - 2;

    fn signer(&self) -> PublicKey {
        self.certificate.body().key
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let certificate = self.certificate.to_bytes();
        // A certificate has at most 1024 bytes.
        out.extend_from_slice(&u16::try_from(certificate.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(&certificate);
        self.terms.encode(out);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(self.payer.as_bytes());
        for number in [self.received, self.counted, self.closed_epoch, self.closed_bytes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.push(self.settlement.is_some().into());
        out.extend(self.settlement.iter().flat_map(SignedStatement::to_bytes));
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let length = fields.u16()?;
        let certificate = Certificate::from_bytes(fields.take(length.into())?).ok()?;
        let terms = AccountTerms::decode(fields)?;
        let (epoch, payer) = (fields.u64()?, fields.key()?);
        let (received, counted) = (fields.u64()?, fields.u64()?);
        let (closed_epoch, closed_bytes) = (fields.u64()?, fields.u64()?);
        let settlement = match fields.u8()? {
            0 => None,
            1 => Some(settlement::decode(fields)?),
            _ => return None,
        };
        Some(Self {
            certificate,
            terms,
            epoch,
            payer,
            received,
            counted,
            closed_epoch,
            closed_bytes,
            settlement,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::Receipt;
    use crate::terms::{ServiceKind, cost};
    use octet_node::certificate::KeyStatement;
    use octet_node::key::PrivateKey;
    use proptest::prelude::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed([seed; 32]).unwrap()
    }

    fn certificate(unit: &str, epoch: u64) -> Certificate {
        let statement = KeyStatement {
            node: key(1).public(),
            unit: unit.parse().unwrap(),
            key: key(2).public(),
            epoch,
            issued: 5,
        };
        Certificate::sign(statement, &key(1)).unwrap()
    }

    fn offer(numbers: [u64; 8], is_settled: bool, unit: &str) -> SignedStatement<Offer> {
        let [price, window, epoch, received, counted, closed_epoch, closed_bytes, amount] = numbers;
        let genesis = [0; 32];
        let (payee, payer) = (key(2).public(), key(3).public());
        let kind = ServiceKind::Carriage;
        let settlement = Settlement { payee, payer, kind, amount };
        let offer = Offer {
            certificate: certificate(unit, epoch),
            terms: AccountTerms { genesis, kind, price, window },
            epoch,
            payer,
            received,
            counted,
            closed_epoch,
            closed_bytes,
            settlement: is_settled.then(|| SignedStatement::sign(settlement, &key(2)).unwrap()),
        };
        SignedStatement::sign(offer, &key(2)).unwrap()
    }

    fn pay(epoch: u64, bytes: u64, price: u64) -> AccountMessage {
        let (payer, payee) = (key(3).public(), key(2).public());
        let amount = cost(bytes, price);
        let receipt = Receipt { payer, payee, scope: [3; 32], epoch, bytes, price, amount };
        AccountMessage::Pay { receipt: SignedReceipt::sign(receipt, &[0; 32], &key(3)).unwrap() }
    }

    /// The message is read as it was written, and no other bytes are read as the same message.
    fn has_one_encoding(message: &AccountMessage) {
        let bytes = message.to_bytes();
        assert!(bytes.len() <= MAX_MESSAGE, "{}", bytes.len());
        assert_eq!(AccountMessage::from_bytes(&bytes).as_ref(), Some(message));
        for length in 0..bytes.len() {
            assert_eq!(AccountMessage::from_bytes(&bytes[..length]), None);
        }
        assert_eq!(AccountMessage::from_bytes(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn changed_bytes_are_another_message_or_none() {
        let unit = &"u".repeat(31);
        let offer = AccountMessage::Offer(Box::new(offer([9; 8], true, unit)));
        let hello = AccountMessage::Hello { certificate: certificate(unit, 4) };
        for message in [offer, hello, pay(1, 2, 3)] {
            has_one_encoding(&message);
            let bytes = message.to_bytes();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                let read = AccountMessage::from_bytes(&changed);
                assert_ne!(read.as_ref(), Some(&message), "byte {at}");
                assert!(read.is_none_or(|it| it.to_bytes() == changed), "byte {at}");
            }
        }
    }

    #[test]
    fn too_long_is_no_message() {
        assert_eq!(AccountMessage::from_bytes(&[1; MAX_MESSAGE + 1]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn one_encoding(numbers: [u64; 8], is_settled: bool, unit in "[a-z][a-z0-9-]{0,31}") {
            has_one_encoding(&AccountMessage::Offer(Box::new(offer(numbers, is_settled, &unit))));
            has_one_encoding(&AccountMessage::Hello { certificate: certificate(&unit, numbers[0]) });
            has_one_encoding(&pay(numbers[0], numbers[1], numbers[2]));
        }
    }

    proptest! {
        #[test]
        fn never_panics(
            kind in 0..5_u8,
            mut bytes in prop::collection::vec(any::<u8>(), 0..1300),
            at: prop::sample::Index,
            value: u8,
        ) {
            let read = AccountMessage::from_bytes(&bytes);
            prop_assert!(read.is_none_or(|it| it.to_bytes() == bytes));
            if bytes.len() > 2 {
                bytes[..2].copy_from_slice(&[VERSION, kind]);
                let read = AccountMessage::from_bytes(&bytes);
                prop_assert!(read.is_none_or(|it| it.to_bytes() == bytes));
            }
            let mut whole = AccountMessage::Offer(Box::new(offer([4; 8], true, "accounts"))).to_bytes();
            let at = at.index(whole.len());
            whole[at] = value;
            let read = AccountMessage::from_bytes(&whole);
            prop_assert!(read.is_none_or(|it| it.to_bytes() == whole));
        }
    }
}
