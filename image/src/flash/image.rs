//! The image that is written.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::{FlashError, FlashFault};
use super::extents;
use super::volume::BlockDevice;
use crate::output::esp;
use crate::output::gpt::{self, PartitionLayout};
use crate::output::sparse::Sparse;

/// The unit in which an unpacked image is looked at for zeros.
const UNIT: usize = 64 << 10;

static ZEROS: [u8; UNIT] = [0; UNIT];

/// Where the header of a partition table is, and how it begins (UEFI 2.10, 5.3.2).
const TABLE: (u64, &[u8; 8]) = (512, b"EFI PART");

/// Where in the header the disk's GUID is.
const GUID_AT: usize = 56;

/// The GUID of every Octet disk, as a table has it: 0c7e7000-0000-4000-8000-000000000001, of which
/// the first three groups are little-endian (UEFI 2.10, appendix A).
const OCTET_GUID: [u8; 16] = [0, 0x70, 0x7e, 0x0c, 0, 0, 0, 0x40, 0x80, 0, 0, 0, 0, 0, 0, 1];

/// An image, open to be read.
pub struct ImageFile {
    path: PathBuf,
    file: File,
    len: u64,
    data: Vec<Range<u64>>,
}

impl ImageFile {
    /// Opens the image at `path`. One that ends in `.zst` is unpacked first, piece by piece, into
    /// a temporary file with holes: so it is known to be whole, and how long it is, before the
    /// first byte of a medium is touched.
    ///
    /// # Errors
    /// It is not there, empty, no file, or damaged.
    pub fn open(path: &Path) -> Result<Self, FlashError> {
        let missing = |why| FlashError::NoImage { path: path.to_owned(), why };
        let bad = |what: String| FlashError::BadImage { path: path.to_owned(), what };
        let file = File::open(path).map_err(missing)?;
        if !file.metadata().map_err(missing)?.is_file() {
            return Err(bad("it is not a file".into()));
        }
        let packed = path.extension().is_some_and(|ending| ending == "zst");
        let file = if packed { unpack(file).map_err(bad)? } else { file };
        let len = file.metadata().map_err(missing)?.len();
        if len == 0 {
            return Err(bad("it is empty".into()));
        }
        let data = extents::data(&file, len).map_err(missing)?;
        Ok(Self { path: path.to_owned(), file, len, data })
    }

    /// The file that it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes, at least 1.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Where it has data, in order; all the rest is zero.
    pub fn data(&self) -> &[Range<u64>] {
        &self.data
    }

    /// Reads what is at `at`, which has to be inside.
    pub fn read(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault> {
        self.file.read_exact_at(into, at).map_err(|why| FlashFault::Image { at, why })
    }

    /// A copy of it, in which `change` has changed something, in a file without a name.
    ///
    /// # Errors
    /// `change` says so, in words, or there is no room for a copy.
    pub fn copy_with(
        &self,
        change: impl FnOnce(&mut Sparse) -> Result<(), String>,
    ) -> Result<Self, FlashError> {
        let keep = |error: io::Error| {
            format!("it cannot be copied to {}: {error}", std::env::temp_dir().display())
        };
        let copy = || {
            let mut disk = Sparse::read(&self.file).map_err(|error| error.to_string())?;
            change(&mut disk)?;
            let file = tempfile::tempfile().map_err(keep)?;
            disk.write_to(&file).map_err(keep)?;
            let data = extents::data(&file, self.len).map_err(keep)?;
            Ok(Self { path: self.path.clone(), file, len: self.len, data })
        };
        copy().map_err(|what| FlashError::BadImage { path: self.path.clone(), what })
    }

    /// Whether it is the file `device`, `inode`.
    pub fn is_file(&self, device: u64, inode: u64) -> bool {
        self.file.metadata().is_ok_and(|file| (file.dev(), file.ino()) == (device, inode))
    }

    /// Where its partitions are.
    ///
    /// # Errors
    /// It is no image of Octet's.
    pub fn layout(&self) -> Result<PartitionLayout, FlashError> {
        gpt::find(&mut &self.file).ok_or_else(|| FlashError::BadImage {
            path: self.path.clone(),
            what: "it has no EFI system partition of Octet's".into(),
        })
    }

    /// Whether it has a partition table for sectors of 512 bytes.
    pub fn has_table(&self) -> bool {
        disk_guid(&self.file).is_some()
    }
}

/// Puts files onto the EFI system partition of `disk`, by their paths there.
///
/// # Errors
/// It is no image of Octet's, or there is no room; in words.
pub fn put_on_esp(disk: &mut Sparse, files: &[(&str, &[u8])]) -> Result<(), String> {
    let range = gpt::find_esp(disk).ok_or("it has no EFI system partition of Octet's")?;
    let mut partition = disk.part(range.clone()).map_err(|error| error.to_string())?;
    esp::add(&mut partition, files.iter().copied()).map_err(|error| {
        let paths: Vec<_> = files.iter().map(|(path, _)| *path).collect();
        format!("{} cannot be put on it: {error}", paths.join(", "))
    })?;
    disk.write_part(range.start, partition);
    Ok(())
}

impl BlockDevice for ImageFile {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault> {
        Self::read(self, at, into)
    }

    fn write(&self, at: u64, _: &[u8]) -> Result<(), FlashFault> {
        Err(FlashFault::Write { at, why: io::ErrorKind::ReadOnlyFilesystem.into() })
    }

    fn sync(&self) -> Result<(), FlashFault> {
        Ok(())
    }
}

/// Whether `file` begins as an Octet disk does.
pub fn is_octet(file: &File) -> bool {
    disk_guid(file).is_some_and(|guid| guid == OCTET_GUID)
}

/// The GUID in the partition table of `file`, if there is one.
fn disk_guid(file: &File) -> Option<[u8; 16]> {
    let mut header = [0; GUID_AT + 16];
    file.read_exact_at(&mut header, TABLE.0).ok()?;
    let guid = header[GUID_AT..].try_into().ok()?;
    header.starts_with(TABLE.1).then_some(guid)
}

/// Unpacks a zstd file into a file without a name.
fn unpack(packed: File) -> Result<File, String> {
    let keep = |error: io::Error| {
        format!("it cannot be unpacked into {}: {error}", std::env::temp_dir().display())
    };
    let file = tempfile::tempfile().map_err(keep)?;
    let damaged = |error| format!("it cannot be unpacked: {error}");
    let mut decoder = zstd::Decoder::new(packed).map_err(damaged)?;
    let mut unit = vec![0; UNIT];
    let mut len = 0;
    loop {
        let mut filled = 0;
        // A decoder gives what it has, which may be less than is asked for.
        while filled < UNIT {
            match decoder.read(&mut unit[filled..]).map_err(damaged)? {
                0 => break,
                count => filled += count,
            }
        }
        if unit[..filled] != ZEROS[..filled] {
            file.write_all_at(&unit[..filled], len).map_err(keep)?;
        }
        len += filled as u64;
        if filled < UNIT {
            file.set_len(len).map_err(keep)?;
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn unpacks_with_holes() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; (5 << 20) + 100];
        bytes[2 << 20] = 7;
        let path = folder.path().join("a.img.zst");
        let packed = zstd::encode_all(&bytes[..], 1).unwrap();
        fs::write(&path, &packed).unwrap();
        let image = ImageFile::open(&path).unwrap();
        let mut back = vec![1; bytes.len()];
        image.read(0, &mut back).unwrap();
        assert!(bytes == back && image.len() == bytes.len() as u64);
        assert!(image.data().iter().map(|range| range.end - range.start).sum::<u64>() < 1 << 20);

        // Cut short, it is refused before anything else happens.
        fs::write(&path, &packed[..packed.len() - 3]).unwrap();
        assert!(matches!(ImageFile::open(&path), Err(FlashError::BadImage { .. })));
        fs::write(&path, [1; 100]).unwrap();
        assert!(matches!(ImageFile::open(&path), Err(FlashError::BadImage { .. })));
    }

    #[test]
    fn only_files_with_something_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        fs::write(&path, "x").unwrap();
        assert_eq!(ImageFile::open(&path).unwrap().len(), 1);
        fs::write(&path, "").unwrap();
        assert!(matches!(ImageFile::open(&path), Err(FlashError::BadImage { .. })));
        assert!(matches!(ImageFile::open(folder.path()), Err(FlashError::BadImage { .. })));
        let missing = ImageFile::open(&folder.path().join("none"));
        assert!(matches!(missing, Err(FlashError::NoImage { .. })));
    }

    #[test]
    fn knows_octet() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_octet(&file) && disk_guid(&file).is_none());
        file.write_all_at(b"EFI PART", 512).unwrap();
        file.set_len(4096).unwrap();
        assert!(!is_octet(&file) && disk_guid(&file).is_some());
        file.write_all_at(&OCTET_GUID, 512 + 56).unwrap();
        assert!(is_octet(&file));
        file.write_all_at(b"X", 512).unwrap();
        assert!(!is_octet(&file));
    }
}
