//! The coordinator's recent maps. A map of its own that is not among them was made after the backup
//! from which its disk was restored, even if as many maps were made since.

use octet_node::digest::sha256;
use octet_node::map::{MapVersion, SignedMap};
use serde::{Deserialize, Serialize};

use super::NumberRegistry;

/// The number of remembered maps: older ones are compared by number alone.
const MAX: usize = 64;

/// The maps, the newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct MapHistory(Vec<MapDigest>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MapDigest {
    version: MapVersion,
    /// The SHA-256 of its text.
    digest: String,
}

impl MapHistory {
    /// Whether the map is one of them, or older than all of them.
    pub(super) fn contains(&self, signed: &SignedMap) -> bool {
        let (version, digest) = (signed.map().version, sha256(signed.text().as_bytes()));
        let is_before = self.0.first().is_none_or(|oldest| version < oldest.version);
        is_before || self.0.iter().any(|one| (one.version, &one.digest) == (version, &digest))
    }
}

impl NumberRegistry {
    /// Adds a map that was made or recovered from.
    pub fn remember(&mut self, signed: &SignedMap) {
        let (version, digest) = (signed.map().version, sha256(signed.text().as_bytes()));
        let all = &mut self.remembered.0;
        all.push(MapDigest { version, digest });
        let extra = all.len().saturating_sub(MAX);
        all.drain(..extra);
    }
}
