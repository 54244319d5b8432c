//! Where slots are: the few things that are done with files there. Behind this, tests cut the power
//! after every one of them.

use std::io;

/// A file or a folder in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderItem {
    pub name: String,
    /// Bytes of a file; nothing for a folder.
    pub size: Option<u64>,
}

/// The EFI system partition. Paths have no leading `/`.
///
/// What was written is on the medium only after [`sync`](Self::sync): until then a power cut leaves
/// any part of it.
pub trait Medium {
    /// What is in `folder`; nothing, if it is not there.
    ///
    /// # Errors
    /// The medium refuses; so with all the others.
    fn list(&self, folder: &str) -> io::Result<Vec<FolderItem>>;

    /// Reads a small file: of one that is longer, the first `most` bytes.
    fn read(&self, path: &str, most: u64) -> io::Result<Vec<u8>>;

    /// Fills `bytes` from byte `at` of the file on.
    ///
    /// # Errors
    /// It is not there, or too short.
    fn read_at(&self, path: &str, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    fn free(&self) -> io::Result<u64>;

    /// Makes a folder, if it is not there.
    fn make_folder(&mut self, path: &str) -> io::Result<()>;

    /// Makes an empty file, over one that is there.
    fn create(&mut self, path: &str) -> io::Result<()>;

    /// Adds to the end of a file.
    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file another name, which must be free.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Its room is free after the next [`sync`](Self::sync): until its name is gone from
    /// the medium, nothing of it is given to another.
    fn remove(&mut self, path: &str) -> io::Result<()>;

    /// Removes an empty folder, in the same way.
    ///
    /// # Errors
    /// It is not there, or not empty.
    fn remove_folder(&mut self, path: &str) -> io::Result<()>;

    /// Returns once all that was written is on the medium.
    fn sync(&mut self) -> io::Result<()>;

    /// Forgets what it holds in memory: what is read after this is what the boot loader would read.
    /// Everything was synced before.
    fn reopen(&mut self) -> io::Result<()>;
}

/// The name that the file at `path` has until all of it is on the medium: PID 1 takes one that ends in
/// this for what a cut has left.
pub fn staged(path: &str) -> String {
    format!("{path}.new")
}

/// Writes a file whole under a name that is free, and onto the medium.
pub fn write_whole(medium: &mut impl Medium, path: &str, bytes: &[u8]) -> io::Result<()> {
    medium.create(path)?;
    medium.append(path, bytes)?;
    medium.sync()
}
