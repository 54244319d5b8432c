//! Segments: files `00000001.log`, `00000002.log`, … of at most a few MiB.
//!
//! A segment starts with `OCTETLOG`, the version of the format (4 bytes) and its own number (4
//! bytes), little-endian, followed by [blocks](super::block).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"OCTETLOG";

/// The only supported version of the format.
const VERSION: u32 = 1;

/// The offset of the first block, in bytes.
pub const START: u64 = 16;

/// A segment, up to its last valid block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub number: u32,
    /// The sequence number of its first entry; `None` without any valid block.
    pub first: Option<u64>,
    pub bytes: u64,
}

pub fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

/// The numbers of the segments in `folder`, in order. Other files are ignored.
pub fn list(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = vec![];
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        let number = number.filter(|number| number.len() >= 8);
        numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Opens segment `number` of `folder` for reading.
///
/// # Errors
/// It was removed, or cannot be read.
pub fn open(folder: &Path, number: u32) -> io::Result<File> {
    File::open(path(folder, number))
}

pub fn open_for_writing(folder: &Path, number: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path(folder, number))
}

/// Creates segment `number` in `folder`; after the return it survives a power failure.
pub fn create(folder: &Path, number: u32) -> io::Result<File> {
    let path = path(folder, number);
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create_new(true).open(path)?;
    let header = [&MAGIC[..], &VERSION.to_le_bytes(), &number.to_le_bytes()].concat();
    file.write_all(&header)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Whether `file` has an unknown version, and must be left alone. A damaged header does not count,
/// because blocks have checksums of their own.
pub fn is_foreign(file: &File) -> io::Result<bool> {
    let mut header = [0; 12];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(header[..8] == MAGIC && header[8..] != VERSION.to_le_bytes()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
