//! The one who writes: what differs, and no more.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::buffer::Buffer;
use super::error::FlashFault;
use super::image::ImageFile;
use super::parallel::PieceBuffers;
use super::pieces::{GRANULE, MediumPart, PIECE, differing};
use super::target::FlashTarget;

/// The bytes that are read to guess whether all of a piece differs: one page.
const PAGE: usize = 4096;

/// The beginning of a disk, where its partition table is. It is brought last.
pub const HEAD: u64 = PIECE;

/// The bytes at the very beginning that are zero while the rest is written: the protective MBR and
/// the header of the partition table. No firmware and no kernel takes a disk without the first for
/// one with a table, not even by the table's copy at the disk's end.
const GUARD: usize = PAGE;

/// One image on its way to one target.
pub struct Writer<'a> {
    /// What it is to be.
    pub image: &'a ImageFile,
    pub target: &'a FlashTarget,
    /// What was written and not read back yet.
    written: Mutex<Vec<Range<u64>>>,
    /// Bytes that were found to be as they have to be.
    pub same: AtomicU64,
    /// Whether the beginning has been made invalid.
    guarded: Mutex<bool>,
    touched: AtomicBool,
}

impl<'a> Writer<'a> {
    pub fn new(image: &'a ImageFile, target: &'a FlashTarget) -> Self {
        Self {
            image,
            target,
            written: Mutex::default(),
            same: AtomicU64::new(0),
            guarded: Mutex::new(false),
            touched: AtomicBool::new(false),
        }
    }

    pub fn touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// What was written since this was asked last.
    pub fn take_written(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a piece behind the head what the image has there.
    pub fn write_piece(
        &self,
        hands: &mut PieceBuffers,
        piece: &MediumPart,
    ) -> Result<(), FlashFault> {
        let len = self.load(hands, piece)?;
        let runs = self.different(hands, piece.at.start, len)?;
        if !runs.is_empty() {
            self.guard()?;
        }
        self.write_ranges(hands, piece.at.start, len, runs)
    }

    /// Makes a piece of the head what the image has there. Pages count here, so that taking the
    /// guard away again writes no more than that.
    pub fn write_head(
        &self,
        hands: &mut PieceBuffers,
        piece: &MediumPart,
    ) -> Result<(), FlashFault> {
        let len = self.load(hands, piece)?;
        self.target.read(piece.at.start, &mut hands.theirs[..len])?;
        let mut runs = differing(&hands.ours[..len], &hands.theirs[..len], PAGE);
        // The table's header comes last.
        runs.reverse();
        self.write_ranges(hands, piece.at.start, len, runs)
    }

    fn load(&self, hands: &mut PieceBuffers, piece: &MediumPart) -> Result<usize, FlashFault> {
        let len = (piece.at.end - piece.at.start) as usize;
        match piece.hole {
            true => hands.ours[..len].fill(0),
            false => self.image.read(piece.at.start, &mut hands.ours[..len])?,
        }
        Ok(len)
    }

    /// Where the target differs from `hands.ours`.
    ///
    /// A medium on which all differs is not read as a whole before it is written: after a piece of
    /// which every granule differed, one whose first and last page differ is taken to differ in
    /// all of it. An island that does not, of less than a piece, is then written in vain.
    fn different(
        &self,
        hands: &mut PieceBuffers,
        at: u64,
        len: usize,
    ) -> Result<Vec<Range<usize>>, FlashFault> {
        if hands.all_differed && len > 2 * PAGE && self.page_ends_differ(hands, at, len)? {
            return Ok(std::iter::once(0..len).collect());
        }
        self.target.read(at, &mut hands.theirs[..len])?;
        let runs = differing(&hands.ours[..len], &hands.theirs[..len], GRANULE as usize);
        hands.all_differed = runs.first() == Some(&(0..len));
        Ok(runs)
    }

    fn page_ends_differ(
        &self,
        hands: &mut PieceBuffers,
        at: u64,
        len: usize,
    ) -> Result<bool, FlashFault> {
        let ends = [0..PAGE, len - PAGE..len];
        // Both at once, if the medium can.
        for end in &ends {
            self.target.prefetch_page(at + end.start as u64, PAGE as u64);
        }
        for end in ends {
            let page = &mut hands.theirs[..PAGE];
            self.target.read_page(at + end.start as u64, page)?;
            if *page == hands.ours[end] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_ranges(
        &self,
        hands: &PieceBuffers,
        at: u64,
        len: usize,
        runs: Vec<Range<usize>>,
    ) -> Result<(), FlashFault> {
        let mut put = 0;
        for run in runs {
            let start = at + run.start as u64;
            self.touched.store(true, Ordering::Relaxed);
            self.target.write(start, &hands.ours[run.clone()])?;
            put += run.len() as u64;
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.push(start..start + run.len() as u64);
        }
        self.same.fetch_add(len as u64 - put, Ordering::Relaxed);
        Ok(())
    }

    /// Before the first write: sees that the target starts no machine until all of it is there.
    fn guard(&self) -> Result<(), FlashFault> {
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        if *guarded {
            return Ok(());
        }
        let mut page = Buffer::new(GUARD.min(self.image.len() as usize));
        self.target.read(0, &mut page)?;
        if page.iter().any(|byte| *byte != 0) {
            page.fill(0);
            self.touched.store(true, Ordering::Relaxed);
            self.target.write(0, &page)?;
            self.target.sync()?;
        }
        *guarded = true;
        Ok(())
    }
}
