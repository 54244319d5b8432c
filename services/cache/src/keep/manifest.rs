//! The manifest of an object that is kept in shards: a small object, the same at every board, with the hashes of the
//! shards. It is in postcard's encoding, after a byte with the version.

use iroh_blobs::Hash;
use serde::{Deserialize, Serialize};

/// The version, the first byte.
const VERSION: u8 = 1;

/// The size of a block in bytes.
const BLOCK: u32 = 64 << 10;

/// The maximum number of shards: a set of them has 32 bits.
pub const MAX_SHARDS: usize = 32;

/// The maximum size of an object in bytes: far more than a disk has, and sizes can be added without an overflow.
const MAX_SIZE: u64 = 1 << 56;

/// The maximum size of a manifest in bytes: the version, a hash, four numbers, a length, and hashes.
pub const LONGEST_MANIFEST: u64 = 1 + 32 + 9 + 1 + 1 + 3 + 1 + 32 * MAX_SHARDS as u64;

/// How an object is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardLayout {
    /// So many shards suffice to read the object.
    pub data: u8,
    /// So many there are besides.
    pub parity: u8,
    /// The size of a block in bytes, an even number.
    pub block: u32,
}

/// What the shards of an object are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardManifest {
    pub object: Hash,
    /// The size of the object in bytes.
    pub size: u64,
    pub layout: ShardLayout,
    /// The hashes of the shards, by their indices.
    pub shards: Vec<Hash>,
}

#[derive(Serialize, Deserialize)]
struct ManifestBody {
    object: [u8; 32],
    size: u64,
    layout: ShardLayout,
    shards: Vec<[u8; 32]>,
}

impl ShardLayout {
    pub fn new(data: u8, parity: u8) -> Self {
        Self { data, parity, block: BLOCK }
    }

    /// The number of shards.
    pub fn shards(&self) -> u8 {
        self.data.saturating_add(self.parity)
    }

    /// The bytes of the object in a stripe.
    pub fn stripe(&self) -> u64 {
        u64::from(self.data) * u64::from(self.block)
    }

    /// The number of stripes of an object of `size` bytes.
    pub fn stripes(&self, size: u64) -> u64 {
        size.div_ceil(self.stripe())
    }

    /// The size of each shard of an object of `size` bytes.
    pub fn shard_size(&self, size: u64) -> u64 {
        self.stripes(size) * u64::from(self.block)
    }

    /// Whether a codec for it exists, and its blocks are not larger than memory allows.
    fn is_valid(&self) -> bool {
        let is_even = self.block.is_multiple_of(2) && (2..=BLOCK).contains(&self.block);
        is_even && self.data >= 1 && self.parity >= 1 && self.count() <= MAX_SHARDS
    }

    fn count(&self) -> usize {
        usize::from(self.data) + usize::from(self.parity)
    }
}

impl ShardManifest {
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = ManifestBody {
            object: *self.object.as_bytes(),
            size: self.size,
            layout: self.layout,
            shards: self.shards.iter().map(|hash| *hash.as_bytes()).collect(),
        };
        // It fails for types without a length only.
        [&[VERSION][..], &postcard::to_stdvec(&body).unwrap_or_default()].concat()
    }

    /// Its own hash.
    pub fn hash(&self) -> Hash {
        Hash::new(self.to_bytes())
    }

    /// Parses a manifest. A manifest has one encoding; `None` if these bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() as u64 > LONGEST_MANIFEST {
            return None;
        }
        let (version, body) = bytes.split_first()?;
        let (body, _): (ManifestBody, _) = postcard::take_from_bytes(body).ok()?;
        let manifest = Self {
            object: Hash::from_bytes(body.object),
            size: body.size,
            layout: body.layout,
            shards: body.shards.into_iter().map(Hash::from_bytes).collect(),
        };
        let is_one = *version == VERSION
            && manifest.layout.is_valid()
            && manifest.shards.len() == manifest.layout.count()
            && manifest.size <= MAX_SIZE
            && manifest.to_bytes() == bytes;
        is_one.then_some(manifest)
    }

    /// The size of each shard in bytes.
    pub fn shard_size(&self) -> u64 {
        self.layout.shard_size(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> impl Strategy<Value = ShardManifest> {
        let hash = any::<[u8; 32]>().prop_map(Hash::from_bytes);
        (hash, 0..=MAX_SIZE, 1u8..=16, 1u8..=16, 1u32..=BLOCK / 2).prop_map(
            |(object, size, data, parity, half)| {
                let layout = ShardLayout { data, parity, block: 2 * half };
                let shards = (0..layout.shards()).map(|index| Hash::new([index])).collect();
                ShardManifest { object, size, layout, shards }
            },
        )
    }

    proptest! {
        #[test]
        fn is_read_as_it_was_written(manifest in manifest()) {
            let bytes = manifest.to_bytes();
            prop_assert!(bytes.len() as u64 <= LONGEST_MANIFEST);
            prop_assert_eq!(ShardManifest::from_bytes(&bytes), Some(manifest));
        }

        #[test]
        fn has_one_encoding(manifest in manifest(), place in any::<prop::sample::Index>(), by in 1u8..) {
            let mut bytes = manifest.to_bytes();
            let place = place.index(bytes.len());
            bytes[place] ^= by;
            if let Some(other) = ShardManifest::from_bytes(&bytes) {
                prop_assert_eq!(other.to_bytes(), bytes);
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(manifest) = ShardManifest::from_bytes(&bytes) {
                let _ = manifest.shard_size();
            }
        }
    }

    #[test]
    fn a_manifest_out_of_bounds_is_refused() {
        let layout = ShardLayout::new(16, 16);
        let good = ShardManifest {
            object: Hash::EMPTY,
            size: MAX_SIZE,
            layout,
            shards: vec![Hash::EMPTY; MAX_SHARDS],
        };
        assert_eq!(good.to_bytes().len() as u64, LONGEST_MANIFEST);
        assert!(ShardManifest::from_bytes(&good.to_bytes()).is_some());
        let with = |layout, count| {
            let shards = vec![Hash::EMPTY; count];
            ShardManifest { layout, shards, ..good.clone() }
        };
        let layout = |data, parity, block| ShardLayout { data, parity, block };
        for bad in [
            with(layout(17, 16, 2), 33),
            with(layout(0, 3, 2), 3),
            with(layout(3, 0, 2), 3),
            with(layout(3, 1, 3), 4),
            with(layout(3, 1, 0), 4),
            with(layout(3, 1, BLOCK + 2), 4),
            with(layout(3, 1, 2), 3),
            ShardManifest { size: MAX_SIZE + 1, ..good.clone() },
        ] {
            assert_eq!(ShardManifest::from_bytes(&bad.to_bytes()), None, "{:?}", bad.layout);
        }
        let mut long = good.to_bytes();
        long.push(0);
        assert_eq!(ShardManifest::from_bytes(&long), None);
        // A number with more bytes than it needs: the size follows the version and the hash.
        let mut padded = ShardManifest { size: 0, ..with(layout(2, 1, 2), 3) }.to_bytes();
        padded.splice(33..34, [0x80, 0]);
        assert_eq!(ShardManifest::from_bytes(&padded), None);
    }
}
