//! Writing an image onto the medium that a machine starts from: a whole disk, or a file.
//!
//! **What is written.** Image and target are compared in granules of 64 KiB, and only granules
//! that differ are written; the second time there is nothing to do. Holes of the image are zeros
//! that have to be on the target too: what was there before is overwritten, and where a file has a
//! hole itself it keeps it. What the target has behind the image's end is not ours and stays,
//! whether it is a disk or a longer file. That may be the copy of an older partition table at a
//! disk's end. It does no harm: whoever reads a disk asks for it only if the table at the
//! beginning is damaged, and the first start, which grows the last partition, overwrites it.
//!
//! **In which order.** A medium that is pulled out half-way must not start a machine with half an
//! old and half a new image. So, if anything behind the first MiB differs: the first page (MBR and
//! table header) becomes zero and is synced; then all behind the first MiB is written, synced and
//! read back; then the first MiB, its header last, is written, synced and read back. Only what
//! has been proved readable can be started.
//!
//! **What is verified.** Everything that was written is read back from the medium after it was
//! synced, past the page cache (`O_DIRECT`; where a file system has none, the cache is dropped
//! first), and compared with the image byte by byte. What compared equal before was just read, but
//! perhaps from the cache. A disk may answer from memory of its own; no program can see through
//! that. Behind a loop device the medium is its file, cache included.
//!
//! **Counterfeits.** A disk that keeps less than it says it has is found out by [`probe`] and does not start.
//!
//! **Why it is fast.** Four threads keep the medium busy. They see holes without reading them,
//! look at two pages of a piece only while everything differs (an island of less than 1 MiB that
//! does not is then written in vain), and write up to 1 MiB at once. The
//! way to the medium begins with the first piece, not with the sync at the end. Reading back is
//! not mixed with writing: cards and sticks do one thing at a time, and on the disk this was
//! measured on the mixture was slower than one after the other.
//!
//! **What is kept.** With `--keep-data` none of this: see [`keep_data`]. There a medium that is pulled out
//! half-way starts what it started before, or the new slot.

mod block;
pub mod board;
mod buffer;
mod check;
mod confirm;
mod data;
mod error;
mod extents;
mod hardware;
mod image;
mod in_use;
mod keep_data;
mod mounts;
mod node_key;
mod parallel;
mod pieces;
mod probe;
mod slots;
mod target;
mod volume;
mod watch;
mod writer;

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use block::Host;
pub use check::{PathContent, inspect};
pub use confirm::{ALL_LOST, confirm};
pub use error::{FlashError, KeepDataError};
pub use hardware::{BUILT_FOLDER, FirmwarePackages, Hardware, OwnFirmware};
pub use image::ImageFile;
pub use keep_data::{KeepDataPlan, SlotWork};
pub use target::FlashTarget;
pub use watch::{FlashPhase, Unwatched, Watch};

use error::FlashFault;
use parallel::{PieceBuffers, for_each};
use pieces::{MediumPart, cut};
use probe::CapacityProbe;
use volume::BlockDevice;
use writer::{HEAD, Writer};

/// What was done. All but the times in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlashReport {
    pub size: u64,
    /// What was read from the target and was as it has to be; the rest were holes of both.
    pub same: u64,
    /// What was written of the image.
    pub written: u64,
    /// What of that was read back from the medium: all of it.
    pub verified: u64,
    /// From the first look at the target until all is on the medium, without reading back.
    pub writing: Duration,
    pub verifying: Duration,
}

/// Makes the beginning of `target` byte for byte what `image` is.
///
/// # Errors
/// It does not fit, a disk was pulled out or does not keep what it is given, somebody asked to
/// stop. The error says whether anything had been written.
pub fn flash(
    image: &ImageFile,
    target: &FlashTarget,
    watch: &dyn Watch,
) -> Result<FlashReport, FlashError> {
    target.check_fits(image)?;
    let writer = Writer::new(image, target);
    run(&writer, watch).map_err(|fault| FlashError::Failed {
        path: target.path().to_owned(),
        touched: writer.touched(),
        fault,
    })
}

/// Decides how the slot of `image` gets onto `target`, of which all else is kept. Nothing is written.
///
/// # Errors
/// It cannot be done without losing something; the error says what.
pub fn plan_keep_data(image: &ImageFile, target: &FlashTarget) -> Result<KeepDataPlan, FlashError> {
    target.check_fits(image)?;
    keep_data::plan_slot_update((image, &image.layout()?), (target, target.layout()))
        .map_err(|why| FlashError::KeepData { path: target.path().to_owned(), why })
}

/// Does what `keep` says. Returns how many bytes were written and read back.
///
/// # Errors
/// A disk was pulled out or does not keep what it is given, somebody asked to stop.
pub fn flash_slot(
    keep: &KeepDataPlan,
    image: &ImageFile,
    target: &FlashTarget,
    watch: &dyn Watch,
) -> Result<u64, FlashError> {
    watch.begin(FlashPhase::Slot, keep.size());
    keep.apply((image, &image.layout()?), &Stoppable(target, watch))
        .map_err(|fault| FlashError::Unfinished { path: target.path().to_owned(), fault })
}

/// A target that takes nothing more once it is to stop.
struct Stoppable<'a>(&'a FlashTarget, &'a dyn Watch);

impl BlockDevice for Stoppable<'_> {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault> {
        BlockDevice::read(self.0, at, into)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), FlashFault> {
        if self.1.stopped() {
            return Err(FlashFault::Stopped);
        }
        self.1.advance(bytes.len() as u64);
        self.0.write(at, bytes)
    }

    fn sync(&self) -> Result<(), FlashFault> {
        self.0.sync()
    }
}

fn run(writer: &Writer<'_>, watch: &dyn Watch) -> Result<FlashReport, FlashFault> {
    let (image, target) = (writer.image, writer.target);
    let mut report = FlashReport { size: image.len(), ..FlashReport::default() };
    let began = Instant::now();
    target.grow(image.len())?;
    // A file is as long as it says.
    let says = if target.disk().is_some() { target.size() } else { 0 };
    let probe = CapacityProbe::begin(target, image.len(), says)?;
    let brought = write_image(writer, watch, &probe, &mut report, began);
    if !matches!(brought, Err(FlashFault::Counterfeit { .. })) {
        brought.and(probe.undo())?;
        return Ok(report);
    }
    brought.map(|()| report)
}

/// Brings the image, its head last.
fn write_image(
    writer: &Writer<'_>,
    watch: &dyn Watch,
    probe: &CapacityProbe<'_, FlashTarget>,
    report: &mut FlashReport,
    began: Instant,
) -> Result<(), FlashFault> {
    let (image, target) = (writer.image, writer.target);
    let head = HEAD.min(image.len());
    let body = pieces::pieces(head..image.len(), image.data(), &target.data(image.len())?);
    watch.begin(FlashPhase::Write, body.iter().map(|piece| piece.at.end - piece.at.start).sum());
    for_each(&body, watch, |hands, piece| {
        writer.write_piece(hands, piece)?;
        watch.advance(piece.at.end - piece.at.start);
        Ok(())
    })?;
    sync_and_verify(writer, report, began, watch)?;
    // What is proved to be on a counterfeit does not stay there for long, so it is not to start.
    probe.check()?;
    // From here on it is done sooner than stopped. Not by holes: the guard may be in one.
    let began = Instant::now();
    let head = [MediumPart { at: 0..head, hole: false }];
    for_each(&head, &Unwatched, |hands, piece| writer.write_head(hands, piece))?;
    sync_and_verify(writer, report, began, &Unwatched)?;
    target.check_length(image.len())?;
    report.same = writer.same.load(Ordering::Relaxed);
    Ok(())
}

/// Sees that what was written is on the medium, and is what it should be.
fn sync_and_verify(
    writer: &Writer<'_>,
    report: &mut FlashReport,
    began: Instant,
    watch: &dyn Watch,
) -> Result<(), FlashFault> {
    let written = cut(writer.take_written());
    let size: u64 = written.iter().map(|range| range.end - range.start).sum();
    if size > 0 {
        writer.target.sync()?;
    }
    report.writing += began.elapsed();
    report.written += size;
    if size > 0 {
        let began = Instant::now();
        watch.begin(FlashPhase::Verify, size);
        for_each(&written, watch, |hands, range| {
            verify(writer, hands, range)?;
            watch.advance(range.end - range.start);
            Ok(())
        })?;
        report.verifying += began.elapsed();
        report.verified += size;
    }
    Ok(())
}

/// Reads back what was written at `range`.
fn verify(
    writer: &Writer<'_>,
    buffers: &mut PieceBuffers,
    range: &Range<u64>,
) -> Result<(), FlashFault> {
    let len = (range.end - range.start) as usize;
    let (ours, theirs) = (&mut buffers.ours[..len], &mut buffers.theirs[..len]);
    writer.image.read(range.start, ours)?;
    writer.target.read_medium(range.start, theirs)?;
    if ours != theirs {
        let differ = ours.iter().zip(&*theirs).position(|(a, b)| a != b).unwrap_or(0);
        return Err(FlashFault::Mismatch {
            at: range.start + differ as u64,
            ours: ours[differ],
            theirs: theirs[differ],
        });
    }
    Ok(())
}
