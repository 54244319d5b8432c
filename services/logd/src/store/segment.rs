//! Segments: files `00000001.log`, `00000002.log`, … of at most a few MiB.
//!
//! A segment starts with `OCTETLOG`, the version of the format (4 bytes) and its own number (4
//! bytes), little-endian; then come [blocks](super::block).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a segment starts with.
const MAGIC: [u8; 8] = *b"OCTETLOG";

/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 1;

/// Where the blocks of a segment begin, in bytes.
pub const START: u64 = 16;

/// A segment as far as it is known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its number, which is its name.
    pub number: u32,
    /// Sequence number of its first entry; `None` while it has none that is whole.
    pub first: Option<u64>,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The path of segment `number` in `folder`.
pub fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

/// The numbers of the segments in `folder`, in order. Other files are none of logd's business.
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
/// It is not there any more, or cannot be read.
pub fn open(folder: &Path, number: u32) -> io::Result<File> {
    File::open(path(folder, number))
}

/// Opens segment `number` of `folder` for reading and writing.
pub fn open_for_writing(folder: &Path, number: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path(folder, number))
}

/// Makes segment `number` in `folder`; it survives a cut once this returns.
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

/// Whether `file` is of a version that this logd does not know: it is left alone then. A header
/// that is damaged does not count: the blocks say for themselves what they are.
pub fn is_foreign(file: &File) -> io::Result<bool> {
    let mut header = [0; 12];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(header[..8] == MAGIC && header[8..] != VERSION.to_le_bytes()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
