//! A key's consent to be bound to an owner.

use octet_node::control::PublicKey;
use octet_node::key::{Domain, PrivateKey, SIGNATURE, verify};
use octet_receipts::is_strong;

use crate::block::BlockHash;
use crate::invalid::InvalidTransaction;

/// A signature by a key that is to be bound. Without it, an owner could bind another's key, and take what it earns.
///
/// Signed are, in the domain `octet possession 1`: the hash of the genesis (32 bytes), what the key is for (1 byte: 1
/// for a node's unit `accounts`, 2 for a validator), the owner (32), the node (32; zeros for a validator), and the
/// epoch (8, big-endian).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Possession(pub [u8; SIGNATURE]);

impl Possession {
    /// The consent of the key of a node's unit `accounts`.
    pub fn of_sub_key(
        genesis: &BlockHash,
        owner: &PublicKey,
        node: &PublicKey,
        epoch: u64,
        key: &PrivateKey,
    ) -> Self {
        Self(key.sign(Domain::Possession, &signed_bytes(genesis, owner, Some(node), epoch)))
    }

    /// The consent of a validator's key.
    pub fn of_validator(
        genesis: &BlockHash,
        owner: &PublicKey,
        epoch: u64,
        key: &PrivateKey,
    ) -> Self {
        Self(key.sign(Domain::Possession, &signed_bytes(genesis, owner, None, epoch)))
    }

    pub(crate) fn verify(
        &self,
        genesis: &BlockHash,
        owner: &PublicKey,
        node: Option<&PublicKey>,
        epoch: u64,
        key: &PublicKey,
    ) -> Result<(), InvalidTransaction> {
        let signed = signed_bytes(genesis, owner, node, epoch);
        match is_strong(key) && verify(key, Domain::Possession, &signed, &self.0) {
            true => Ok(()),
            false => Err(InvalidTransaction::NoConsent),
        }
    }
}

fn signed_bytes(
    genesis: &BlockHash,
    owner: &PublicKey,
    node: Option<&PublicKey>,
    epoch: u64,
) -> Vec<u8> {
    let mut out = genesis.0.to_vec();
    out.push(if node.is_some() { 1 } else { 2 });
    out.extend_from_slice(owner.as_bytes());
    out.extend_from_slice(node.map_or(&[0; 32], |node| node.as_bytes()));
    out.extend_from_slice(&epoch.to_be_bytes());
    out
}
