//! The layout of the volume (the specification's "Boot Sector and BPB" and "FAT32 FSInfo Sector
//! Structure").

use super::{FatProblem, SECTOR, u16_at, u32_at};

/// Maximum number of clusters: it limits the memory that a plan needs.
const MAX: u32 = 1 << 22;

/// With fewer clusters it would not be FAT32 (ibid., "FAT Type Determination").
const MIN: u32 = 65_525;

const ENTRIES_PER_SECTOR: u32 = 128;

/// Offsets and values of the three signatures of FSINFO.
const SIGNATURES: [(usize, u32); 3] = [(0, 0x4161_5252), (484, 0x6141_7272), (508, 0xAA55_0000)];
const FREE_COUNT: usize = 488;
const NEXT_FREE: usize = 492;
const UNKNOWN: u32 = u32::MAX;

/// Positions and sizes of one volume. All sectors exist, and no areas overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeGeometry {
    /// Sectors of one cluster: 1 to 128.
    pub cluster: usize,
    /// The number of clusters; their numbers start with 2.
    pub clusters: u32,
    /// The sector in which cluster 2 begins.
    pub data: u64,
    /// The sector in which each table begins.
    pub tables: [u64; 2],
    /// Used sectors of a table.
    pub table_sectors: usize,
    /// The first cluster of the root.
    pub root: u32,
    /// The sector FSINFO.
    pub info: u64,
    /// The first byte of a table.
    pub media: u8,
}

impl VolumeGeometry {
    /// Parses sector 0.
    ///
    /// # Errors
    /// It is not as the builder makes it.
    pub fn read(boot: &[u8]) -> Result<Self, FatProblem> {
        let demand = |holds: bool, what| holds.then_some(()).ok_or(FatProblem::Volume(what));
        demand(boot[510..512] == [0x55, 0xAA], "sector 0 has no signature")?;
        demand(u16_at(boot, 11) == SECTOR as u16, "its sectors do not have 512 bytes")?;
        let cluster = boot[13];
        demand(cluster.is_power_of_two(), "the size of its clusters is no power of two")?;
        let old = u16_at(boot, 17) | u16_at(boot, 19) | u16_at(boot, 22);
        demand(old == 0, "it is FAT12 or FAT16")?;
        demand(boot[16] == 2, "it does not have two tables")?;
        demand(u16_at(boot, 40) & 0x80 == 0, "its tables are not kept alike")?;
        demand(u16_at(boot, 42) == 0, "its version is not 0.0")?;

        let reserved = u64::from(u16_at(boot, 14));
        let size = u64::from(u32_at(boot, 36));
        let data = reserved + 2 * size;
        let sectors = u64::from(u32_at(boot, 32)).saturating_sub(data);
        let clusters = u32::try_from(sectors / u64::from(cluster)).unwrap_or(u32::MAX);
        demand((MIN..=MAX).contains(&clusters), "it is too small, or too large")?;
        let table_sectors = (clusters + 2).div_ceil(ENTRIES_PER_SECTOR);
        demand(u64::from(table_sectors) <= size, "its tables are too small")?;
        let (root, info) = (u32_at(boot, 44), u64::from(u16_at(boot, 48)));
        demand((2..clusters + 2).contains(&root), "it has no root")?;
        demand((1..reserved).contains(&info), "it has no FSINFO")?;
        Ok(Self {
            cluster: cluster.into(),
            clusters,
            data,
            tables: [reserved, reserved + size],
            table_sectors: table_sectors as usize,
            root,
            info,
            media: boot[21],
        })
    }

    /// Whether a cluster has this number.
    pub fn contains(&self, cluster: u32) -> bool {
        (2..self.clusters + 2).contains(&cluster)
    }

    /// The first sector of an existing cluster.
    pub fn sector(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - 2) * self.cluster as u64
    }

    pub fn cluster_bytes(&self) -> u32 {
        (self.cluster * SECTOR) as u32
    }
}

/// Checks that a sector is FSINFO.
pub fn check_info(info: &[u8]) -> Result<(), FatProblem> {
    match SIGNATURES.iter().all(|(at, signature)| u32_at(info, *at) == *signature) {
        true => Ok(()),
        false => Err(FatProblem::Volume("FSINFO has no signature")),
    }
}

/// FSINFO with this number of free clusters. The hint where to search for one is kept if possible.
pub fn info(old: &[u8], volume: &VolumeGeometry, free: u32) -> Vec<u8> {
    let mut info = old.to_vec();
    info[FREE_COUNT..][..4].copy_from_slice(&free.to_le_bytes());
    if !volume.contains(u32_at(old, NEXT_FREE)) {
        info[NEXT_FREE..][..4].copy_from_slice(&UNKNOWN.to_le_bytes());
    }
    info
}
