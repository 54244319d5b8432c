//! What an owner or a box orders, signed.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use octet_node::key::{Domain, PrivateKey, SIGNATURE, verify};
use octet_receipts::is_strong;

use crate::action::{Action, VotedChange};
use crate::block::BlockHash;
use crate::invalid::InvalidTransaction;
use crate::sha256;

const VERSION: u8 = 1;

/// The maximum size of an encoded transaction with its signature, in bytes: that of a claim.
pub const MAX_TRANSACTION: usize = 299;

/// What its signer orders.
///
/// Its encoding (numbers are big-endian): version (1 byte, 1), signer (32), nonce (8), action ([`Action`]); then the
/// signature (64). Signed are, in the domain `octet transaction 1`, the hash of the ledger's genesis (32) and the
/// encoding: so a transaction is for one ledger only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction {
    /// An owner; of a claim, the payee's key.
    pub signer: PublicKey,
    /// One more than that of the owner's transaction before. A claim has 0: it needs none, because the same receipt
    /// does not pay twice.
    pub nonce: u64,
    pub action: Action,
}

/// A transaction with a signature; [`verify`](Self::verify) says whether it is the signer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedTransaction {
    transaction: Transaction,
    signature: [u8; SIGNATURE],
}

/// The SHA-256 of the encoding of a transaction with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionHash(pub [u8; 32]);

impl Transaction {
    pub fn is_claim(&self) -> bool {
        matches!(self.action, Action::Claim { .. })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_TRANSACTION);
        out.push(VERSION);
        out.extend_from_slice(self.signer.as_bytes());
        out.extend_from_slice(&self.nonce.to_be_bytes());
        self.action.encode(&mut out);
        out
    }

    fn signed_bytes(&self, genesis: &BlockHash) -> Vec<u8> {
        [&genesis.0[..], &self.encode()].concat()
    }
}

impl SignedTransaction {
    /// Signs `transaction` for the ledger with this genesis. `key` is the signer's: the caller sees to it.
    pub fn sign(transaction: Transaction, genesis: &BlockHash, key: &PrivateKey) -> Self {
        let signature = key.sign(Domain::Transaction, &transaction.signed_bytes(genesis));
        Self { transaction, signature }
    }

    /// What is signed. Whether it is, [`verify`](Self::verify) says.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Verifies all signatures: the signer's, and those of keys and receipts within. The state of the ledger does not
    /// matter for it.
    ///
    /// # Errors
    /// One is not for the ledger with this genesis, or not by its key, or the key is one with which everybody can
    /// sign.
    pub fn verify(&self, genesis: &BlockHash) -> Result<(), InvalidTransaction> {
        let Transaction { signer, action, .. } = &self.transaction;
        let signed = self.transaction.signed_bytes(genesis);
        if !is_strong(signer) || !verify(signer, Domain::Transaction, &signed, &self.signature) {
            return Err(InvalidTransaction::Forged);
        }
        match action {
            Action::Transfer { to, .. } if !is_strong(to) => Err(InvalidTransaction::WeakKey),
            Action::BindKey { node, key, epoch, consent, .. } => {
                consent.verify(genesis, signer, Some(node), *epoch, key)
            }
            Action::Claim { receipt } => {
                receipt.verify(&genesis.0).map_err(InvalidTransaction::Receipt)
            }
            Action::Vote { change, consent } => match (change.key(), consent) {
                (None, None) => match change {
                    VotedChange::AddMember { owner, .. } if !is_strong(owner) => {
                        Err(InvalidTransaction::WeakKey)
                    }
                    _ => Ok(()),
                },
                (Some((key, epoch)), Some(consent)) => {
                    let owner = change.owner();
                    if matches!(change, VotedChange::Add { .. }) && !is_strong(owner) {
                        return Err(InvalidTransaction::WeakKey);
                    }
                    consent.verify(genesis, owner, None, epoch, key)
                }
                _ => Err(InvalidTransaction::NoConsent),
            },
            Action::RotateValidator { key, epoch, consent } => {
                consent.verify(genesis, signer, None, *epoch, key)
            }
            _ => Ok(()),
        }
    }

    pub fn hash(&self) -> TransactionHash {
        TransactionHash(sha256(&self.to_bytes()))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.transaction.encode();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes a transaction. Its signatures are not verified.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (version, signer, nonce) = (fields.u8()?, fields.key()?, fields.u64()?);
        let transaction = Transaction { signer, nonce, action: Action::decode(&mut fields)? };
        let signature = fields.array()?;
        let is_whole = version == VERSION && fields.0.is_empty();
        is_whole.then_some(Self { transaction, signature })
    }
}
