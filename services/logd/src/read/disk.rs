//! Reads batches of entries, from disk and then from memory.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs::File, io};

use crate::entry::Entry;
use crate::store::{self, Header, Segment, SegmentWalk, WalkStep, unit_bit};
use crate::tail::Tail;

use super::cursor::Cursor;

/// The text size after which a batch ends, in bytes.
const ENOUGH: usize = 32 << 10;

/// The number of blocks after which a batch ends, matching or not, so that other clients get a
/// turn.
const BLOCKS: usize = 256;

/// The maximum of `last` in a query, because the sequence numbers are held in memory.
const MAX_LAST: usize = 100_000;

/// Reads tail and store.
pub struct LogReader {
    pub tail: Arc<Tail>,
    pub folder: PathBuf,
}

/// An item of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchItem {
    /// A matching entry.
    Entry(Entry),
    /// So many entries, matching or not, do not exist any more.
    Missing(u64),
}

#[derive(Debug, Default)]
pub struct Batch {
    /// The items, in order.
    pub found: Vec<BatchItem>,
    /// The size of their text, in bytes.
    bytes: usize,
    /// The number of blocks that were read.
    blocks: usize,
    /// Whether there are no more entries for now.
    pub at_end: bool,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.bytes >= ENOUGH || self.blocks >= BLOCKS
    }

    /// Adds `entry`, the next one at `cursor`.
    fn take(&mut self, cursor: &mut Cursor, entry: &Entry) {
        if entry.sequence < cursor.next || (!cursor.query.follow && entry.sequence >= cursor.end) {
            return;
        }
        let missing = entry.sequence - cursor.next;
        if missing > 0 && cursor.started {
            self.found.push(BatchItem::Missing(missing));
        }
        cursor.started = true;
        cursor.next = entry.sequence + 1;
        if cursor.matches(entry) {
            self.bytes += entry.text.len() + 64;
            self.found.push(BatchItem::Entry(entry.clone()));
        }
    }
}

impl LogReader {
    /// Reads the next batch for `cursor`, and advances it. Unreadable blocks count as damaged.
    pub fn batch(&self, cursor: &mut Cursor) -> Batch {
        if let Some(count) = cursor.query.last.take() {
            self.seek_back(cursor, count.min(MAX_LAST));
        }
        let mut batch = Batch::default();
        while !batch.is_full() && !batch.at_end {
            match self.read_memory(cursor, &mut batch) {
                Some(segments) => self.read_disk(cursor, &segments, &mut batch),
                None if cursor.is_done() => batch.at_end = true,
                None => {}
            }
        }
        batch
    }

    /// Reads from memory. If earlier entries are on disk, returns the segments instead.
    fn read_memory(&self, cursor: &mut Cursor, batch: &mut Batch) -> Option<Vec<Segment>> {
        let state = self.tail.lock();
        if cursor.generation != state.generation {
            let step = state.generation - cursor.generation;
            (cursor.next, cursor.end) = (cursor.next + step, cursor.end + step);
            cursor.generation = state.generation;
        }
        if cursor.next < state.ring.first_sequence() && !is_exhausted(cursor, &state.segments) {
            return Some(state.segments.clone());
        }
        for item in state.ring.from(cursor.next) {
            if batch.is_full() {
                return None;
            }
            batch.take(cursor, &item.entry);
        }
        cursor.next = cursor.next.max(state.ring.next_sequence());
        batch.at_end = true;
        None
    }

    /// Reads blocks of `segments` until the batch is full or the segments end.
    fn read_disk(&self, cursor: &mut Cursor, segments: &[Segment], batch: &mut Batch) {
        for segment in &segments[start(cursor, segments)..] {
            let from = cursor.position.filter(|(number, _)| *number == segment.number);
            let from = from.map_or(0, |(_, offset)| offset);
            let read = store::open(&self.folder, segment.number)
                .and_then(|file| self.read_segment(cursor, &file, segment, from, batch));
            if let Err(error) = read
                && error.kind() != io::ErrorKind::NotFound
            {
                self.damaged(segment.number, cursor.position.map_or(0, |(_, offset)| offset));
            }
            if batch.is_full() {
                return;
            }
            cursor.position = Some((segment.number, segment.bytes));
        }
    }

    fn read_segment(
        &self,
        cursor: &mut Cursor,
        file: &File,
        segment: &Segment,
        from: u64,
        batch: &mut Batch,
    ) -> io::Result<()> {
        let mut walk = SegmentWalk::new(file, segment.number, from, segment.bytes);
        while !batch.is_full() {
            let step = walk.step()?;
            cursor.position = Some((segment.number, walk.at()));
            match step {
                WalkStep::End => break,
                WalkStep::Damaged { at, .. } => self.damaged(segment.number, at),
                WalkStep::Block { header, .. } if header.last < cursor.next => batch.blocks += 1,
                WalkStep::Block { header, .. } if !may_match(cursor, &header) => {
                    batch.blocks += 1;
                    skip(cursor, &header, batch);
                }
                WalkStep::Block { at, header } => {
                    batch.blocks += 1;
                    match walk.entries(at, &header)? {
                        Some(entries) => entries.iter().for_each(|e| batch.take(cursor, e)),
                        None => self.damaged(segment.number, at),
                    }
                }
            }
        }
        Ok(())
    }

    fn damaged(&self, segment: u32, at: u64) {
        self.tail.lock().stats.damaged_at(segment, at);
    }

    /// Moves `cursor` to the first of the last `count` matching entries.
    fn seek_back(&self, cursor: &mut Cursor, count: usize) {
        let (segments, memory_from, mut later) = {
            let state = self.tail.lock();
            let wanted = state.ring.from(0).rev().filter(|item| cursor.matches(&item.entry));
            let later: Vec<u64> = wanted.take(count).map(|item| item.entry.sequence).collect();
            cursor.end = state.ring.next_sequence();
            cursor.generation = state.generation;
            (state.segments.clone(), state.ring.first_sequence(), later)
        };
        for segment in segments.iter().rev() {
            if later.len() >= count {
                break;
            }
            let Ok(file) = store::open(&self.folder, segment.number) else { continue };
            let missing = count - later.len();
            let found = last_matching(cursor, &file, segment, memory_from, missing);
            later.extend(found.unwrap_or_default().into_iter().rev());
        }
        cursor.next = later.last().copied().unwrap_or(cursor.end);
        cursor.started = true;
    }
}

/// The sequence numbers of the last `count` entries of `segment` that match the query and are
/// before `end`.
fn last_matching(
    cursor: &Cursor,
    file: &File,
    segment: &Segment,
    end: u64,
    count: usize,
) -> io::Result<VecDeque<u64>> {
    let mut found = VecDeque::new();
    let mut walk = SegmentWalk::new(file, segment.number, 0, segment.bytes);
    loop {
        let (at, header) = match walk.step()? {
            WalkStep::Block { at, header } => (at, header),
            WalkStep::Damaged { .. } => continue,
            WalkStep::End => return Ok(found),
        };
        if header.first >= end || !may_match(cursor, &header) {
            continue;
        }
        for entry in walk.entries(at, &header)?.unwrap_or_default() {
            if entry.sequence < end && cursor.matches(&entry) {
                found.push_back(entry.sequence);
                if found.len() > count {
                    found.pop_front();
                }
            }
        }
    }
}

/// Whether a block can contain matching entries.
fn may_match(cursor: &Cursor, header: &Header) -> bool {
    header.latest >= cursor.query.since
        && cursor.query.boot.is_none_or(|boot| header.boot == boot)
        && cursor.query.unit.as_ref().is_none_or(|unit| header.units & unit_bit(unit) != 0)
}

/// Skips a block without matching entries.
fn skip(cursor: &mut Cursor, header: &Header, batch: &mut Batch) {
    if header.first > cursor.next && cursor.started {
        batch.found.push(BatchItem::Missing(header.first - cursor.next));
    }
    cursor.started = true;
    cursor.next = header.last + 1;
}

/// The index in `segments` to continue at: the segment of `cursor`, else the last one that starts
/// at or before its sequence number, else the first.
fn start(cursor: &Cursor, segments: &[Segment]) -> usize {
    let here =
        cursor.position.and_then(|(number, _)| segments.iter().position(|s| s.number == number));
    let begins_before = |segment: &Segment| segment.first.is_some_and(|first| first <= cursor.next);
    here.or_else(|| segments.iter().rposition(begins_before)).unwrap_or(0)
}

/// Whether `cursor` is at the end of the data on disk.
fn is_exhausted(cursor: &Cursor, segments: &[Segment]) -> bool {
    segments.last().is_none_or(|last| {
        cursor.position.is_some_and(|(number, at)| number == last.number && at >= last.bytes)
    })
}
