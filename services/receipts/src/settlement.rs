//! A payee's signed statement of what was paid outside of the system.

use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::STANDARD;
use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use octet_node::key::Domain;
use octet_node::signed::{Signable, SignedStatement};

use crate::terms::ServiceKind;

/// How much of the payer's debt of one kind was paid. It is cumulative, over all epochs and keys of the two nodes.
///
/// Its encoding within [`SignedStatement`]: payee (32 bytes), payer (32), kind (1), amount (8), in the domain
/// `octet settlement 1`. The text is base64 with padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    pub payee: PublicKey,
    pub payer: PublicKey,
    /// What the debt is for.
    pub kind: ServiceKind,
    /// In millionths of the unit of account.
    pub amount: u64,
}

/// The size of a settlement with its signature, in bytes.
pub(crate) const BYTES: usize = 1 + 32 + 32 + 1 + 8 + 64;

impl Signable for Settlement {
    const NAME: &'static str = "settlement";
    const DOMAIN: Domain = Domain::Settlement;
    const TEXT: GeneralPurpose = STANDARD;

    fn signer(&self) -> PublicKey {
        self.payee
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.payee.as_bytes());
        out.extend_from_slice(self.payer.as_bytes());
        out.push(self.kind as u8);
        out.extend_from_slice(&self.amount.to_be_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (payee, payer) = (fields.key()?, fields.key()?);
        Some(Self {
            payee,
            payer,
            kind: ServiceKind::from_byte(fields.u8()?)?,
            amount: fields.u64()?,
        })
    }
}

/// Reads a settlement that is followed by other fields, and verifies its signature.
pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<SignedStatement<Settlement>> {
    SignedStatement::from_bytes(fields.take(BYTES)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::key::PrivateKey;

    #[test]
    fn only_the_payee_signs_it() {
        let [payee, payer] = [3, 4].map(|seed| PrivateKey::from_seed([seed; 32]).unwrap());
        let (payee_key, payer_key) = (payee.public(), payer.public());
        let kind = ServiceKind::Objects;
        let settlement = Settlement { payee: payee_key, payer: payer_key, kind, amount: 9 };
        let signed = SignedStatement::sign(settlement, &payee).unwrap();
        let bytes = signed.to_bytes();
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(decode(&mut Fields(&bytes)), Some(signed));
        assert!(SignedStatement::sign(settlement, &payer).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&mut Fields(&changed)), None, "bit {bit}");
        }
    }
}
