//! Blocks: some entries, compressed, with a header that says what is inside and whether it is
//! whole. All numbers are little-endian.
//!
//! | Bytes | Content |
//! |---|---|
//! | 8 | `OCTLOGB1` |
//! | 4, 4 | length of the zstd frame that follows the header; of what is in it |
//! | 4, 4 | count of entries; CRC-32 of the zstd frame |
//! | 8 | where the block stands: number of the segment (upper half), offset in it (lower half) |
//! | 8, 8 | sequence number of the first and of the last entry |
//! | 8, 8 | earliest and latest time in it, microseconds since 1970 |
//! | 16 | the boot (`/proc/sys/kernel/random/boot_id`) |
//! | 8 | a bit for each unit in it: CRC-32 of its name modulo 64 |
//! | 8, 8, 8 | the [`Marks`]: kernel, journal, input |
//! | 4 | CRC-32 of the header up to here |
//!
//! A block that is found elsewhere than where it says it stands is none: a unit cannot forge one by
//! writing its bytes as a line.

use octet_node::boot::BootId;

use crate::entry::Entry;

use super::{contents, frame};

/// What a block starts with.
pub const MAGIC: [u8; 8] = *b"OCTLOGB1";

pub const HEADER: usize = 116;

/// The longest zstd frame that is read or written, in bytes.
pub const MAX_STORED: usize = 80 << 10;

/// How far what comes in has been taken, as of the last entry of a block. A logd that starts goes
/// on from here: nothing is kept twice, nothing is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// The sequence number of the kernel's record that comes next (in this boot).
    pub kernel: u64,
    /// Which [journal](crate::journal) `input` is about; 0 for none.
    pub journal: u64,
    /// The position up to which it has been taken.
    pub input: u64,
}

/// What the header of a block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the zstd frame.
    pub stored: u32,
    pub raw: u32,
    pub count: u32,
    /// CRC-32 of the zstd frame.
    pub checksum: u32,
    /// Where it stands, see [`place`].
    pub place: u64,
    /// Sequence number of the first entry.
    pub first: u64,
    /// Sequence number of the last entry.
    pub last: u64,
    /// The earliest time in it.
    pub earliest: u64,
    /// The latest time in it.
    pub latest: u64,
    /// The boot it was written in.
    pub boot: BootId,
    /// A bit for each unit in it, see [`unit_bit`].
    pub units: u64,
    /// How far what comes in was taken.
    pub marks: Marks,
}

/// Where a block stands, as its header says it.
pub fn place(segment: u32, offset: u32) -> u64 {
    u64::from(segment) << 32 | u64::from(offset)
}

/// The bit that says that lines of `unit` are in a block.
pub fn unit_bit(unit: &str) -> u64 {
    1 << (crc32fast::hash(unit.as_bytes()) % 64)
}

impl Header {
    /// Length of the whole block.
    pub fn length(&self) -> u64 {
        HEADER as u64 + u64::from(self.stored)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for number in [self.stored, self.raw, self.count, self.checksum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.place, self.first, self.last, self.earliest, self.latest] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.boot.to_be_bytes());
        for number in [self.units, self.marks.kernel, self.marks.journal, self.marks.input] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// The header that `bytes` is, if it is whole, stands at `place` and keeps to the bounds.
    pub fn parse(bytes: &[u8], place: u64) -> Option<Self> {
        let (body, checksum) = bytes.get(..HEADER)?.split_at(HEADER - 4);
        let mut rest = body.strip_prefix(&MAGIC)?;
        if crc32fast::hash(body).to_le_bytes() != *checksum {
            return None;
        }
        let mut long = || u64_at(&mut rest);
        let (lengths, counts) = (long()?, long()?);
        let header = Self {
            stored: lengths as u32,
            raw: (lengths >> 32) as u32,
            count: counts as u32,
            checksum: (counts >> 32) as u32,
            place: long()?,
            first: long()?,
            last: long()?,
            earliest: long()?,
            latest: long()?,
            boot: (u128::from(long()?) | u128::from(long()?) << 64).swap_bytes(),
            units: long()?,
            marks: Marks { kernel: long()?, journal: long()?, input: long()? },
        };
        let sound = header.place == place
            && header.stored as usize <= MAX_STORED
            && header.raw as usize <= contents::MAX_RAW
            && header.first <= header.last;
        sound.then_some(header)
    }

    /// Whether `frame` is the zstd frame of this block, as it was written.
    pub fn is_whole(&self, frame: &[u8]) -> bool {
        frame.len() == self.stored as usize && crc32fast::hash(frame) == self.checksum
    }

    /// The entries in `frame`, the zstd frame of this block; `None` if it is damaged.
    pub fn entries(&self, frame: &[u8]) -> Option<Vec<Entry>> {
        let raw = self.is_whole(frame).then(|| frame::decompress(frame, self.raw as usize))??;
        contents::decode(&raw, self.first)
    }
}

fn u64_at(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

/// What a block needs to know beside its entries.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    pub boot: BootId,
    /// How far what comes in was taken, as of the last entry.
    pub marks: Marks,
}

/// A block of `entries`, which are as many as [`contents::fit`] says, to stand at `place`.
pub fn encode<'a>(
    entries: impl Iterator<Item = &'a Entry> + Clone,
    place: u64,
    context: Context,
) -> (Header, Vec<u8>) {
    let raw = contents::encode(entries.clone());
    let frame = frame::compress(&raw);
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let header = Header {
        stored: number(frame.len()),
        raw: number(raw.len()),
        count: number(entries.clone().count()),
        checksum: crc32fast::hash(&frame),
        place,
        first: entries.clone().map(|entry| entry.sequence).next().unwrap_or(0),
        last: entries.clone().map(|entry| entry.sequence).last().unwrap_or(0),
        earliest: entries.clone().map(|entry| entry.wall).min().unwrap_or(0),
        latest: entries.clone().map(|entry| entry.wall).max().unwrap_or(0),
        boot: context.boot,
        units: entries.fold(0, |bits, entry| bits | unit_bit(&entry.unit)),
        marks: context.marks,
    };
    let mut block = header.to_bytes();
    block.extend_from_slice(&frame);
    (header, block)
}
