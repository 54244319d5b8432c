//! Repairs a FAT32 volume after a power cut (Microsoft's "FAT32 File System Specification" 1.03;
//! kernel: fs/fat): what is to be written, and in which order. Only [`repair`] accesses a device.
//!
//! A power cut loses no file that was on the medium before. It leaves lost clusters, entries of
//! files and folders without their content, a second entry of a file that was being renamed, tables
//! that differ and wrong counts. Those are repaired. All other damage has another cause: then
//! nothing is written, and what was found is reported.
//!
//! The order makes another power cut harmless: as long as anything is left to do, the volume is
//! marked as not unmounted, and every step leaves less to do.

mod folder;
mod table;
mod volume;
mod walk;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use table::FatTable;
pub use volume::VolumeGeometry;
use walk::TreeWalk;

/// Bytes of a sector: the only size that the image supports.
pub const SECTOR: usize = 512;

/// Offset of the state in sector 0: whether the volume is mounted, or was not unmounted (fs/fat:
/// `FAT_STATE_DIRTY`).
pub const STATE: usize = 65;
/// The bit for that.
pub const DIRTY: u8 = 1;

/// Where a volume can be read.
pub trait ReadAt {
    /// Fills `bytes` from the offset `at` on.
    ///
    /// # Errors
    /// It cannot be read, or ends before that.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatWrite {
    /// The first sector, relative to the volume.
    pub sector: u64,
    /// Whole sectors.
    pub bytes: Vec<u8>,
}

/// The writes that make the volume as if it had been unmounted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RepairPlan {
    /// Each stage must be on the medium before the next begins; within one the order is free.
    pub stages: Vec<Vec<FatWrite>>,
    pub done: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum FatProblem {
    #[error("sector {sector}: {error}")]
    Read { sector: u64, error: io::Error },
    /// This is not a supported volume.
    #[error("this is not a FAT32 volume as the builder makes it: {0}")]
    Volume(&'static str),
    /// Damage that a power cut does not cause.
    #[error("{path}: {fault}")]
    File {
        /// The path from the root of the volume on.
        path: String,
        /// What is wrong with it.
        fault: FatFault,
    },
}

/// What is wrong with a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FatFault {
    /// A cluster belongs to two files, or twice to one.
    #[error("cluster {0} is in use twice")]
    Shared(u32),
    /// An invalid cluster number.
    #[error("it continues at cluster {0}, which does not exist")]
    NoCluster(u32),
    /// The table marks the cluster as bad.
    #[error("cluster {0} is marked as bad")]
    Bad(u32),
    /// The chain of a folder or a large file ends too early.
    #[error("it is not whole")]
    NotWhole,
    /// A folder with invalid content.
    #[error("this is not the content of a folder")]
    NoFolder,
    /// More than the limits allow.
    #[error("there are too many folders, or too large ones")]
    TooMany,
}

/// When a volume is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// If it is marked as not unmounted.
    IfDirty,
    /// Always: firmware renames files without marking it.
    Always,
}

/// Repairs the volume on `device`, which must not be mounted. Returns what was done, in words.
pub fn repair(device: &Path, check: Check) -> Result<Option<String>, String> {
    let at = |error: io::Error| format!("{}: {error}", device.display());
    let problem =
        |problem: FatProblem| format!("{}: {problem}; nothing was changed there", device.display());
    if check == Check::IfDirty {
        let file = File::open(device).map_err(at)?;
        if !is_dirty(&file).map_err(problem)? {
            return Ok(None);
        }
    }
    let mut options = File::options();
    options.read(true).write(true);
    // The kernel refuses to open a mounted device this way.
    options.custom_flags(OFlags::EXCL.bits().cast_signed());
    let file = options.open(device).map_err(at)?;
    let plan = plan(&file).map_err(problem)?;
    apply(&file, &plan).map_err(at)?;
    Ok((!plan.done.is_empty()).then(|| plan.done.join("; ")))
}

fn apply(device: &File, plan: &RepairPlan) -> io::Result<()> {
    for stage in &plan.stages {
        for write in stage {
            device.write_all_at(&write.bytes, write.sector * SECTOR as u64)?;
        }
        device.sync_all()?;
    }
    Ok(())
}

/// Whether the volume is marked as not unmounted, in the way of Linux or of other systems.
fn is_dirty(device: &impl ReadAt) -> Result<bool, FatProblem> {
    let boot = read(device, 0, 1)?;
    let volume = VolumeGeometry::read(&boot)?;
    let table = read(device, volume.tables[0], 1)?;
    Ok(boot[STATE] & DIRTY != 0 || table::is_dirty(&table))
}

/// Plans the writes; an empty plan if all is well.
pub fn plan(device: &impl ReadAt) -> Result<RepairPlan, FatProblem> {
    let boot = read(device, 0, 1)?;
    let volume = VolumeGeometry::read(&boot)?;
    let info = read(device, volume.info, 1)?;
    volume::check_info(&info)?;
    let [first, second] = volume.tables.map(|table| read(device, table, volume.table_sectors));
    let (first, second) = (first?, second?);

    let mut table = FatTable::new(first.clone(), &volume)?;
    let walked = TreeWalk::run(device, &volume, &table)?;
    let lost = walked.update_table(&mut table);
    let info_to_be = volume::info(&info, &volume, table.free());
    let mended = table.bytes().to_vec();
    table.mark_clean();
    let (mut open, mut closed) = (boot.clone(), boot.clone());
    open[STATE] |= DIRTY;
    closed[STATE] &= !DIRTY;

    let (mut mend, mut done) = (walked.writes, walked.done);
    if lost > 0 {
        done.push(format!("clusters freed: {lost}"));
    }
    add(&mut mend, &first, &mended, volume.tables[0]);
    // The second table may be marked clean before the first one is: the first one counts.
    if add(&mut mend, &second, table.bytes(), volume.tables[1]) {
        done.push("the second table made like the first one".into());
    }
    if add(&mut mend, &info, &info_to_be, volume.info) {
        done.push("free clusters counted".into());
    }
    let [mut begin, mut clean, mut end] = [vec![], vec![], vec![]];
    let marked = add(&mut clean, &mended, table.bytes(), volume.tables[0]) || boot != closed;
    if !mend.is_empty() {
        add(&mut begin, &boot, &open, 0);
    }
    add(&mut end, if mend.is_empty() { &boot } else { &open }, &closed, 0);
    if marked {
        done.push("marked as unmounted".into());
    }
    let stages = [begin, mend, clean, end].into_iter().filter(|stage| !stage.is_empty());
    Ok(RepairPlan { stages: stages.collect(), done })
}

/// Adds the sectors of `new` that differ from those of `old`, which begin at `sector`, to `writes`,
/// and merges adjacent ones. Returns whether there are any.
fn add(writes: &mut Vec<FatWrite>, old: &[u8], new: &[u8], sector: u64) -> bool {
    let before = writes.len();
    let pairs = old.chunks(SECTOR).zip(new.chunks(SECTOR)).zip(sector..);
    for ((_, bytes), sector) in pairs.filter(|((old, new), _)| old != new) {
        match writes[before..].last_mut() {
            Some(last) if last.sector + (last.bytes.len() / SECTOR) as u64 == sector => {
                last.bytes.extend(bytes);
            }
            _ => writes.push(FatWrite { sector, bytes: bytes.to_vec() }),
        }
    }
    writes.len() > before
}

/// Reads whole sectors.
fn read(device: &impl ReadAt, sector: u64, sectors: usize) -> Result<Vec<u8>, FatProblem> {
    let mut bytes = vec![0; sectors * SECTOR];
    device
        .read_at(&mut bytes, sector * SECTOR as u64)
        .map_err(|error| FatProblem::Read { sector, error })?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests;
