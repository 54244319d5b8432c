//! The partition table of an image (UEFI 2.10, chapter 5).

use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::ops::Range;

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{EFI, LINUX_FS, Type};
use gpt::{DiskDevice, GptConfig};
use uuid::Uuid;

use super::sparse::Sparse;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;

const MIB: u64 = 1 << 20;

/// The name of the ESP in the table.
const ESP_NAME: &str = "octet-esp";

/// The name of the data partition in the table.
pub const DATA_NAME: &str = "octet-data";

/// Where the ESP begins, in bytes; before it is the table.
pub const ESP_START: u64 = MIB;

/// Bytes of the ESP: two slots and one that is being written, each of up to 82 MiB.
pub const ESP_SIZE: u64 = 256 * MIB;

/// Bytes of the data partition, until the first start grows it to the end of the flash.
const DATA_SIZE: u64 = 16 * MIB;

/// Bytes of the whole disk; the last MiB has the table's backup.
pub const DISK_SIZE: u64 = ESP_START + ESP_SIZE + DATA_SIZE + MIB;

/// The disk's GUID. It is the same in every image: the bytes of an image are, too.
const DISK_GUID: u128 = 0x0c7e_7000_0000_4000_8000_0000_0000_0001;

/// Writes the table onto `disk`, which has [`DISK_SIZE`] bytes.
pub fn write(disk: &mut Sparse) -> Result<(), String> {
    // The whole disk but this sector.
    let covered = u32::try_from(DISK_SIZE / SECTOR - 1).map_err(|error| error.to_string())?;
    ProtectiveMBR::with_lb_size(covered).overwrite_lba0(disk).map_err(|error| error.to_string())?;
    let esp = partition(EFI, DISK_GUID + 1, ESP_START, ESP_SIZE, ESP_NAME);
    let data = partition(LINUX_FS, DISK_GUID + 2, ESP_START + ESP_SIZE, DATA_SIZE, DATA_NAME);
    // Not `add_partition`: that would give random GUIDs.
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(disk, Some(Uuid::from_u128(DISK_GUID)))
        .map_err(|error| error.to_string())?;
    table
        .update_partitions(BTreeMap::from([(1, esp), (2, data)]))
        .and_then(|()| table.write_inplace())
        .map_err(|error| error.to_string())
}

/// Where the ESP of `disk` is, in bytes, if `disk` is as an image is.
pub fn find_esp(disk: &mut impl DiskDevice) -> Option<Range<u64>> {
    Some(find(disk)?.esp)
}

/// Where the partitions of a disk are, in bytes. Where its data ends is the medium's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionLayout {
    pub esp: Range<u64>,
    /// Where the data partition begins, if there is one.
    pub data: Option<u64>,
}

/// The bytes of a header (UEFI 2.10, 5.3.2) up to the length of an entry, and where in it the number of entries is.
const HEADER: usize = 88;
const COUNT_AT: usize = 80;

/// Whether each header of `disk` says of its entries what that of an image says: the crate `gpt` panics at entries of
/// another length, and reads as many as a header says. A used card may say anything.
fn has_known_entries(disk: &mut impl DiskDevice) -> io::Result<bool> {
    let last = (disk.seek(SeekFrom::End(0))? / SECTOR).saturating_sub(1) * SECTOR;
    for at in [SECTOR, last] {
        let mut header = [0; HEADER];
        disk.seek(SeekFrom::Start(at))?;
        disk.read_exact(&mut header)?;
        let counts = &header[COUNT_AT..];
        let known = [128u32.to_le_bytes(), 128u32.to_le_bytes()].concat();
        if header.starts_with(b"EFI PART") && counts != known {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where the partitions of `disk` are, if it has an ESP as an image has.
pub fn find(disk: &mut impl DiskDevice) -> Option<PartitionLayout> {
    if !has_known_entries(disk).ok()? {
        return None;
    }
    let table = GptConfig::new().writable(false).open_from_device(&mut *disk).ok()?;
    let named = |name| table.partitions().values().find(move |partition| partition.name == name);
    let esp = named(ESP_NAME)?;
    let end = esp.last_lba.checked_add(1)?.checked_mul(SECTOR)?;
    let start = esp.first_lba.checked_mul(SECTOR)?;
    let data = named(DATA_NAME).and_then(|data| data.first_lba.checked_mul(SECTOR));
    let len = disk.seek(SeekFrom::End(0)).ok()?;
    (start.is_multiple_of(MIB) && start < end && end <= len)
        .then_some(PartitionLayout { esp: start..end, data })
}

/// A partition that is given in bytes.
fn partition(kind: Type, guid: u128, start: u64, size: u64, name: &str) -> Partition {
    Partition {
        part_type_guid: kind,
        part_guid: Uuid::from_u128(guid),
        first_lba: start / SECTOR,
        last_lba: (start + size) / SECTOR - 1,
        flags: 0,
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn both_tables_say_the_same() {
        let mut disk = Sparse::new(DISK_SIZE);
        write(&mut disk).unwrap();
        assert_eq!(find_esp(&mut disk), Some(ESP_START..ESP_START + ESP_SIZE));
        assert_eq!(find_esp(&mut Sparse::new(DISK_SIZE)), None);
        let config = GptConfig::new().writable(false).only_valid_headers(true);
        let table = config.open_from_device(&mut disk).unwrap();
        let (primary, backup) = (table.primary_header().unwrap(), table.backup_header().unwrap());
        assert_eq!((primary.num_parts, primary.part_size), (128, 128));
        assert_eq!(primary.crc32_parts, backup.crc32_parts);
        assert_eq!((primary.backup_lba, backup.current_lba), (561_151, 561_151));
        assert_eq!(table.guid().to_string(), "0c7e7000-0000-4000-8000-000000000001");
        let all: Vec<_> = table
            .partitions()
            .iter()
            .map(|(number, partition)| {
                let guid = partition.part_guid.to_string();
                (*number, guid, partition.name.clone(), partition.first_lba, partition.last_lba)
            })
            .collect();
        let guid = |last| format!("0c7e7000-0000-4000-8000-00000000000{last}");
        assert_eq!(all[0], (1, guid(2), "octet-esp".into(), 2048, 526_335));
        assert_eq!(all[1], (2, guid(3), "octet-data".into(), 526_336, 559_103));
        assert_eq!(all.len(), 2);
    }

    /// As many as a header says are read, and of another length than 128 bytes none can be.
    #[test]
    fn a_header_that_says_what_no_image_says_is_none() {
        for (count, length) in [(u32::MAX, 128), (128, u32::MAX), (128, 256), (0, 128)] {
            for at in [SECTOR, DISK_SIZE - SECTOR] {
                let mut disk = Sparse::new(DISK_SIZE);
                write(&mut disk).unwrap();
                assert!(find(&mut disk).is_some());
                let mut header = [0; 92];
                disk.seek(SeekFrom::Start(at)).unwrap();
                disk.read_exact(&mut header).unwrap();
                header[80..84].copy_from_slice(&u32::to_le_bytes(count));
                header[84..88].copy_from_slice(&u32::to_le_bytes(length));
                // The table counts by its check sum, which is reckoned with zeros in its own place.
                header[16..20].fill(0);
                let sum = crc32fast::hash(&header).to_le_bytes();
                header[16..20].copy_from_slice(&sum);
                disk.seek(SeekFrom::Start(at)).unwrap();
                disk.write_all(&header).unwrap();
                assert_eq!(find(&mut disk), None, "{count} × {length} at {at}");
            }
        }
    }

    #[test]
    fn the_first_sector_covers_the_disk() {
        let mut disk = Sparse::new(DISK_SIZE);
        write(&mut disk).unwrap();
        let first = disk.pieces().next().unwrap();
        assert_eq!(first[510..512], [0x55, 0xaa]);
        // Type 0xee, from sector 1, over all but sector 0 (UEFI 2.10, 5.2.3).
        assert_eq!(first[446 + 4], 0xee);
        assert_eq!(first[446 + 8..446 + 12], 1u32.to_le_bytes());
        assert_eq!(first[446 + 12..446 + 16], 561_151u32.to_le_bytes());
    }
}
