//! Blocks: compressed entries, with a header and checksums. All numbers are little-endian.
//!
//! | Bytes | Content |
//! |---|---|
//! | 8 | `OCTLOGB1` |
//! | 4, 4 | length of the zstd frame that follows the header; of what is in it |
//! | 4, 4 | count of entries; CRC-32 of the zstd frame |
//! | 8 | position of the block: number of the segment (upper half), offset in it (lower half) |
//! | 8, 8 | sequence number of the first and of the last entry |
//! | 8, 8 | earliest and latest time in it, microseconds since 1970 |
//! | 16 | the boot (`/proc/sys/kernel/random/boot_id`) |
//! | 8 | a bit for each unit in it: CRC-32 of its name modulo 64 |
//! | 8, 8, 8 | the [`Marks`]: kernel, journal, input |
//! | 4 | CRC-32 of the header up to here |
//!
//! A block is valid only at the position in its header, so that a unit cannot forge one by logging
//! its bytes.

use octet_node::boot::BootId;

use crate::entry::Entry;

use super::{contents, frame};

pub const MAGIC: [u8; 8] = *b"OCTLOGB1";

pub const HEADER: usize = 116;

/// The maximum size of a zstd frame, in bytes.
pub const MAX_STORED: usize = 80 << 10;

/// The positions in the inputs up to the last entry of a block. A restarted logd continues there,
/// so that nothing is stored twice or missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// The sequence number of the next kernel record (in this boot).
    pub kernel: u64,
    /// The ID of the [journal](crate::journal) that `input` belongs to; 0 for none.
    pub journal: u64,
    /// The position in the journal.
    pub input: u64,
}

/// The header of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The size of the zstd frame, in bytes.
    pub stored: u32,
    pub raw: u32,
    pub count: u32,
    pub checksum: u32,
    /// The position, see [`place`].
    pub place: u64,
    pub first: u64,
    pub last: u64,
    pub earliest: u64,
    pub latest: u64,
    /// The boot in which it was written.
    pub boot: BootId,
    /// A bit for each unit in it, see [`unit_bit`].
    pub units: u64,
    pub marks: Marks,
}

/// The position of a block, as encoded in its header.
pub fn place(segment: u32, offset: u32) -> u64 {
    u64::from(segment) << 32 | u64::from(offset)
}

/// The bit of `unit` in a header.
pub fn unit_bit(unit: &str) -> u64 {
    1 << (crc32fast::hash(unit.as_bytes()) % 64)
}

impl Header {
    /// The length of header and frame, in bytes.
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

    /// Parses a header; `None` if it is damaged, not at `place`, or exceeds a limit.
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

    /// Whether `frame` has the length and checksum of this header.
    pub fn is_whole(&self, frame: &[u8]) -> bool {
        frame.len() == self.stored as usize && crc32fast::hash(frame) == self.checksum
    }

    /// Decodes the entries in `frame`, the zstd frame of this block; `None` if it is damaged.
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

/// The data of a block in addition to its entries.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    pub boot: BootId,
    /// The positions in the inputs up to the last entry.
    pub marks: Marks,
}

/// Encodes a block of `entries`, as many as [`contents::fit`] returns, for position `place`.
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
