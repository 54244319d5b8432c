//! The content of a folder (the specification's "FAT Directory Structure" and "FAT Long Directory
//! Entries").

use std::mem::take;
use std::ops::Range;

use super::{FatFault, SECTOR, u16_at, u32_at};

/// Bytes of one slot. A file has one, preceded by those with parts of its long name.
pub const SLOT: usize = 32;

const NAME: usize = 11;
const ATTRIBUTES: usize = 11;
const SUM: usize = 13;
const FIRST_HIGH: usize = 20;
const FIRST_LOW: usize = 26;
const SIZE: usize = 28;

const FREE: u8 = 0;
const DELETED: u8 = 0xE5;
/// Stands for a first byte 0xE5 that belongs to the name.
const KANJI: u8 = 0x05;

const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const LONG: u8 = 0x0F;
const RESERVED: u8 = 0xC0;

/// Set in the part of a long name that is stored first, which is the name's end.
const LAST: u8 = 0x40;
const MAX_PARTS: u8 = 20;
/// Positions of the 13 characters of a part.
const UNITS: [Range<usize>; 3] = [1..11, 14..26, 28..32];

/// The entries `.` and `..`.
const DOTS: [&[u8]; 2] = [b".          ", b"..         "];

/// Bytes that no short name has.
const FORBIDDEN: &[u8] = b"\"*+,./:;<=>?[\\]|";

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The long name if it has one.
    pub name: String,
    /// Its slots, those of the long name first.
    pub slots: Range<usize>,
    pub is_folder: bool,
    /// Its first cluster; 0 if it has none.
    pub first: u32,
    /// Its size in bytes.
    pub size: u32,
}

/// The content of a folder.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DirectoryContent {
    /// Its files and folders, without `.` and `..` and without the volume's label.
    pub entries: Vec<DirectoryEntry>,
    /// Slots of long names that belong to no file.
    pub orphans: Vec<usize>,
}

/// A partly read long name.
#[derive(Default)]
struct LongName {
    slots: Range<usize>,
    /// Number of remaining parts.
    left: u8,
    sum: u8,
}

impl LongName {
    /// Begins a long name in the slot `index`.
    fn begin(index: usize, slot: &[u8]) -> Option<Self> {
        let left = slot[0].checked_sub(LAST).filter(|left| (1..=MAX_PARTS).contains(left))?;
        Some(Self { slots: index..index + 1, left: left - 1, sum: slot[SUM] })
    }

    /// Adds the part in `slot`, if it is the next one.
    fn append(&mut self, slot: &[u8]) -> bool {
        let next = self.left > 0 && slot[0] == self.left && slot[SUM] == self.sum;
        if next {
            self.left -= 1;
            self.slots.end += 1;
        }
        next
    }

    fn belongs_to(&self, slot: &[u8]) -> bool {
        !self.slots.is_empty() && self.left == 0 && self.sum == sum(&slot[..NAME])
    }
}

/// Reads a folder. As in the kernel, a slot that was never used does not end it.
///
/// # Errors
/// It has invalid content.
pub fn read(bytes: &[u8]) -> Result<DirectoryContent, FatFault> {
    let mut content = DirectoryContent::default();
    let mut long = LongName::default();
    for (index, slot) in bytes.chunks_exact(SLOT).enumerate() {
        let used = !matches!(slot[0], FREE | DELETED);
        if used && slot[ATTRIBUTES] == LONG {
            if !long.append(slot) {
                content.orphans.extend(take(&mut long).slots);
                match LongName::begin(index, slot) {
                    Some(new) => long = new,
                    None => content.orphans.push(index),
                }
            }
            continue;
        }
        let long = take(&mut long);
        let named = used && slot[ATTRIBUTES] & LABEL == 0;
        let is_long = named && long.belongs_to(slot);
        if !is_long {
            content.orphans.extend(long.slots.clone());
        }
        if !named || DOTS.contains(&&slot[..NAME]) {
            continue;
        }
        if !is_entry(slot) {
            return Err(FatFault::NoFolder);
        }
        content.entries.push(DirectoryEntry {
            name: if is_long {
                long_name(&bytes[long.slots.start * SLOT..index * SLOT])
            } else {
                short_name(slot)
            },
            slots: if is_long { long.slots.start } else { index }..index + 1,
            is_folder: slot[ATTRIBUTES] & FOLDER != 0,
            first: first_cluster(slot),
            size: u32_at(slot, SIZE),
        });
    }
    content.orphans.extend(long.slots);
    Ok(content)
}

/// Whether the first slot says that this is the folder at the cluster `first`.
pub fn is_at(bytes: &[u8], first: u32) -> bool {
    let slot = &bytes[..SLOT];
    &slot[..NAME] == DOTS[0] && slot[ATTRIBUTES] & FOLDER != 0 && first_cluster(slot) == first
}

/// Whether the folder's first sector, where the kernel begins to fill it, was never used.
pub fn begins_unused(bytes: &[u8]) -> bool {
    bytes[DOTS.len() * SLOT..SECTOR].iter().all(|byte| *byte == FREE)
}

/// Marks a slot as deleted.
pub fn delete(bytes: &mut [u8], slot: usize) {
    bytes[slot * SLOT] = DELETED;
}

/// Removes the clusters from the file in a slot.
pub fn empty(bytes: &mut [u8], slot: usize) {
    for (at, len) in [(FIRST_HIGH, 2), (FIRST_LOW, 2), (SIZE, 4)] {
        bytes[slot * SLOT + at..][..len].fill(0);
    }
}

/// Marks unused slots before used ones as deleted: firmware takes the first unused slot for the
/// end, the kernel does not. Returns whether there are any.
pub fn close_gaps(bytes: &mut [u8]) -> bool {
    let used = bytes.chunks_exact(SLOT).rposition(|slot| !matches!(slot[0], FREE | DELETED));
    let gaps = bytes.chunks_exact_mut(SLOT).take(used.unwrap_or(0)).filter(|slot| slot[0] == FREE);
    gaps.map(|slot| slot[0] = DELETED).count() > 0
}

fn first_cluster(slot: &[u8]) -> u32 {
    u32::from(u16_at(slot, FIRST_HIGH)) << 16 | u32::from(u16_at(slot, FIRST_LOW))
}

fn is_entry(slot: &[u8]) -> bool {
    let allowed = |byte: &u8| *byte >= b' ' && !FORBIDDEN.contains(byte);
    slot[ATTRIBUTES] & RESERVED == 0
        && (slot[0] == KANJI || slot[0] != b' ' && allowed(&slot[0]))
        && slot[1..NAME].iter().all(allowed)
}

fn short_name(slot: &[u8]) -> String {
    let (name, extension) = slot[..NAME].split_at(8);
    let name = text(name.iter().map(|byte| char::from(*byte)));
    let extension = text(extension.iter().map(|byte| char::from(*byte)));
    match extension.trim_end() {
        "" => name.trim_end().to_owned(),
        extension => format!("{}.{extension}", name.trim_end()),
    }
}

/// The long name in these slots, its end first.
fn long_name(slots: &[u8]) -> String {
    let parts = slots.rchunks_exact(SLOT);
    let units = parts.flat_map(|slot| UNITS.into_iter().flat_map(|it| slot[it].chunks_exact(2)));
    let units = units.map(|pair| u16_at(pair, 0)).take_while(|unit| *unit != 0);
    text(char::decode_utf16(units).map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER)))
}

/// A name for a log, without control characters.
fn text(letters: impl Iterator<Item = char>) -> String {
    letters.map(|it| if it.is_control() { char::REPLACEMENT_CHARACTER } else { it }).collect()
}

/// The checksum of the short name, which every part of the long name has.
fn sum(name: &[u8]) -> u8 {
    name.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}
