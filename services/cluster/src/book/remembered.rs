//! The coordinator's last maps: a map of its own that is none of them was made after the state to which its disk
//! was put back, also when as many have been made since.

use octet_node::digest::sha256;
use octet_node::map::{MapVersion, SignedMap};
use serde::{Deserialize, Serialize};

use super::NumberRegistry;

/// How many are remembered: a board that has missed more is told apart by the number alone.
const MAX: usize = 64;

/// The maps, the newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Remembered(Vec<One>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    version: MapVersion,
    /// The SHA-256 of its text.
    digest: String,
}

impl Remembered {
    /// Whether it is one of them, or from before them.
    pub(super) fn has(&self, signed: &SignedMap) -> bool {
        let (version, digest) = (signed.map().version, sha256(signed.text().as_bytes()));
        let is_before = self.0.first().is_none_or(|oldest| version < oldest.version);
        is_before || self.0.iter().any(|one| (one.version, &one.digest) == (version, &digest))
    }
}

impl NumberRegistry {
    /// `signed` was made, or learned from.
    pub fn remember(&mut self, signed: &SignedMap) {
        let (version, digest) = (signed.map().version, sha256(signed.text().as_bytes()));
        let all = &mut self.remembered.0;
        all.push(One { version, digest });
        let extra = all.len().saturating_sub(MAX);
        all.drain(..extra);
    }
}
