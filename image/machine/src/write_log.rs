//! What a guest has written to a disk, in order, as QEMU's driver blklogwrites keeps it: the format
//! of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst), with all
//! numbers little-endian.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const DISCARD: u64 = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The first sector of 512 bytes.
    pub sector: u64,
    /// How many sectors.
    pub sectors: u64,
    /// Where the content is in the log; `None` if the sectors were discarded.
    content: Option<u64>,
}

impl Write {
    /// The sectors that it changes.
    pub fn range(&self) -> Range<u64> {
        self.sector..self.sector + self.sectors
    }

    /// Whether the sectors were discarded.
    pub fn is_discard(&self) -> bool {
        self.content.is_none()
    }
}

/// A log that a machine has written or is writing.
#[derive(Debug)]
pub struct WriteLog {
    file: File,
    writes: Vec<Write>,
}

impl WriteLog {
    /// Reads the log at `path`. What is not wholly there yet is left out.
    ///
    /// # Errors
    /// The file cannot be read or is no such log.
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut head = [0; 32];
        file.read_exact_at(&mut head, 0)?;
        let sector_size = number(&head, 24) & 0xffff_ffff;
        if number(&head, 0) != MAGIC || number(&head, 8) != VERSION || sector_size != 512 {
            return Err(io::Error::other(format!("{}: not a log of writes", path.display())));
        }
        let (end, count) = (file.metadata()?.len(), number(&head, 16));
        let mut writes = Vec::new();
        let mut at = sector_size;
        for _ in 0..count {
            let mut entry = [0; 32];
            if at + sector_size > end {
                break;
            }
            file.read_exact_at(&mut entry, at)?;
            at += sector_size;
            let [sector, sectors, flags] = [0, 8, 16].map(|place| number(&entry, place));
            let content = (flags & DISCARD == 0).then_some(at);
            if content.is_some() {
                at += sectors * sector_size;
            }
            if at > end {
                break;
            }
            // A flush has no sectors.
            if sectors > 0 {
                writes.push(Write { sector, sectors, content });
            }
        }
        Ok(Self { file, writes })
    }

    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Writes `write` to `disk`.
    pub fn replay(&self, write: &Write, disk: &File) -> io::Result<()> {
        let (at, len) = (write.sector * 512, write.sectors * 512);
        match write.content {
            Some(content) => {
                let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
                self.file.read_exact_at(&mut bytes, content)?;
                disk.write_all_at(&bytes, at)
            }
            None => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                Ok(fallocate(disk, flags, at, len)?)
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(path: &Path, count: u64, entries: &[(u64, u64, u64, &[u8])]) {
        let mut bytes = vec![];
        let mut sector = |numbers: &[u64], content: &[u8]| {
            let mut head = numbers.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>();
            head.resize(512, 0);
            bytes.extend(head);
            bytes.extend(content);
        };
        sector(&[MAGIC, VERSION, count, 512], &[]);
        for (first, sectors, flags, content) in entries {
            sector(&[*first, *sectors, *flags, 0], content);
        }
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn replays_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let entries: [(u64, u64, u64, &[u8]); 4] =
            [(2, 1, 0, &[7; 512]), (0, 0, 1, &[]), (0, 2, 4, &[]), (3, 2, 0, &[9; 1024])];
        log(&path, 4, &entries);
        let read = WriteLog::read(&path).unwrap();
        let ranges: Vec<_> = read.writes().iter().map(Write::range).collect();
        assert_eq!(ranges, [2..3, 0..2, 3..5]);
        let disk = folder.path().join("disk");
        std::fs::write(&disk, [1; 5 * 512]).unwrap();
        let file = File::options().write(true).open(&disk).unwrap();
        read.writes().iter().for_each(|write| read.replay(write, &file).unwrap());
        let bytes: Vec<u8> = std::fs::read(&disk).unwrap();
        let firsts: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert_eq!(firsts, [0, 0, 7, 9, 9]);
    }

    #[test]
    fn a_torn_end_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        log(&path, 3, &[(2, 1, 0, &[7; 512]), (3, 2, 0, &[9; 100])]);
        assert_eq!(WriteLog::read(&path).unwrap().writes().len(), 1);
        std::fs::write(&path, [0; 512]).unwrap();
        assert!(WriteLog::read(&path).is_err());
    }
}
