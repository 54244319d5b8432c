//! The partition table of an image (UEFI 2.10, chapter 5).

use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::ops::Range;

use gpt::disk::LogicalBlockSize;
use gpt::mbr::{MBRError, PartRecord, ProtectiveMBR};
use gpt::partition::Partition;
use gpt::partition_types::{EFI, LINUX_FS, LINUX_RESERVED, Type};
use gpt::{DiskDevice, GptConfig};
use octet_esp::boot_state::{BOOT_STATE, BOOT_STATE_SIZE};
use uuid::Uuid;

use super::sparse::Sparse;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;

const MIB: u64 = 1 << 20;

/// The name of the ESP in the table.
const ESP_NAME: &str = "octet-esp";

/// The name of the data partition in the table.
pub const DATA_NAME: &str = "octet-data";

/// Bytes of the ESP: two slots and one that is being written, each of up to 82 MiB.
pub const ESP_SIZE: u64 = 256 * MIB;

/// Bytes of the data partition, until the first start grows it to the end of the flash.
const DATA_SIZE: u64 = 16 * MIB;

/// How a disk is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskLayout {
    /// For UEFI alone.
    Uefi,
    /// For UEFI, for U-Boot, and for the boot ROMs of Allwinner and Broadcom. These look for their first program at 8
    /// and 128 KiB, and in the first partition of the master boot record.
    Board,
}

impl DiskLayout {
    /// Where the ESP begins, in bytes.
    pub fn esp_start(self) -> u64 {
        match self {
            Self::Uefi => MIB,
            Self::Board => 4 * MIB,
        }
    }

    /// Bytes of the whole disk; the last MiB has the table's backup.
    pub fn disk_size(self) -> u64 {
        self.esp_start() + ESP_SIZE + DATA_SIZE + MIB
    }

    /// Where the boot state is, in bytes, if there is one. Before it is room for U-Boot.
    pub fn boot_state(self) -> Option<u64> {
        match self {
            Self::Uefi => None,
            Self::Board => Some(2 * MIB),
        }
    }
}

/// The disk's GUID. It is the same in every image: the bytes of an image are, too.
const DISK_GUID: u128 = 0x0c7e_7000_0000_4000_8000_0000_0000_0001;

/// Writes the table onto `disk`, which has the size that `layout` says.
pub fn write(disk: &mut Sparse, layout: DiskLayout) -> Result<(), String> {
    let text = |error: MBRError| error.to_string();
    master_boot_record(layout).and_then(|mbr| mbr.overwrite_lba0(disk)).map_err(text)?;
    let (esp_start, data_start) = (layout.esp_start(), layout.esp_start() + ESP_SIZE);
    let esp = partition(EFI, DISK_GUID + 1, esp_start, ESP_SIZE, ESP_NAME);
    let data = partition(LINUX_FS, DISK_GUID + 2, data_start, DATA_SIZE, DATA_NAME);
    let mut partitions = BTreeMap::from([(1, esp), (2, data)]);
    if let Some(start) = layout.boot_state() {
        // Not the first one, though it is before the others: firmware looks for files on the first.
        let state = partition(LINUX_RESERVED, DISK_GUID + 3, start, BOOT_STATE_SIZE, BOOT_STATE);
        partitions.insert(3, state);
    }
    // Not `add_partition`: that would give random GUIDs.
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(disk, Some(Uuid::from_u128(DISK_GUID)))
        .map_err(|error| error.to_string())?;
    table
        .update_partitions(partitions)
        .and_then(|()| table.write_inplace())
        .map_err(|error| error.to_string())
}

/// The master boot record: a protective one (UEFI 2.10, 5.2.3), or one that names the ESP as well. The ROM of a
/// Raspberry Pi 3 knows no other table, and takes a partition of this type alone.
fn master_boot_record(layout: DiskLayout) -> Result<ProtectiveMBR, MBRError> {
    let sectors =
        |bytes: u64| u32::try_from(bytes / SECTOR).map_err(|_| MBRError::Overflow("size"));
    // All but the sector of the record itself.
    let covered = sectors(layout.disk_size())? - 1;
    let mut mbr = ProtectiveMBR::with_lb_size(covered);
    if layout == DiskLayout::Board {
        let (start, size) = (sectors(layout.esp_start())?, sectors(ESP_SIZE)?);
        mbr.set_partition(0, record(FAT32_LBA, start, size)?);
        mbr.set_partition(1, record(PROTECTIVE, 1, start - 1)?);
    }
    Ok(mbr)
}

/// Types of partitions in a master boot record: FAT32, addressed by sector; what a GPT describes.
const FAT32_LBA: u8 = 0x0c;
const PROTECTIVE: u8 = 0xee;

/// An entry of the master boot record. Its addresses by cylinder, head and sector say that they are to be ignored.
fn record(kind: u8, start: u32, sectors: u32) -> Result<PartRecord, MBRError> {
    let ignored = [0xfe, 0xff, 0xff];
    let mut bytes = vec![0];
    bytes.extend(ignored);
    bytes.push(kind);
    bytes.extend(ignored);
    bytes.extend([start, sectors].map(u32::to_le_bytes).concat());
    PartRecord::from_bytes(&bytes)
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
    /// Where the boot state begins, if there is one.
    pub boot_state: Option<u64>,
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
    let boot_state = named(BOOT_STATE).and_then(|state| state.first_lba.checked_mul(SECTOR));
    let len = disk.seek(SeekFrom::End(0)).ok()?;
    let is_inside = |start: &u64| start.checked_add(BOOT_STATE_SIZE).is_some_and(|end| end <= len);
    let boot_state = boot_state.filter(is_inside);
    (start.is_multiple_of(MIB) && start < end && end <= len).then_some(PartitionLayout {
        esp: start..end,
        data,
        boot_state,
    })
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
        let mut disk = Sparse::new(DiskLayout::Uefi.disk_size());
        write(&mut disk, DiskLayout::Uefi).unwrap();
        let found = PartitionLayout {
            esp: MIB..MIB + ESP_SIZE,
            data: Some(MIB + ESP_SIZE),
            boot_state: None,
        };
        assert_eq!(find(&mut disk), Some(found));
        assert_eq!(find_esp(&mut Sparse::new(DiskLayout::Uefi.disk_size())), None);
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
            for at in [SECTOR, DiskLayout::Uefi.disk_size() - SECTOR] {
                let mut disk = Sparse::new(DiskLayout::Uefi.disk_size());
                write(&mut disk, DiskLayout::Uefi).unwrap();
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
        let mut disk = Sparse::new(DiskLayout::Uefi.disk_size());
        write(&mut disk, DiskLayout::Uefi).unwrap();
        let first = disk.pieces().next().unwrap();
        assert_eq!(first[510..512], [0x55, 0xaa]);
        // Type 0xee, from sector 1, over all but sector 0 (UEFI 2.10, 5.2.3).
        assert_eq!(first[446 + 4], 0xee);
        assert_eq!(first[446 + 8..446 + 12], 1u32.to_le_bytes());
        assert_eq!(first[446 + 12..446 + 16], 561_151u32.to_le_bytes());
    }

    /// What the ROMs of boards look at, by the bytes.
    #[test]
    fn a_disk_for_boards_has_a_hybrid_record() {
        let layout = DiskLayout::Board;
        let mut disk = Sparse::new(layout.disk_size());
        write(&mut disk, layout).unwrap();
        let all = disk.pieces().next().unwrap().to_vec();
        let entry = |number: usize| {
            let entry = &all[446 + 16 * number..][..16];
            let number = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
            (entry[4], number(8), number(12))
        };
        assert_eq!(entry(0), (0x0c, 8192, 524_288));
        assert_eq!(entry(1), (0xee, 1, 8191));
        assert_eq!([entry(2), entry(3)], [(0, 0, 0); 2]);
        let mut between = disk.part(8 << 10..2 << 20).unwrap();
        let mut bytes = vec![];
        between.rewind().unwrap();
        between.read_to_end(&mut bytes).unwrap();
        assert!(
            bytes.iter().all(|byte| *byte == 0),
            "the ROM of Allwinner finds something at 8 KiB"
        );
        let found = find(&mut disk).unwrap();
        assert_eq!(found.esp, 4 << 20..260 << 20);
        assert_eq!((found.data, found.boot_state), (Some(260 << 20), layout.boot_state()));
        let config = GptConfig::new().writable(false).only_valid_headers(true);
        let table = config.open_from_device(&mut disk).unwrap();
        let state = &table.partitions()[&3];
        assert_eq!(
            (state.name.as_str(), state.first_lba, state.last_lba),
            ("octet-bootstate", 4096, 6143)
        );
    }
}
