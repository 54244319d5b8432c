//! Iterates over the blocks of a segment, and skips damaged parts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::entry::Entry;

use super::block::{HEADER, Header, MAGIC, place};
use super::segment::START;

/// The size of reads while searching for the next block, in bytes.
const CHUNK: usize = 64 << 10;

/// An iterator over a segment.
pub struct SegmentWalk<'a> {
    file: &'a File,
    segment: u32,
    at: u64,
    end: u64,
}

/// The next part of a segment.
#[derive(Debug)]
pub enum WalkStep {
    /// A block with a valid header.
    Block {
        /// Its offset, in bytes.
        at: u64,
        header: Box<Header>,
    },
    /// Bytes that are no valid block.
    Damaged {
        at: u64,
        bytes: u64,
    },
    End,
}

impl<'a> SegmentWalk<'a> {
    /// Starts at offset `from` of `file`, which is segment `segment`, and ends before offset `end`.
    pub fn new(file: &'a File, segment: u32, from: u64, end: u64) -> Self {
        Self { file, segment, at: from.max(START), end }
    }

    /// The current offset, in bytes.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next block, or the damaged part before it.
    pub fn step(&mut self) -> io::Result<WalkStep> {
        let at = self.at;
        if at >= self.end {
            return Ok(WalkStep::End);
        }
        if let Some(header) = self.header(at)? {
            self.at = at + header.length();
            return Ok(WalkStep::Block { at, header: Box::new(header) });
        }
        self.at = self.find(at + 1)?;
        Ok(WalkStep::Damaged { at, bytes: self.at - at })
    }

    /// The entries of the block at `at`; `None` if its content is damaged.
    pub fn entries(&self, at: u64, header: &Header) -> io::Result<Option<Vec<Entry>>> {
        Ok(self.frame(at, header)?.and_then(|frame| header.entries(&frame)))
    }

    /// Whether the checksum of the block at `at` is correct.
    pub fn is_whole(&self, at: u64, header: &Header) -> io::Result<bool> {
        Ok(self.frame(at, header)?.is_some_and(|frame| header.is_whole(&frame)))
    }

    fn frame(&self, at: u64, header: &Header) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0; header.stored as usize];
        match self.file.read_exact_at(&mut frame, at + HEADER as u64) {
            Ok(()) => Ok(Some(frame)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The header at `at`, if it is valid and the block ends within the file.
    fn header(&self, at: u64) -> io::Result<Option<Header>> {
        let Ok(offset) = u32::try_from(at) else { return Ok(None) };
        if at + HEADER as u64 > self.end {
            return Ok(None);
        }
        let mut bytes = [0; HEADER];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let header = Header::parse(&bytes, place(self.segment, offset));
        Ok(header.filter(|header| at + header.length() <= self.end))
    }

    /// The offset of the next valid header at or after `at`; the end if there is none.
    fn find(&self, mut at: u64) -> io::Result<u64> {
        let mut chunk = vec![0; CHUNK];
        while at + (HEADER as u64) <= self.end {
            let wanted = usize::try_from(self.end - at).unwrap_or(CHUNK).min(CHUNK);
            let count = self.file.read_at(&mut chunk[..wanted], at)?;
            if count < MAGIC.len() {
                break;
            }
            for candidate in (0..=count - MAGIC.len()).filter(|&i| chunk[i..].starts_with(&MAGIC)) {
                if self.header(at + candidate as u64)?.is_some() {
                    return Ok(at + candidate as u64);
                }
            }
            at += (count - MAGIC.len() + 1) as u64;
        }
        Ok(self.end)
    }
}
