//! What a ledger begins with.

use std::collections::BTreeMap;
use std::time::Duration;

use octet_node::control::PublicKey;
use ring::digest::{SHA256, digest};

use crate::block::BlockHash;

/// What all validators must have in common before the first block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The keys of the validators.
    pub validators: Vec<PublicKey>,
    /// The balances of owners.
    pub balances: BTreeMap<PublicKey, u64>,
    /// The shortest interval of blocks.
    pub spacing: Duration,
}

impl Genesis {
    pub fn hash(&self) -> BlockHash {
        let mut bytes = b"octet genesis 1\0".to_vec();
        for validator in &self.validators {
            bytes.extend_from_slice(validator.as_bytes());
        }
        for (owner, balance) in &self.balances {
            bytes.extend_from_slice(owner.as_bytes());
            bytes.extend_from_slice(&balance.to_be_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        BlockHash(hash)
    }
}
