//! The random seed of a flash (docs/disk.md, "Random seed"): a board may have no source of randomness when it starts.
//! Nothing here accesses a disk.

use octet_bundle::Digest;

/// Its offset on a disk for boards, in bytes: in front of the partition of the [boot state](crate::boot_state), which
/// `update` may read and write; the disk is root's alone.
pub const RANDOM_SEED_OFFSET: u64 = (2 << 20) - (4 << 10);

/// Bytes of its sector.
pub const SECTOR_SIZE: usize = 512;

/// Bytes of the checksum at the beginning of the sector, and what stands behind it.
const CHECKSUM: usize = 4;
const MAGIC: &[u8; 12] = b"octet-seed 1";
const SEED: std::ops::Range<usize> = 16..48;

/// 256 bits that were never used.
#[derive(Clone, PartialEq, Eq)]
pub struct RandomSeed([u8; 32]);

impl std::fmt::Debug for RandomSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RandomSeed")
    }
}

impl RandomSeed {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The seed in `sector`; a sector that has none, or was torn, gives none.
    pub fn parse(sector: &[u8; SECTOR_SIZE]) -> Option<Self> {
        let checksum = crc32fast::hash(&sector[CHECKSUM..]).to_le_bytes();
        let is_seed = sector[..CHECKSUM] == checksum && sector[CHECKSUM..].starts_with(MAGIC);
        let bytes = sector[SEED].try_into().ok()?;
        is_seed.then_some(Self(bytes))
    }

    pub fn render(&self) -> [u8; SECTOR_SIZE] {
        let mut sector = [0; SECTOR_SIZE];
        sector[CHECKSUM..SEED.start].copy_from_slice(MAGIC);
        sector[SEED].copy_from_slice(&self.0);
        let checksum = crc32fast::hash(&sector[CHECKSUM..]).to_le_bytes();
        sector[..CHECKSUM].copy_from_slice(&checksum);
        sector
    }

    /// What is given to the kernel of it. Neither this nor [`Self::next`] says anything about the other, or about the
    /// seed.
    pub fn for_kernel(&self) -> [u8; 32] {
        Digest::of(&[&b"octet: random seed for the kernel"[..], &self.0].concat()).to_bytes()
    }

    /// The seed of the next start, from this one and what is `fresh`.
    pub fn next(&self, fresh: &[u8]) -> Self {
        Self(Digest::of(&[&b"octet: next random seed"[..], &self.0, fresh].concat()).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The checksum is what zlib's `crc32` says.
    #[test]
    fn bytes() {
        let seed = RandomSeed::new([7; 32]);
        let sector = seed.render();
        assert_eq!(sector[4..16], *b"octet-seed 1");
        assert_eq!(sector[16..48], [7; 32]);
        assert!(sector[48..].iter().all(|byte| *byte == 0));
        assert_eq!(sector[..4], 0x150e_0316_u32.to_le_bytes());
    }

    proptest! {
        #[test]
        fn a_torn_sector_has_none(bytes: [u8; 32], at in 0..48_usize, bit in 0..8_u8) {
            let seed = RandomSeed::new(bytes);
            let mut sector = seed.render();
            prop_assert_eq!(RandomSeed::parse(&sector), Some(seed.clone()));
            sector[at] ^= 1_u8 << bit;
            prop_assert_eq!(RandomSeed::parse(&sector), None);
            prop_assert_eq!(RandomSeed::parse(&[0; SECTOR_SIZE]), None);
            let next = seed.next(&[]);
            prop_assert_ne!(&next, &seed);
            prop_assert_ne!(next.0, seed.for_kernel());
            prop_assert_ne!(seed.next(b"x"), next);
        }
    }
}
