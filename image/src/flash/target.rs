//! The medium that is written: a whole disk or a file.

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use octet_control::PublicKey;
use rustix::fs::{Advice, FlockOperation, OFlags, fadvise, fcntl_lock};
use rustix::io::Errno;

use super::block::{Host, SysfsBlock};
use super::buffer::{ALIGNMENT, is_aligned};
use super::check::{PathContent, inspect};
use super::error::{FlashError, FlashFault};
use super::image::{ImageFile, is_octet};
use super::mounts::Number;
use super::volume::BlockDevice;
use super::{check, data, extents, node_key};
use crate::output::gpt::{self, PartitionLayout};

/// A target, open for nobody but us.
pub struct FlashTarget {
    path: PathBuf,
    file: File,
    /// For single pages: nothing is read ahead.
    pages: File,
    /// Past the page cache; `None` on file systems that cannot.
    direct: Option<File>,
    /// The disk, if it is one.
    disk: Option<SysfsBlock>,
    len: u64,
}

/// Sees that no QEMU has it for a guest, and that none takes it before we end: it locks bytes of what it opens (its
/// docs/system/images.rst, "Disk image file locking").
fn check_not_locked(file: &File, path: &Path) -> Result<(), FlashError> {
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN | Errno::ACCESS) => Err(FlashError::Busy { path: path.to_owned() }),
        // Not every file system has locks.
        _ => Ok(()),
    }
}

impl Drop for FlashTarget {
    /// As a [`FileLock`](crate::output::file_lock::FileLock) file does.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl FlashTarget {
    /// Opens the disk or file at `path`; a file that is not there is made.
    pub fn open(path: &Path, host: &Host) -> Result<Self, FlashError> {
        let changed = || FlashError::Changed { path: path.to_owned() };
        let mut options = File::options();
        options.read(true).write(true);
        let (file, disk) = match inspect(path, host)? {
            PathContent::Nothing => (open(options.create_new(true), path)?, None),
            PathContent::File(before) => {
                let file = open(&mut options, path)?;
                let now = metadata(&file, path)?;
                if (now.dev(), now.ino()) != (before.dev(), before.ino()) {
                    return Err(changed());
                }
                if file.try_lock().is_err() {
                    return Err(FlashError::Busy { path: path.to_owned() });
                }
                check_not_locked(&file, path)?;
                (file, None)
            }
            PathContent::Disk(disk) => {
                // The kernel opens no disk for us alone that is mounted or held otherwise.
                let alone = (OFlags::EXCL | OFlags::NONBLOCK).bits();
                let file = open(options.custom_flags(alone.cast_signed()), path)?;
                let now = metadata(&file, path)?;
                // From here on the name does not matter any more, only what was opened.
                let number = now.file_type().is_block_device().then_some(now.rdev());
                if number.is_none_or(|number| Number::new(number) != disk.number) {
                    return Err(changed());
                }
                check::disk(path, &disk, host)?;
                check_not_locked(&file, path)?;
                (file, Some(disk))
            }
        };
        let mut target = Self::new(path, file, disk)?;
        target.len = target.current_length().map_err(|why| open_error(path, why))?;
        Ok(target)
    }

    fn new(path: &Path, file: File, disk: Option<SysfsBlock>) -> Result<Self, FlashError> {
        // Not the path again: by now it may lead elsewhere.
        let again = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let pages = open(File::options().read(true), &again)?;
        // Advice only: without it, it is slower.
        let _ = fadvise(&pages, 0, None, Advice::Random);
        let direct = OFlags::DIRECT.bits().cast_signed();
        let direct = File::options().read(true).write(true).custom_flags(direct).open(again).ok();
        Ok(Self { path: path.to_owned(), file, pages, direct, disk, len: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk, if it is one.
    pub fn disk(&self) -> Option<&SysfsBlock> {
        self.disk.as_ref()
    }

    /// How many bytes it has, as it says.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Whether nothing is lost with what is on it: a new or empty file, or one that holds an Octet
    /// disk that was never started.
    pub fn is_expendable(&self) -> bool {
        self.disk.is_none() && (self.len == 0 || self.is_octet() && !data::has_data(&self.file))
    }

    /// Whether it holds an Octet disk.
    pub fn is_octet(&self) -> bool {
        is_octet(&self.file)
    }

    /// The public key of the box whose disk it is, if that has said it.
    pub fn node(&self) -> Option<PublicKey> {
        node_key::read(&self.file)
    }

    /// Where its partitions are, if it is an Octet disk.
    pub fn layout(&self) -> Option<PartitionLayout> {
        self.is_octet().then(|| gpt::find(&mut &self.file))?
    }

    /// Sees that `image` has a place on it.
    ///
    /// # Errors
    /// It has not, or `image` is the target.
    pub fn check_fits(&self, image: &ImageFile) -> Result<(), FlashError> {
        check::check_fits(image, &self.path, &self.file, self.disk.as_ref(), self.len)
    }

    /// Gives a file the length `len`, if it is shorter; a file that is longer keeps its length.
    pub fn grow(&self, len: u64) -> Result<(), FlashFault> {
        if self.disk.is_some() || self.len >= len {
            return Ok(());
        }
        self.file.set_len(len).map_err(FlashFault::Grow)
    }

    /// Where its first `len` bytes may be other than zero.
    pub fn data(&self, len: u64) -> Result<Vec<Range<u64>>, FlashFault> {
        extents::data(&self.file, len).map_err(|why| FlashFault::Read { at: 0, why })
    }

    /// Reads what is at `at`, from the page cache if it is there.
    pub fn read(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault> {
        self.file.read_exact_at(into, at).map_err(|why| FlashFault::Read { at, why })
    }

    /// Says that these bytes are read soon: the medium may begin.
    pub fn prefetch_page(&self, at: u64, len: u64) {
        let _ = fadvise(&self.pages, at, NonZeroU64::new(len), Advice::WillNeed);
    }

    /// Reads what is at `at`, and nothing around it.
    pub fn read_page(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault> {
        self.pages.read_exact_at(into, at).map_err(|why| FlashFault::Read { at, why })
    }

    /// Writes `bytes` at `at`. To a disk past the page cache: so an error comes with its place,
    /// the progress that is shown is true, and a slow stick does not fill the memory. To a file
    /// through the cache, which is faster, with its way to the disk begun at once.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<(), FlashFault> {
        let direct = self.direct.as_ref().filter(|_| self.disk.is_some());
        let written = match direct.filter(|_| is_aligned(at, bytes.len())) {
            Some(direct) => direct.write_all_at(bytes, at),
            None => self.file.write_all_at(bytes, at).inspect(|()| {
                // This also starts the way of what is changed to the disk (mm/fadvise.c).
                let _ =
                    fadvise(&self.file, at, NonZeroU64::new(bytes.len() as u64), Advice::DontNeed);
            }),
        };
        written.map_err(|why| FlashFault::Write { at, why })
    }

    /// Waits until all that was written is on the medium.
    pub fn sync(&self) -> Result<(), FlashFault> {
        self.file.sync_all().map_err(FlashFault::Sync)
    }

    /// Reads what is on the medium at `at`, whatever the page cache has. Only after
    /// [`Self::sync`].
    pub fn read_medium(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault> {
        let read = match self.direct.as_ref().filter(|_| is_aligned(at, into.len())) {
            Some(direct) => direct.read_exact_at(into, at),
            None => {
                // What was changed has been synced, so the cache lets go of all of it: of whole
                // pages, though.
                let whole = into.len().next_multiple_of(ALIGNMENT) as u64;
                let _ = fadvise(&self.file, at, NonZeroU64::new(whole), Advice::DontNeed);
                self.file.read_exact_at(into, at)
            }
        };
        read.map_err(|why| FlashFault::Read { at, why })
    }

    /// Sees that it is still as long as it has to be.
    pub fn check_length(&self, len: u64) -> Result<(), FlashFault> {
        let now = self.current_length().map_err(|why| FlashFault::Read { at: 0, why })?;
        if now >= len { Ok(()) } else { Err(FlashFault::Shrunk { before: self.len.max(len), now }) }
    }

    fn current_length(&self) -> io::Result<u64> {
        (&self.file).seek(SeekFrom::End(0))
    }
}

impl BlockDevice for FlashTarget {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault> {
        self.read_medium(at, into)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), FlashFault> {
        Self::write(self, at, bytes)
    }

    fn sync(&self) -> Result<(), FlashFault> {
        Self::sync(self)
    }
}

fn metadata(file: &File, path: &Path) -> Result<Metadata, FlashError> {
    file.metadata().map_err(|why| open_error(path, why))
}

fn open(options: &mut std::fs::OpenOptions, path: &Path) -> Result<File, FlashError> {
    options.open(path).map_err(|why| open_error(path, why))
}

fn open_error(path: &Path, why: io::Error) -> FlashError {
    let path = path.to_owned();
    match Errno::from_io_error(&why) {
        Some(Errno::BUSY | Errno::TXTBSY) => FlashError::Busy { path },
        Some(Errno::ROFS) => FlashError::ReadOnly { path },
        _ => FlashError::Open { path, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_is_being_started_keeps_no_file_busy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || FlashTarget::open(file.path(), &Host::local());
        let first = open().unwrap();
        // What such a child has.
        let _same = first.file.try_clone().unwrap();
        assert!(matches!(open(), Err(FlashError::Busy { .. })));
        drop(first);
        open().unwrap();
    }
}
