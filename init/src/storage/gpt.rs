//! The partition table (UEFI Specification 2.10, chapter 5.3), as far as needed to grow the data
//! partition: which bytes are written where, and in which order. Nothing here accesses a disk.
//!
//! The order makes a power cut harmless. First the backup table is written at the disk's new end,
//! then, in one write, the primary header with the changed entries. After a cut one of the two
//! tables is valid, firmware and kernel use that one, and the next boot completes the rest.

/// Bytes of a sector: the only size that the image supports.
pub const SECTOR: usize = 512;
/// Relevant sectors at the start of the disk: protective MBR, header, 128 entries.
pub const HEAD: u64 = 34;
/// Relevant sectors at its end: 128 entries, header.
pub const TAIL: u64 = 33;

/// Sectors that are written together at the start: MBR, header and the first 24 entries.
const FIRST_WRITE: usize = 8;
const ENTRY: usize = 128;
const ENTRIES: usize = 128;
const HEADER: usize = 92;
/// Partitions start and end at multiples of 1 MiB.
const ALIGN: u64 = 2048;
/// Offsets of the type and of the sector count in the first entry of the MBR.
const MBR_TYPE: usize = 446 + 4;
const MBR_SECTORS: usize = 446 + 12;
/// The type of an entry that protects a GPT (UEFI Specification 2.10, 5.2.3).
const PROTECTIVE: u8 = 0xee;

/// Position of the partition's unique GUID in an entry.
const GUID: std::ops::Range<usize> = 16..32;
/// The GUID that the builder gives every EFI system partition (image/src/output/gpt.rs), so that
/// builds are reproducible: 0c7e7000-0000-4000-8000-000000000002, of which the first three fields
/// are little-endian.
const COMMON: [u8; 16] = [0, 0x70, 0x7e, 0x0c, 0, 0, 0, 0x40, 0x80, 0, 0, 0, 0, 0, 0, 2];

/// The extent of the data partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionExtent {
    /// Its first sector.
    pub first: u64,
    /// Its number of sectors.
    pub sectors: u64,
}

/// One write; each must be on the medium before the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableWrite {
    /// The first sector.
    pub sector: u64,
    /// Whole sectors.
    pub bytes: Vec<u8>,
}

/// The plan for growing the data partition to the disk's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrowthPlan {
    /// The partition's new extent.
    pub data: PartitionExtent,
    /// The writes in order; empty if both tables are already correct.
    pub writes: Vec<TableWrite>,
}

/// Why there is no plan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableProblem {
    #[error("neither the partition table nor its backup is whole")]
    NoTable,
    /// There is no data partition.
    #[error("the partition table has no partition {0}")]
    NoPartition(String),
    /// Another partition follows it.
    #[error("a partition follows {0}, so it cannot grow")]
    NotLast(String),
    /// The disk ends before the partition does.
    #[error("the disk has {sectors} sectors, but {name} ends at sector {last}")]
    TooSmall {
        sectors: u64,
        name: String,
        /// The partition's last sector.
        last: u64,
    },
}

/// A valid table.
struct Table<'a> {
    header: &'a [u8],
    entries: &'a [u8],
}

/// Plans for a disk of `sectors` sectors, of which `head` are the first [`HEAD`] and `tail` the
/// last [`TAIL`]; the partition named `name` grows. A partition that still has the builder's GUID
/// gets `new_guid`.
pub fn plan(
    head: &[u8],
    tail: &[u8],
    sectors: u64,
    name: &str,
    new_guid: Option<&[u8; 16]>,
) -> Result<GrowthPlan, TableProblem> {
    if sectors < HEAD + TAIL {
        return Err(TableProblem::NoTable);
    }
    let primary = primary(head);
    let backup = backup(tail, sectors);
    let source = primary.as_ref().or(backup.as_ref()).ok_or(TableProblem::NoTable)?;
    let index = (0..ENTRIES)
        .find(|&index| entry_name(entry(source.entries, index)) == name)
        .ok_or_else(|| TableProblem::NoPartition(name.to_owned()))?;
    let data = entry(source.entries, index);
    let (first, last) = (u64_at(data, 32), u64_at(data, 40));
    let others = (0..ENTRIES).filter(|&other| other != index);
    if others.map(|other| entry(source.entries, other)).any(|it| used(it) && u64_at(it, 32) > first)
    {
        return Err(TableProblem::NotLast(name.to_owned()));
    }
    let end = sectors.saturating_sub(TAIL) / ALIGN * ALIGN;
    if first >= end || last >= end {
        return Err(TableProblem::TooSmall { sectors, name: name.to_owned(), last });
    }
    let extent = PartitionExtent { first, sectors: end - first };

    let mut entries = source.entries.to_vec();
    entries[index * ENTRY + 40..index * ENTRY + 48].copy_from_slice(&(end - 1).to_le_bytes());
    if let Some(own) = new_guid {
        let mut guids = entries.chunks_exact_mut(ENTRY).map(|entry| &mut entry[GUID]);
        if let Some(common) = guids.find(|guid| **guid == COMMON) {
            common.copy_from_slice(own);
        }
    }
    let new_primary = header(source.header, &entries, sectors, TableCopy::Primary);
    let new_backup = header(source.header, &entries, sectors, TableCopy::Backup);
    let mut new_head = head.to_vec();
    // The first entry of a disk for boards is the EFI system partition, for boot ROMs that know no
    // other table. What protects the GPT ends before that partition, so nothing of it grows.
    if head[MBR_TYPE] == PROTECTIVE {
        let covered = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
        new_head[MBR_SECTORS..MBR_SECTORS + 4].copy_from_slice(&covered.to_le_bytes());
    }
    new_head[SECTOR..SECTOR + HEADER].copy_from_slice(&new_primary);
    new_head[SECTOR + HEADER..2 * SECTOR].fill(0);
    new_head[2 * SECTOR..].copy_from_slice(&entries);
    let mut new_tail = entries;
    new_tail.extend(&new_backup);
    new_tail.resize(tail.len(), 0);

    let mut writes = vec![];
    if new_tail != tail {
        writes.push(TableWrite { sector: sectors - TAIL, bytes: new_tail });
    }
    // These differ only if the primary table was invalid, so nobody reads them yet.
    let rest = FIRST_WRITE * SECTOR;
    if new_head[rest..] != head[rest..] {
        writes.push(TableWrite { sector: FIRST_WRITE as u64, bytes: new_head[rest..].to_vec() });
    }
    if new_head[..rest] != head[..rest] {
        writes.push(TableWrite { sector: 0, bytes: new_head[..rest].to_vec() });
    }
    Ok(GrowthPlan { data: extent, writes })
}

/// The unique GUID of the partition `name`, in lower case, of a disk as in [`plan`].
pub fn partition_guid(head: &[u8], tail: &[u8], sectors: u64, name: &str) -> Option<String> {
    if sectors < HEAD + TAIL {
        return None;
    }
    let table = primary(head).or_else(|| backup(tail, sectors))?;
    let mut entries = (0..ENTRIES).map(|index| entry(table.entries, index));
    let guid = &entries.find(|it| entry_name(it) == name)?[GUID];
    let (low, middle) = (u32_at(guid, 0), u32_at(guid, 4));
    let (time_mid, time_high) = (middle & 0xffff, middle >> 16);
    let rest: String = guid[8..].iter().map(|byte| format!("{byte:02x}")).collect();
    let (clock, node) = rest.split_at(4);
    Some(format!("{low:08x}-{time_mid:04x}-{time_high:04x}-{clock}-{node}"))
}

fn primary(head: &[u8]) -> Option<Table<'_>> {
    let (header, entries) = (&head[SECTOR..2 * SECTOR], &head[2 * SECTOR..]);
    is_valid(header, entries, 1, 2).then_some(Table { header, entries })
}

fn backup(tail: &[u8], sectors: u64) -> Option<Table<'_>> {
    let (entries, header) = tail.split_at(ENTRIES * ENTRY);
    is_valid(header, entries, sectors - 1, sectors - TAIL).then_some(Table { header, entries })
}

/// Whether a header and its entries are valid at this position, and as the image needs them.
fn is_valid(header: &[u8], entries: &[u8], at: u64, entries_at: u64) -> bool {
    let mut summed = header[..HEADER].to_vec();
    summed[16..20].fill(0);
    header.starts_with(b"EFI PART")
        && u32_at(header, 12) == HEADER as u32
        && u32_at(header, 16) == crc32fast::hash(&summed)
        && u64_at(header, 24) == at
        && u64_at(header, 72) == entries_at
        && u32_at(header, 80) == ENTRIES as u32
        && u32_at(header, 84) == ENTRY as u32
        && u32_at(header, 88) == crc32fast::hash(entries)
}

#[derive(Clone, Copy)]
enum TableCopy {
    Primary,
    Backup,
}

/// The header for this position, derived from a valid one.
fn header(source: &[u8], entries: &[u8], sectors: u64, place: TableCopy) -> [u8; HEADER] {
    let (at, other, entries_at) = match place {
        TableCopy::Primary => (1, sectors - 1, 2),
        TableCopy::Backup => (sectors - 1, 1, sectors - TAIL),
    };
    let mut header = [0; HEADER];
    header.copy_from_slice(&source[..HEADER]);
    header[24..32].copy_from_slice(&at.to_le_bytes());
    header[32..40].copy_from_slice(&other.to_le_bytes());
    header[48..56].copy_from_slice(&(sectors - TAIL - 1).to_le_bytes());
    header[72..80].copy_from_slice(&entries_at.to_le_bytes());
    header[88..92].copy_from_slice(&crc32fast::hash(entries).to_le_bytes());
    header[16..20].fill(0);
    let sum = crc32fast::hash(&header);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    header
}

fn entry(entries: &[u8], index: usize) -> &[u8] {
    &entries[index * ENTRY..(index + 1) * ENTRY]
}

fn used(entry: &[u8]) -> bool {
    entry[..16].iter().any(|&byte| byte != 0)
}

/// The name of a used entry: 36 UTF-16 units, terminated by zero.
fn entry_name(entry: &[u8]) -> String {
    if !used(entry) {
        return String::new();
    }
    let units = entry[56..].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units.take_while(|&unit| unit != 0))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
#[path = "gpt/tests.rs"]
mod tests;
