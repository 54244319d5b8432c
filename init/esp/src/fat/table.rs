//! The file allocation table: for each cluster the next one of its file.

use super::volume::VolumeGeometry;
use super::{FatProblem, u32_at};

/// The upper four bits are reserved, and are preserved.
const BITS: u32 = 0x0FFF_FFFF;
const BAD: u32 = 0x0FFF_FFF7;
const MIN_END: u32 = 0x0FFF_FFF8;
const END: u32 = 0x0FFF_FFFF;

/// Entry 1 belongs to no cluster: both bits are set in a volume that was unmounted and had no
/// errors.
const STATE: usize = 4;
const CLEAN: u32 = 0x0C00_0000;

/// The table's entry of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterLink {
    Free,
    /// The file continues there.
    Next(u32),
    /// The last cluster of its file.
    End,
    /// A bad cluster, which must not be used.
    Bad,
}

#[derive(Debug, Clone)]
pub struct FatTable {
    bytes: Vec<u8>,
    clusters: u32,
}

impl FatTable {
    /// The table in `bytes`, which have the size of the volume's table.
    ///
    /// # Errors
    /// It does not begin as a table.
    pub fn new(bytes: Vec<u8>, volume: &VolumeGeometry) -> Result<Self, FatProblem> {
        if u32_at(&bytes, 0) & BITS != (END & !0xFF) | u32::from(volume.media) {
            return Err(FatProblem::Volume("its first table does not begin as one"));
        }
        Ok(Self { bytes, clusters: volume.clusters })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The numbers of all clusters.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        2..self.clusters + 2
    }

    /// The entry of an existing cluster. The next one may be invalid.
    pub fn link(&self, cluster: u32) -> ClusterLink {
        match u32_at(&self.bytes, 4 * cluster as usize) & BITS {
            0 => ClusterLink::Free,
            BAD => ClusterLink::Bad,
            MIN_END..=END => ClusterLink::End,
            next => ClusterLink::Next(next),
        }
    }

    /// Makes a cluster the last one of its file.
    pub fn end(&mut self, cluster: u32) {
        self.set(cluster, END);
    }

    pub fn clear(&mut self, cluster: u32) {
        self.set(cluster, 0);
    }

    fn set(&mut self, cluster: u32, value: u32) {
        let at = 4 * cluster as usize;
        let reserved = u32_at(&self.bytes, at) & !BITS;
        self.bytes[at..at + 4].copy_from_slice(&(reserved | value).to_le_bytes());
    }

    /// The number of free clusters.
    pub fn free(&self) -> u32 {
        self.numbers().filter(|cluster| self.link(*cluster) == ClusterLink::Free).count() as u32
    }

    /// Marks the volume as unmounted.
    pub fn mark_clean(&mut self) {
        let state = u32_at(&self.bytes, STATE) | CLEAN;
        self.bytes[STATE..STATE + 4].copy_from_slice(&state.to_le_bytes());
    }
}

/// Whether the first sector of a table marks the volume as not unmounted.
pub fn is_dirty(sector: &[u8]) -> bool {
    u32_at(sector, STATE) & CLEAN != CLEAN
}
