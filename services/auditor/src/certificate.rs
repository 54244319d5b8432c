//! The votes for a block.

use std::collections::{BTreeMap, BTreeSet};

use octet_node::control::PublicKey;

use crate::Bytes32;
use crate::difference::Mismatch;
use crate::encoding::read_certificate;
use crate::signatures::is_precommit;

/// Checks that more than two thirds of `validators` (keys) voted for this block, each once, and nobody else.
pub fn check(
    bytes: &[u8],
    genesis: &Bytes32,
    (height, round, block): (u64, u32, &Bytes32),
    validators: &BTreeSet<Bytes32>,
) -> Result<(), Mismatch> {
    let certificate = read_certificate(bytes).ok_or(Mismatch::Certificate)?;
    if (certificate.height, &certificate.block) != (height, block) {
        return Err(Mismatch::OtherBlock);
    }
    // The block may be proposed again in a later round, but nobody can vote before it was made.
    if certificate.round < round {
        return Err(Mismatch::EarlyVotes { votes: certificate.round, block: round });
    }
    let mut seen = BTreeMap::new();
    for (key, signature) in &certificate.votes {
        let of = PublicKey::new(*key);
        if !validators.contains(key) {
            return Err(Mismatch::Stranger(of));
        }
        if seen.insert(*key, signature).is_some() {
            return Err(Mismatch::VoteTwice(of));
        }
        if !is_precommit(genesis, (height, certificate.round, block), key, signature) {
            return Err(Mismatch::ForgedVote(of));
        }
    }
    match seen.len() * 3 > validators.len() * 2 {
        true => Ok(()),
        false => Err(Mismatch::TooFewVotes { votes: seen.len(), validators: validators.len() }),
    }
}
