//! The EFI system partition of a disk, changed in memory and written so that a cut does no harm.
//!
//! What is changed between two [`Volume::sync`] is written in four stages, each on the medium and
//! read back before the next begins: the content of clusters that are free there; the table's
//! entries of these; what hangs them onto something, names in folders above all; and the entries of
//! clusters that got free. So there is never a name without its content, nor a cluster with two
//! owners: a cut leaves clusters without an owner, or a name twice, which PID 1 mends.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use octet_esp::fat::{self, DIRTY, ReadAt, SECTOR, STATE};

use super::buffer::{ALIGNMENT, Buffer};
use super::error::FlashFault;
use super::pieces::{GRANULE, PIECE};

const PAGE: u64 = ALIGNMENT as u64;

/// Where the bytes are. Behind this, tests cut the power at every write.
pub trait BlockDevice {
    /// Reads what is on the medium at `at`, whatever is cached. Only what was synced.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault>;
    /// Writes `bytes`, whole pages, at `at`.
    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), FlashFault>;
    /// Waits until all that was written is on the medium.
    fn sync(&self) -> Result<(), FlashFault>;
}

/// What of a change is to be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Content,
    /// Their entries in the table.
    Allocated,
    /// Clusters that are not free, and entries that lead elsewhere now.
    Named,
    /// Entries of clusters that are free from now on, and all the rest.
    Freed,
}

const STAGES: [Stage; 4] = [Stage::Content, Stage::Allocated, Stage::Named, Stage::Freed];

/// A FAT32 volume in a part of a store, as one that can be read, written and sought in.
pub struct FatVolume<'a, S> {
    store: &'a S,
    range: Range<u64>,
    places: fat::VolumeGeometry,
    /// Pages as they are on the medium, by number.
    medium: BTreeMap<u64, Vec<u8>>,
    /// The same as they are to be.
    dirty: BTreeMap<u64, Vec<u8>>,
    /// Where the next read or write is.
    at: u64,
    /// Whether it says that it is not unmounted.
    is_dirty: bool,
    /// Bytes that were written and read back.
    pub written: u64,
}

impl<'a, S: BlockDevice> FatVolume<'a, S> {
    /// The volume at `range` of `store`.
    pub fn open(store: &'a S, range: Range<u64>) -> Result<Self, fat::FatProblem> {
        let mut boot = [0; SECTOR];
        Part(store, range.start).read_at(&mut boot, 0).map_err(unread)?;
        let places = fat::VolumeGeometry::read(&boot)?;
        let (medium, dirty) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { store, range, places, medium, dirty, at: 0, is_dirty: false, written: 0 })
    }

    /// The same as it is once what a cut has left there is mended; and how. Nothing is written.
    pub fn open_repaired(
        store: &'a S,
        range: Range<u64>,
    ) -> Result<(Self, fat::RepairPlan), fat::FatProblem> {
        let plan = fat::plan(&Part(store, range.start))?;
        let mut volume = Self::open(store, range)?;
        for write in plan.stages.iter().flatten() {
            volume.patch(write).map_err(unread)?;
        }
        Ok((volume, plan))
    }

    /// Writes `plan`, what is to be mended.
    pub fn repair(&mut self, plan: &fat::RepairPlan) -> io::Result<()> {
        for stage in &plan.stages {
            stage.iter().try_for_each(|write| self.patch(write))?;
            let pages = std::mem::take(&mut self.dirty);
            self.write_pages(pages).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn patch(&mut self, write: &fat::FatWrite) -> io::Result<()> {
        self.at = write.sector * SECTOR as u64;
        self.write_all(&write.bytes)
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.dirty.retain(|page, bytes| self.medium.get(page) != Some(bytes));
        if self.dirty.is_empty() {
            return Ok(());
        }
        self.set_dirty(true)?;
        for stage in STAGES {
            let mut pages = BTreeMap::new();
            for page in self.dirty.keys().copied().collect::<Vec<_>>() {
                let to_be = self.staged(stage, page)?;
                if self.medium[&page] != to_be {
                    pages.insert(page, to_be);
                }
            }
            self.write_pages(pages).map_err(io::Error::other)?;
        }
        self.dirty.clear();
        Ok(())
    }

    /// Says that it is unmounted, or that it is not; before that everything is synced.
    pub fn set_dirty(&mut self, is_open: bool) -> io::Result<()> {
        if self.is_dirty == is_open {
            return Ok(());
        }
        self.load(0)?;
        let mut boot = self.medium[&0].clone();
        boot[STATE] = if is_open { boot[STATE] | DIRTY } else { boot[STATE] & !DIRTY };
        if let Some(changed) = self.dirty.get_mut(&0) {
            changed[STATE] = boot[STATE];
        }
        self.is_dirty = is_open;
        self.write_pages(BTreeMap::from([(0, boot)])).map_err(io::Error::other)
    }

    /// Forgets what is in memory.
    pub fn reopen(&mut self) {
        self.medium.clear();
        self.dirty.clear();
    }

    /// What is to be on the medium at `page` after `stage`.
    fn staged(&mut self, stage: Stage, page: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.medium[&page].clone();
        let first = page * PAGE / SECTOR as u64;
        for (index, sector) in (first..first + PAGE / SECTOR as u64).enumerate() {
            let part = index * SECTOR..(index + 1) * SECTOR;
            let new = self.dirty[&page][part.clone()].to_vec();
            let old = &mut bytes[part];
            if *old == new {
                continue;
            }
            let places = self.places;
            let tables = places.tables[0]..places.data;
            if tables.contains(&sector) {
                for (old, new) in old.chunks_exact_mut(4).zip(new.chunks_exact(4)) {
                    let (is_free, gets_free) = (*old == [0; 4], new == [0; 4]);
                    let is_due = match stage {
                        Stage::Content => false,
                        Stage::Allocated => is_free,
                        Stage::Named => !gets_free,
                        Stage::Freed => true,
                    };
                    if is_due {
                        old.copy_from_slice(new);
                    }
                }
            } else if stage == Stage::Freed
                || sector >= places.data
                    && (stage >= Stage::Named
                        || stage == Stage::Content && self.is_free(sector - places.data)?)
            {
                old.copy_from_slice(&new);
            }
        }
        Ok(bytes)
    }

    /// Whether the medium's table says that the cluster with this sector of all clusters is free.
    fn is_free(&mut self, sector: u64) -> io::Result<bool> {
        let cluster = 2 + sector / self.places.cluster as u64;
        let at = self.places.tables[0] * SECTOR as u64 + 4 * cluster;
        self.load(at / PAGE)?;
        Ok(self.medium[&(at / PAGE)][(at % PAGE) as usize..][..4] == [0; 4])
    }

    /// Writes pages, and reads them back.
    fn write_pages(&mut self, pages: BTreeMap<u64, Vec<u8>>) -> Result<(), FlashFault> {
        if pages.is_empty() {
            return Ok(());
        }
        let mut runs: Vec<Range<u64>> = vec![];
        for page in pages.keys().copied() {
            match runs.last_mut() {
                Some(run) if run.end == page && page - run.start < PIECE / PAGE => run.end += 1,
                _ => runs.push(page..page + 1),
            }
        }
        let place = |run: &Range<u64>| self.range.start + run.start * PAGE;
        let room = |run: &Range<u64>| Buffer::new(((run.end - run.start) * PAGE) as usize);
        let ours = |run: &Range<u64>| {
            let mut ours = room(run);
            for (part, page) in ours.chunks_exact_mut(PAGE as usize).zip(run.clone()) {
                part.copy_from_slice(&pages[&page]);
            }
            ours
        };
        runs.iter().try_for_each(|run| self.store.write(place(run), &ours(run)))?;
        self.store.sync()?;
        for run in &runs {
            let (ours, mut theirs) = (ours(run), room(run));
            self.store.read(place(run), &mut theirs)?;
            if let Some(differ) = ours.iter().zip(&*theirs).position(|(a, b)| a != b) {
                let at = place(run) + differ as u64;
                return Err(FlashFault::Mismatch {
                    at,
                    ours: ours[differ],
                    theirs: theirs[differ],
                });
            }
        }
        self.written += pages.len() as u64 * PAGE;
        self.medium.extend(pages);
        Ok(())
    }

    /// Sees that `page` is in memory, with those around it.
    fn load(&mut self, page: u64) -> io::Result<()> {
        if self.medium.contains_key(&page) {
            return Ok(());
        }
        let start = page * PAGE / GRANULE * GRANULE;
        let end = (start + GRANULE).min(self.range.end - self.range.start);
        let mut bytes = Buffer::new((end - start) as usize);
        self.store.read(self.range.start + start, &mut bytes).map_err(io::Error::other)?;
        for (page, bytes) in (start / PAGE..).zip(bytes.chunks(PAGE as usize)) {
            self.medium.entry(page).or_insert_with(|| bytes.to_vec());
        }
        Ok(())
    }

    /// The page of the current place, the place in it, and how many of `wanted` bytes it has.
    fn locate(&mut self, wanted: usize) -> io::Result<(u64, Range<usize>)> {
        let left = (self.range.end - self.range.start).saturating_sub(self.at);
        let (page, inside) = (self.at / PAGE, (self.at % PAGE) as usize);
        let size = wanted.min(PAGE as usize - inside).min(left.try_into().unwrap_or(usize::MAX));
        if size > 0 {
            self.load(page)?;
        }
        Ok((page, inside..inside + size))
    }
}

fn unread(error: io::Error) -> fat::FatProblem {
    fat::FatProblem::Read { sector: 0, error }
}

/// A store from a place on.
struct Part<'a, S>(&'a S, u64);

impl<S: BlockDevice> ReadAt for Part<'_, S> {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        // Of whole pages, as direct I/O wants it.
        let start = at / PAGE * PAGE;
        let inside = (at - start) as usize;
        let mut pages = Buffer::new((inside + bytes.len()).next_multiple_of(ALIGNMENT));
        self.0.read(self.1 + start, &mut pages).map_err(io::Error::other)?;
        bytes.copy_from_slice(&pages[inside..inside + bytes.len()]);
        Ok(())
    }
}

impl<S: BlockDevice> Read for FatVolume<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (page, part) = self.locate(into.len())?;
        let size = part.len();
        if size > 0 {
            let bytes = self.dirty.get(&page).unwrap_or_else(|| &self.medium[&page]);
            into[..size].copy_from_slice(&bytes[part]);
            self.at += size as u64;
        }
        Ok(size)
    }
}

impl<S: BlockDevice> Write for FatVolume<'_, S> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let (page, part) = self.locate(from.len())?;
        let size = part.len();
        if size > 0 {
            let medium = &self.medium;
            let bytes = self.dirty.entry(page).or_insert_with(|| medium[&page].clone());
            bytes[part].copy_from_slice(&from[..size]);
            self.at += size as u64;
        }
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: BlockDevice> Seek for FatVolume<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => (self.range.end - self.range.start).checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
