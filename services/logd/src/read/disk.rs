//! A batch of entries, from disk and then from memory.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs::File, io};

use crate::entry::Entry;
use crate::store::{self, Header, Segment, SegmentWalk, WalkStep, unit_bit};
use crate::tail::Tail;

use super::cursor::Cursor;

/// A batch ends after this many bytes of text.
const ENOUGH: usize = 32 << 10;

/// A batch ends after this many blocks, whether something was found or not: others wait too.
const BLOCKS: usize = 256;

/// How many lines can be asked for with `last`; their sequence numbers are held in memory.
const MAX_LAST: usize = 100_000;

/// Looks in tail and store.
pub struct LogReader {
    pub tail: Arc<Tail>,
    /// The folder of the store.
    pub folder: PathBuf,
}

/// What a batch is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchItem {
    /// An entry that is wanted.
    Entry(Entry),
    /// This many entries, wanted or not, are not there any more.
    Missing(u64),
}

#[derive(Debug, Default)]
pub struct Batch {
    /// What was found, in order.
    pub found: Vec<BatchItem>,
    /// Bytes of text in it.
    bytes: usize,
    /// Blocks that were looked at.
    blocks: usize,
    /// There is nothing more now.
    pub at_end: bool,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.bytes >= ENOUGH || self.blocks >= BLOCKS
    }

    /// Takes `entry`, which comes next at `cursor`.
    fn take(&mut self, cursor: &mut Cursor, entry: &Entry) {
        if entry.sequence < cursor.next || (!cursor.wanted.follow && entry.sequence >= cursor.end) {
            return;
        }
        let missing = entry.sequence - cursor.next;
        if missing > 0 && cursor.begun {
            self.found.push(BatchItem::Missing(missing));
        }
        cursor.begun = true;
        cursor.next = entry.sequence + 1;
        if cursor.wants(entry) {
            self.bytes += entry.text.len() + 64;
            self.found.push(BatchItem::Entry(entry.clone()));
        }
    }
}

impl LogReader {
    /// The next batch for `cursor`, which moves on. What cannot be read counts as damaged.
    pub fn batch(&self, cursor: &mut Cursor) -> Batch {
        if let Some(count) = cursor.wanted.last.take() {
            self.go_back(cursor, count.min(MAX_LAST));
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

    /// Takes what is in memory. If something before that is on disk, returns the segments instead.
    fn read_memory(&self, cursor: &mut Cursor, batch: &mut Batch) -> Option<Vec<Segment>> {
        let state = self.tail.lock();
        if cursor.moved != state.moved {
            let step = state.moved - cursor.moved;
            (cursor.next, cursor.end) = (cursor.next + step, cursor.end + step);
            cursor.moved = state.moved;
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

    /// Takes blocks of `segments` until the batch is full or there are no more.
    fn read_disk(&self, cursor: &mut Cursor, segments: &[Segment], batch: &mut Batch) {
        for segment in &segments[start(cursor, segments)..] {
            let from = cursor.place.filter(|(number, _)| *number == segment.number);
            let from = from.map_or(0, |(_, offset)| offset);
            let read = store::open(&self.folder, segment.number)
                .and_then(|file| self.read_segment(cursor, &file, segment, from, batch));
            if let Err(error) = read
                && error.kind() != io::ErrorKind::NotFound
            {
                self.damaged(segment.number, cursor.place.map_or(0, |(_, offset)| offset));
            }
            if batch.is_full() {
                return;
            }
            cursor.place = Some((segment.number, segment.bytes));
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
            cursor.place = Some((segment.number, walk.at()));
            match step {
                WalkStep::End => break,
                WalkStep::Damaged { at, .. } => self.damaged(segment.number, at),
                WalkStep::Block { header, .. } if header.last < cursor.next => batch.blocks += 1,
                WalkStep::Block { header, .. } if !may_have(cursor, &header) => {
                    batch.blocks += 1;
                    pass(cursor, &header, batch);
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

    /// Sets `cursor` to the first of the last `count` entries that it wants.
    fn go_back(&self, cursor: &mut Cursor, count: usize) {
        let (segments, memory_from, mut later) = {
            let state = self.tail.lock();
            let wanted = state.ring.from(0).rev().filter(|item| cursor.wants(&item.entry));
            let later: Vec<u64> = wanted.take(count).map(|item| item.entry.sequence).collect();
            cursor.end = state.ring.next_sequence();
            cursor.moved = state.moved;
            (state.segments.clone(), state.ring.first_sequence(), later)
        };
        for segment in segments.iter().rev() {
            if later.len() >= count {
                break;
            }
            let Ok(file) = store::open(&self.folder, segment.number) else { continue };
            let missing = count - later.len();
            let found = last_wanted(cursor, &file, segment, memory_from, missing);
            later.extend(found.unwrap_or_default().into_iter().rev());
        }
        cursor.next = later.last().copied().unwrap_or(cursor.end);
        cursor.begun = true;
    }
}

/// The sequence numbers of the last `count` entries of `segment` that `cursor` wants and that come
/// before `end`.
fn last_wanted(
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
        if header.first >= end || !may_have(cursor, &header) {
            continue;
        }
        for entry in walk.entries(at, &header)?.unwrap_or_default() {
            if entry.sequence < end && cursor.wants(&entry) {
                found.push_back(entry.sequence);
                if found.len() > count {
                    found.pop_front();
                }
            }
        }
    }
}

/// Whether a block may have entries that `cursor` wants.
fn may_have(cursor: &Cursor, header: &Header) -> bool {
    header.latest >= cursor.wanted.since
        && cursor.wanted.boot.is_none_or(|boot| header.boot == boot)
        && cursor.wanted.unit.as_ref().is_none_or(|unit| header.units & unit_bit(unit) != 0)
}

/// Passes by a block whose entries are not wanted.
fn pass(cursor: &mut Cursor, header: &Header, batch: &mut Batch) {
    if header.first > cursor.next && cursor.begun {
        batch.found.push(BatchItem::Missing(header.first - cursor.next));
    }
    cursor.begun = true;
    cursor.next = header.last + 1;
}

/// Which of `segments` to go on with: the one where `cursor` is, else the last that begins at or
/// before its sequence number, else the first.
fn start(cursor: &Cursor, segments: &[Segment]) -> usize {
    let here =
        cursor.place.and_then(|(number, _)| segments.iter().position(|s| s.number == number));
    let begins_before = |segment: &Segment| segment.first.is_some_and(|first| first <= cursor.next);
    here.or_else(|| segments.iter().rposition(begins_before)).unwrap_or(0)
}

/// Whether `cursor` has seen all that is on disk.
fn is_exhausted(cursor: &Cursor, segments: &[Segment]) -> bool {
    segments.last().is_none_or(|last| {
        cursor.place.is_some_and(|(number, at)| number == last.number && at >= last.bytes)
    })
}
