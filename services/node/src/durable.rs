//! Small files that are read whole and replaced atomically, so that after a power cut either the old or the new
//! content exists.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The steps of writing, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteStep {
    /// Create the empty temporary file, readable by its owner only.
    Stage,
    Write,
    /// Sync its content: the name must never refer to missing bytes.
    Sync,
    Rename,
    /// Sync the folder.
    SyncFolder,
}

impl WriteStep {
    pub const ALL: [Self; 5] =
        [Self::Stage, Self::Write, Self::Sync, Self::Rename, Self::SyncFolder];
}

/// What happens to an existing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingFile {
    Replace,
    /// The file is kept, and an error is returned (`AlreadyExists`).
    Keep,
}

/// Reads the file at `path`, of at most `longest` bytes; `None` if it does not exist.
///
/// # Errors
/// Reading fails, or the file is longer.
pub fn read(path: &Path, longest: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![];
    file.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than it can be"));
    }
    Ok(Some(bytes))
}

/// A file that is read whole and parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredFile<T> {
    Absent,
    /// It is too long, or does not parse.
    Damaged,
    Value(T),
}

/// Reads the file at `path`, of at most `longest` bytes, and parses it.
///
/// # Errors
/// Reading fails.
pub fn load<T>(
    path: &Path,
    longest: u64,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> io::Result<StoredFile<T>> {
    match read(path, longest) {
        Ok(None) => Ok(StoredFile::Absent),
        Ok(Some(bytes)) => Ok(parse(&bytes).map_or(StoredFile::Damaged, StoredFile::Value)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(StoredFile::Damaged),
        Err(error) => Err(error),
    }
}

/// Replaces the file at `path`, like [`write`].
///
/// # Errors
/// Writing fails; either the old or the new file exists.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, ExistingFile::Replace, |_| Ok(()))
}

/// Replaces the file at `path` with `bytes`, readable by its owner only. When this returns, the content
/// survives a power cut. `before` is called before each step, and can abort it.
///
/// # Errors
/// Writing fails, or `before` aborts it; either the old or the new file exists.
pub fn write(
    path: &Path,
    bytes: &[u8],
    existing: ExistingFile,
    mut before: impl FnMut(WriteStep) -> io::Result<()>,
) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no path of a file"));
    };
    let mut staged = name.to_owned();
    staged.push(".new");
    let staged = folder.join(staged);
    before(WriteStep::Stage)?;
    // A leftover of a power cut is removed, because it may be readable by others.
    match std::fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    before(WriteStep::Write)?;
    file.write_all(bytes)?;
    before(WriteStep::Sync)?;
    file.sync_all()?;
    before(WriteStep::Rename)?;
    let flags = match existing {
        ExistingFile::Replace => RenameFlags::empty(),
        ExistingFile::Keep => RenameFlags::NOREPLACE,
    };
    if let Err(error) = renameat_with(CWD, &staged, CWD, path, flags) {
        let _ = std::fs::remove_file(&staged);
        return Err(error.into());
    }
    before(WriteStep::SyncFolder)?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn cut(at: WriteStep) -> impl FnMut(WriteStep) -> io::Result<()> {
        move |step| if step == at { Err(io::Error::other("cut")) } else { Ok(()) }
    }

    #[test]
    fn old_or_new_at_every_step() {
        for step in WriteStep::ALL {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("file");
            assert_eq!(read(&path, 9).unwrap(), None);
            write(&path, b"old", ExistingFile::Replace, |_| Ok(())).unwrap();
            assert!(write(&path, b"new", ExistingFile::Replace, cut(step)).is_err());
            let found = read(&path, 9).unwrap().unwrap();
            let wanted: &[u8] = if step == WriteStep::SyncFolder { b"new" } else { b"old" };
            assert_eq!(found, wanted, "{step:?}");
            // A leftover file does not prevent writing.
            write(&path, b"newer", ExistingFile::Replace, |_| Ok(())).unwrap();
            assert_eq!(read(&path, 9).unwrap().unwrap(), b"newer");
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_there_can_be_kept() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        write(&path, b"old", ExistingFile::Keep, |_| Ok(())).unwrap();
        let error = write(&path, b"new", ExistingFile::Keep, |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path, 9).unwrap().unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(read(&path, 2).is_err());
    }
}
