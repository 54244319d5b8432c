//! What an owner or a box orders, signed.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;

/// A transaction with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    pub from: PublicKey,
    pub to: PublicKey,
    pub amount: u64,
    /// One more than that of the sender's transaction before.
    pub nonce: u64,
}

/// Why a transaction is not valid in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    #[error("the transaction is not the sender's next")]
    Nonce,
    #[error("the sender does not have that much")]
    Balance,
}

impl SignedTransaction {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.from.as_bytes().to_vec();
        out.extend_from_slice(self.to.as_bytes());
        out.extend_from_slice(&self.amount.to_be_bytes());
        out.extend_from_slice(&self.nonce.to_be_bytes());
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let transaction = Self {
            from: fields.key()?,
            to: fields.key()?,
            amount: fields.u64()?,
            nonce: fields.u64()?,
        };
        fields.0.is_empty().then_some(transaction)
    }
}
