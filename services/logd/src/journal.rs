//! The journal: what was read from the pipes and is not on disk yet. It is a `memfd_create(2)` that
//! PID 1 holds, as it holds the pipes, so that it outlives this process.
//!
//! Bytes move from a pipe to the journal by one `splice(2)`: if logd is killed at any moment, each
//! byte is either in the pipe or in the journal. The next logd replays the journal first; the store
//! has the position up to which everything is stored ([`Marks`](crate::store::Marks)).
//!
//! The first page holds `OCTETJNL`, the journal's ID, and the position of the first record (8 bytes
//! each). A record has a header of 64 bytes (`OCTJ`, length of the data, time, uptime, the unit's
//! name) and its data. The length is filled in once the data has arrived; until then all its bits
//! are ones, and the data extends to the end of the file. A record that starts with `OCTR` restates
//! a pending line, so that the records before it can be removed.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;
use rustix::pipe::{SpliceFlags, splice};

use crate::clock::BothClocks;

const MAGIC: [u8; 8] = *b"OCTETJNL";
const RECORD: [u8; 4] = *b"OCTJ";
const RESTATED: [u8; 4] = *b"OCTR";
const PAGE: u64 = 4096;
const HEADER: usize = 64;
const NAME: usize = 40;
const NOT_KNOWN: u32 = u32::MAX;

/// The maximum length of a record, in bytes; a longer one is damaged.
const LONGEST: u64 = 1 << 20;

#[derive(Debug)]
pub struct Journal {
    file: File,
    id: u64,
    /// Whether it was empty.
    new: bool,
    end: u64,
    /// The start and end of each remaining record.
    records: VecDeque<(u64, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeChunk {
    pub unit: String,
    pub now: BothClocks,
    pub at: u64,
    pub bytes: Vec<u8>,
    /// Whether they repeat the unit's pending line, and replace its earlier parts.
    pub restates: bool,
}

impl Journal {
    /// Opens `file`, and returns the journal with its content.
    ///
    /// # Errors
    /// It cannot be read or written. Invalid content is removed.
    pub fn open(file: OwnedFd) -> io::Result<(Self, Vec<PipeChunk>)> {
        let file = File::from(file);
        let length = file.metadata()?.len();
        let mut page = [0; 24];
        let known = length >= PAGE && file.read_exact_at(&mut page, 0).is_ok();
        let number = |at: usize| page[at..].first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
        let (id, begin) = (number(8), number(16));
        if !known || page[..8] != MAGIC || id == 0 || begin < PAGE || begin > length {
            let (id, new) = (random(), length == 0);
            let mut journal = Self { file, id, new, end: PAGE, records: VecDeque::new() };
            journal.begin()?;
            return Ok((journal, vec![]));
        }
        let mut journal = Self { file, id, new: false, end: begin, records: VecDeque::new() };
        let mut chunks = vec![];
        while let Some(chunk) = journal.read_record(length)? {
            chunks.push(chunk);
        }
        // A record without a length extends to the end of the file, so the file must end here.
        journal.file.set_len(journal.end)?;
        Ok((journal, chunks))
    }

    fn begin(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.set_len(PAGE)?;
        let page = [&MAGIC[..], &self.id.to_le_bytes(), &PAGE.to_le_bytes()].concat();
        self.file.write_all_at(&page, 0)
    }

    /// Reads the next record.
    fn read_record(&mut self, length: u64) -> io::Result<Option<PipeChunk>> {
        let data = self.end + HEADER as u64;
        let mut header = [0; HEADER];
        if data > length || self.file.read_exact_at(&mut header, self.end).is_err() {
            return Ok(None);
        }
        let number = |at: usize| header[at..].first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
        let (stated, rest) = ((number(0) >> 32) as u32, length - data);
        let count = if stated == NOT_KNOWN { rest } else { stated.into() };
        let restates = header[..4] == RESTATED;
        if !(restates || header[..4] == RECORD) || count == 0 || count > rest || count > LONGEST {
            return Ok(None);
        }
        let name = header[HEADER - NAME..].split(|&byte| byte == 0).next().unwrap_or_default();
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, data)?;
        if stated == NOT_KNOWN {
            self.file.write_all_at(&(count as u32).to_le_bytes(), self.end + 4)?;
        }
        self.records.push_back((self.end, data + count));
        self.end = data + count;
        let unit = String::from_utf8_lossy(name).into_owned();
        let now = BothClocks { wall: number(8), uptime: number(16) };
        Ok(Some(PipeChunk { unit, now, at: data, bytes, restates }))
    }

    /// The journal's ID, which is never 0.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether it was empty: this is the first logd since boot.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// The position of the end.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The size of the records, in bytes.
    pub fn size(&self) -> u64 {
        self.records.front().map_or(0, |(begin, _)| self.end - begin)
    }

    /// Moves at most `most` bytes of `unit` from `pipe`. `None` if the pipe is empty now; an empty
    /// chunk at its end of file.
    ///
    /// # Errors
    /// The journal is unusable; the bytes are still in the pipe.
    pub fn take(
        &mut self,
        pipe: impl AsFd,
        unit: &str,
        now: BothClocks,
        most: usize,
    ) -> io::Result<Option<PipeChunk>> {
        self.file.write_all_at(&header(RECORD, NOT_KNOWN, unit, now), self.end)?;
        let data = self.end + HEADER as u64;
        let mut offset = data;
        let flags = SpliceFlags::NONBLOCK;
        let count = match splice(pipe, None, &self.file, Some(&mut offset), most, flags) {
            Ok(count) => count,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let unit = unit.to_owned();
        if count == 0 {
            return Ok(Some(PipeChunk { unit, now, at: self.end, bytes: vec![], restates: false }));
        }
        self.file.write_all_at(&(count as u32).to_le_bytes(), self.end + 4)?;
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, data)?;
        self.records.push_back((self.end, data + count as u64));
        self.end = data + count as u64;
        Ok(Some(PipeChunk { unit, now, at: data, bytes, restates: false }))
    }

    /// Appends the pending line of `unit`, and returns its position; its earlier parts are not
    /// needed any more.
    pub fn restate(&mut self, unit: &str, now: BothClocks, line: &[u8]) -> io::Result<u64> {
        let length = u32::try_from(line.len()).map_err(io::Error::other)?;
        let record = [&header(RESTATED, length, unit, now)[..], line].concat();
        self.file.write_all_at(&record, self.end)?;
        let data = self.end + HEADER as u64;
        let end = self.end + record.len() as u64;
        self.records.push_back((self.end, end));
        self.end = end;
        Ok(data)
    }

    /// Removes everything before `position`.
    ///
    /// # Errors
    /// The kernel has not released the memory.
    pub fn forget(&mut self, position: u64) -> io::Result<()> {
        let gone = self.records.partition_point(|(_, end)| *end <= position);
        self.records.drain(..gone);
        let begin = self.records.front().map_or(self.end, |(begin, _)| *begin);
        self.file.write_all_at(&begin.to_le_bytes(), 16)?;
        let whole_pages = (begin / PAGE).saturating_sub(1) * PAGE;
        if whole_pages > 0 {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&self.file, flags, PAGE, whole_pages)?;
        }
        Ok(())
    }
}

fn header(kind: [u8; 4], length: u32, unit: &str, now: BothClocks) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&kind);
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..16].copy_from_slice(&now.wall.to_le_bytes());
    header[16..24].copy_from_slice(&now.uptime.to_le_bytes());
    let name = unit.as_bytes();
    let name = &name[..name.len().min(NAME)];
    header[HEADER - NAME..][..name.len()].copy_from_slice(name);
    header
}

/// A random ID.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // The time suffices instead, because the ID only distinguishes journals of one boot. `INSECURE`
    // does not block before the kernel's generator is ready, which would delay the boot.
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::INSECURE).is_err() {
        bytes = BothClocks::read().uptime.to_le_bytes();
    }
    u64::from_le_bytes(bytes).max(1)
}
