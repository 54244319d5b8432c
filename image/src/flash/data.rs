//! Whether a disk of Octet was used: its data partition then has the keys and the data of a box.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::output::gpt::{DATA_NAME, SECTOR};

/// Where the header of a partition table says where its entries are, how many, and how long each is (UEFI 2.10, 5.3.2).
const ENTRIES_AT: u64 = SECTOR + 72;

/// More entries than any table has, and the length of one: in a table that says otherwise nobody looks any further.
const MAX_ENTRIES: u32 = 4096;
const ENTRY: usize = 128;

/// Where an entry says where its partition begins, and where its name is (UEFI 2.10, 5.3.3).
const FIRST_AT: usize = 32;
const NAME_AT: usize = 56;

/// Of a partition that has a file system, or had one, its beginning is not all zeros.
const SIGNATURE_AREA: usize = 64 << 10;

/// Whether there is something on the data partition in the table of `file`, or nobody can say that there is not.
pub fn has_data(file: &File) -> bool {
    data_start(file)
        .and_then(|start| start.map_or(Ok(false), |start| is_filled(file, start)))
        .unwrap_or(true)
}

/// Where the data partition begins, in bytes, if there is one.
fn data_start(file: &File) -> io::Result<Option<u64>> {
    let mut place = [0; 16];
    file.read_exact_at(&mut place, ENTRIES_AT)?;
    let [lba, count, size] = [&place[..8], &place[8..12], &place[12..]].map(number);
    let strange = || io::Error::from(io::ErrorKind::InvalidData);
    if count > u64::from(MAX_ENTRIES) || size != ENTRY as u64 {
        return Err(strange());
    }
    let mut entries = vec![0; count as usize * ENTRY];
    file.read_exact_at(&mut entries, lba.checked_mul(SECTOR).ok_or_else(strange)?)?;
    let name: Vec<u8> = DATA_NAME.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut entries = entries.chunks_exact(ENTRY);
    let Some(entry) = entries.find(|entry| {
        let (found, rest) = entry[NAME_AT..].split_at(name.len());
        found == name && rest.starts_with(&[0, 0])
    }) else {
        return Ok(None);
    };
    number(&entry[FIRST_AT..FIRST_AT + 8]).checked_mul(SECTOR).map(Some).ok_or_else(strange)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn is_filled(file: &File, start: u64) -> io::Result<bool> {
    let mut beginning = vec![0; SIGNATURE_AREA];
    file.read_exact_at(&mut beginning, start)?;
    Ok(beginning.iter().any(|byte| *byte != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::gpt::{DiskLayout, ESP_SIZE, write};
    use crate::output::sparse::Sparse;

    #[test]
    fn a_disk_is_used_once_something_is_on_its_data_partition() {
        let mut disk = Sparse::new(DiskLayout::Uefi.disk_size());
        write(&mut disk, DiskLayout::Uefi).unwrap();
        let file = tempfile::tempfile().unwrap();
        disk.write_to(&file).unwrap();
        let start = DiskLayout::Uefi.esp_start() + ESP_SIZE;
        assert_eq!(data_start(&file).unwrap(), Some(start));
        assert!(!has_data(&file));
        // Where ext4 says what it is; before it there may be nothing.
        file.write_all_at(&[0x53, 0xef], start + 1024 + 56).unwrap();
        assert!(has_data(&file));

        // Without such a partition there is nothing to lose; what cannot be read may be anything.
        file.write_all_at(b"x", 1024 + ENTRY as u64 + NAME_AT as u64).unwrap();
        assert_eq!(data_start(&file).unwrap(), None);
        assert!(!has_data(&file));
        file.write_all_at(&[0xff; 4], ENTRIES_AT + 8).unwrap();
        assert!(has_data(&file));
        assert!(has_data(&tempfile::tempfile().unwrap()));
    }
}
