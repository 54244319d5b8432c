//! The file operations on the medium with the slots. Tests implement it to cut the power after each
//! of them.

use std::io;

use crate::boot_counter::BootCounter;
use crate::boot_state::{StateCopies, StateWrite};

/// A file or a folder in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderItem {
    pub name: String,
    /// Size of a file in bytes; `None` for a folder.
    pub size: Option<u64>,
}

/// The EFI system partition. Paths have no leading `/`.
///
/// What was written is on the medium only after [`sync`](Self::sync): until then a power cut may
/// leave any part of it.
pub trait Medium {
    /// The content of `folder`; empty if it does not exist.
    ///
    /// # Errors
    /// The medium refuses, as with all other operations.
    fn list(&self, folder: &str) -> io::Result<Vec<FolderItem>>;

    /// Reads a small file: of a longer one, the first `limit` bytes.
    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>>;

    /// Fills `bytes` from the offset `at` of the file on.
    ///
    /// # Errors
    /// The file does not exist, or is too short.
    fn read_at(&self, path: &str, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    fn free(&self) -> io::Result<u64>;

    /// Makes a folder, unless it exists.
    fn make_folder(&mut self, path: &str) -> io::Result<()>;

    /// Makes an empty file, and replaces an existing one.
    fn create(&mut self, path: &str) -> io::Result<()>;

    /// Appends to a file.
    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Renames a file; the new name must be free.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Its space is free after the next [`sync`](Self::sync): until its entry is
    /// gone from the medium, its clusters are not reused.
    fn remove(&mut self, path: &str) -> io::Result<()>;

    /// Removes an empty folder, in the same way.
    ///
    /// # Errors
    /// It does not exist, or is not empty.
    fn remove_folder(&mut self, path: &str) -> io::Result<()>;

    /// Returns once everything written is on the medium.
    fn sync(&mut self) -> io::Result<()>;

    /// Drops caches: later reads return what the boot loader would read. Everything was synced
    /// before.
    fn reopen(&mut self) -> io::Result<()>;

    /// How the tries of the slots on this medium are counted.
    fn counter(&self) -> BootCounter {
        BootCounter::EntryNames
    }

    /// Both copies of the boot state, if that is the counter.
    fn boot_state(&self) -> io::Result<StateCopies> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes one write to the boot state, if `change` wants one: it is passed both copies, and
    /// nobody else changes them meanwhile. Returns once the write is on the medium. Files are not
    /// synced by that.
    ///
    /// # Errors
    /// That of `change`, or the medium refuses.
    fn change_boot_state(
        &mut self,
        change: impl FnOnce(&StateCopies) -> io::Result<Option<StateWrite>>,
    ) -> io::Result<()> {
        change(&self.boot_state()?).map(drop)
    }
}

/// The name of the file at `path` until all of it is on the medium: PID 1 takes a file with this
/// ending for what a power cut has left.
pub fn staged(path: &str) -> String {
    format!("{path}.new")
}

/// Writes a whole file under a free name, and syncs it.
pub fn write_whole(medium: &mut impl Medium, path: &str, bytes: &[u8]) -> io::Result<()> {
    medium.create(path)?;
    medium.append(path, bytes)?;
    medium.sync()
}
