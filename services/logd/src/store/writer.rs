//! Writes the store: blocks are appended to the last segment, a full segment is followed by a new
//! one, and the oldest is removed above the limit. Opening the store repairs the end after a power
//! failure.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::entry::Entry;

use super::block::{self, Context, HEADER, Header, MAX_STORED, place};
use super::segment::{self, START, Segment};
use super::walk::{SegmentWalk, WalkStep};

#[derive(Debug, Clone, Copy)]
pub struct StoreLimits {
    /// The maximum size of a segment, in bytes.
    pub segment: u64,
    /// The maximum size of all segments, in bytes.
    pub total: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { segment: 1 << 20, total: 64 << 20 }
    }
}

impl StoreLimits {
    /// Adjusts the limits: a segment fits the largest block, and the total fits two segments.
    fn clamped(self) -> Self {
        let least = START + (HEADER + MAX_STORED) as u64;
        let total = self.total.max(2 * least);
        // A block's offset has 32 bits.
        Self { segment: self.segment.clamp(least, total / 2).min(u64::from(u32::MAX)), total }
    }
}

/// The state in which the store was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The incomplete bytes at the end, which were cut off.
    pub torn: u64,
    /// The number of damaged parts within the last segment.
    pub damaged: u64,
    /// The last valid block.
    pub last: Option<Header>,
}

#[derive(Debug)]
pub struct LogStore {
    folder: PathBuf,
    limits: StoreLimits,
    segments: Vec<Segment>,
    /// The last segment; `None` until a block starts a new one.
    file: Option<File>,
    /// The length of the last segment that is synced to disk, in bytes.
    synced: u64,
}

impl LogStore {
    /// Opens the store in `folder`, which is created if its parent exists.
    ///
    /// # Errors
    /// The folder or a file in it cannot be read or written.
    pub fn open(folder: &Path, limits: StoreLimits) -> io::Result<(Self, Recovered)> {
        if !folder.is_dir() {
            std::fs::create_dir(folder)?;
        }
        let (folder, limits) = (folder.to_owned(), limits.clamped());
        let mut store = Self { folder, limits, segments: vec![], file: None, synced: 0 };
        for number in segment::list(&store.folder)? {
            let file = segment::open(&store.folder, number)?;
            let bytes = file.metadata()?.len();
            let first =
                if segment::is_foreign(&file)? { None } else { first(&file, number, bytes)? };
            store.segments.push(Segment { number, first, bytes });
        }
        let mut recovered = Recovered::default();
        store.repair_last(&mut recovered)?;
        // A last segment without a block follows the one with the last block.
        for known in store.segments.iter().rev().skip(1) {
            if recovered.last.is_some() {
                break;
            }
            if known.first.is_some() {
                let file = segment::open(&store.folder, known.number)?;
                recovered.last = survey(&file, known.number, known.bytes)?.last;
            }
        }
        store.make_room(0)?;
        Ok((store, recovered))
    }

    /// Scans the last segment, and cuts off its incomplete end.
    fn repair_last(&mut self, recovered: &mut Recovered) -> io::Result<()> {
        let Some(last) = self.segments.last_mut() else {
            return Ok(());
        };
        let file = segment::open_for_writing(&self.folder, last.number)?;
        if segment::is_foreign(&file)? {
            return Ok(()); // a new segment follows it
        }
        let survey = survey(&file, last.number, last.bytes)?;
        recovered.damaged = survey.damaged;
        recovered.last = survey.last;
        recovered.torn = last.bytes.saturating_sub(survey.end);
        if recovered.torn > 0 {
            file.set_len(survey.end)?;
            file.sync_all()?;
            last.bytes = survey.end;
        }
        // A segment with a damaged header is not changed; a new segment follows it.
        if survey.end >= START {
            self.file = Some(file);
            self.synced = survey.end;
        }
        Ok(())
    }

    /// Appends a block of `entries` (as many as [`fit`](super::fit) returns). After the return it
    /// survives the end of this process, and after [`sync`](Self::sync) a power failure.
    ///
    /// # Errors
    /// The disk has failed. The caller must drop this store and open it again, which cuts off an
    /// incomplete block.
    pub fn append<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Entry> + Clone,
        context: Context,
    ) -> io::Result<()> {
        let full =
            |segment: &Segment| segment.bytes + (HEADER + MAX_STORED) as u64 > self.limits.segment;
        if self.segments.last().is_none_or(full) {
            self.sync()?;
            self.file = None;
        }
        if self.file.is_none() {
            self.begin_segment()?;
        }
        let (Some(file), Some(last)) = (&self.file, self.segments.last_mut()) else {
            return Ok(()); // `begin_segment` has opened one
        };
        let offset = u32::try_from(last.bytes).map_err(io::Error::other)?;
        let (header, block) = block::encode(entries, place(last.number, offset), context);
        file.write_all_at(&block, last.bytes)?;
        last.bytes += block.len() as u64;
        last.first.get_or_insert(header.first);
        Ok(())
    }

    /// Syncs all appended blocks to disk.
    pub fn sync(&mut self) -> io::Result<()> {
        if let (Some(file), Some(last)) = (&self.file, self.segments.last()) {
            file.sync_data()?;
            self.synced = last.bytes;
        }
        Ok(())
    }

    /// Closes the store after an error. The part that was not synced is cut off if possible,
    /// because its state on disk is unknown.
    pub fn abandon(self) {
        if let Some(file) = self.file {
            let _ = file.set_len(self.synced);
        }
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.make_room(self.limits.segment)?;
        let number = self.segments.last().map_or(1, |last| last.number.saturating_add(1));
        self.file = Some(segment::create(&self.folder, number)?);
        self.segments.push(Segment { number, first: None, bytes: START });
        self.synced = START;
        Ok(())
    }

    /// Removes the oldest segments until `more` bytes fit within the limit; the open segment is
    /// kept.
    fn make_room(&mut self, more: u64) -> io::Result<()> {
        let keep = usize::from(self.file.is_some());
        while self.segments.len() > keep && self.bytes() + more > self.limits.total {
            let oldest = self.segments.remove(0);
            match std::fs::remove_file(segment::path(&self.folder, oldest.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// All segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// The sequence number of the first entry of a segment.
fn first(file: &File, number: u32, bytes: u64) -> io::Result<Option<u64>> {
    let mut walk = SegmentWalk::new(file, number, START, bytes);
    loop {
        match walk.step()? {
            WalkStep::Block { header, .. } => return Ok(Some(header.first)),
            WalkStep::Damaged { .. } => {}
            WalkStep::End => return Ok(None),
        }
    }
}

struct Survey {
    /// The last valid block.
    last: Option<Header>,
    /// The end of that block, in bytes.
    end: u64,
    damaged: u64,
}

/// Scans a segment without decompressing, because the start of logd depends on it.
fn survey(file: &File, number: u32, bytes: u64) -> io::Result<Survey> {
    let mut walk = SegmentWalk::new(file, number, START, bytes);
    let mut survey = Survey { last: None, end: START.min(bytes), damaged: 0 };
    let mut bad = 0;
    loop {
        match walk.step()? {
            WalkStep::Block { at, header } => {
                if walk.is_whole(at, &header)? {
                    survey.damaged += std::mem::take(&mut bad);
                    survey.end = walk.at();
                    survey.last = Some(*header);
                } else {
                    bad += 1;
                }
            }
            WalkStep::Damaged { .. } => bad += 1,
            WalkStep::End => return Ok(survey),
        }
    }
}
