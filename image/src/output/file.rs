//! Files that are either whole or not there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::file_lock::FileLock;
use crate::steps::Steps;

/// A file could not be written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot write {path}: {why}")]
#[diagnostic(help("{}", advice(why)))]
pub struct WriteError {
    path: PathBuf,
    why: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on that file system, or choose another with --out"
        }
        _ if is_read_only(error) => "make it writable for you, or choose another folder with --out",
        _ => "see that its folder can be written, or choose another with --out",
    }
}

impl WriteError {
    /// The error of whatever was done at `path`.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |why| Self { path, why }
    }
}

/// Writes `content` beside `path` and renames it there once all of it is on disk. What a cut
/// leaves behind has the ending `.part` and is overwritten by the next run.
pub fn write(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    write_with(path, |mut file| file.write_all(content))
}

/// The same for a file that `fill` is to fill.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), WriteError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(&part)?;
        fill(&file)?;
        file.sync_data()?;
        fs::rename(&part, path)
    };
    write().map_err(|why| {
        // A partial file on a full disk would only keep it full.
        let _ = fs::remove_file(&part);
        WriteError::at(path)(why)
    })
}

/// Waits until nobody else holds the lock file at `path`, says so if it has to, and holds it until it is dropped. Where
/// nothing can be written, one that is there will do.
pub fn lock(path: &Path, steps: &Steps) -> Result<FileLock, WriteError> {
    let take = || -> io::Result<FileLock> {
        let file = match open_lock(path) {
            Err(error) if is_read_only(&error) => File::open(path).map_err(|_| error)?,
            file => file?,
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                steps.warn(&format!(
                    "waiting for another `cargo image`, which holds {}",
                    path.display()
                ));
            }
            taken => taken?,
        }
        FileLock::wait(file)
    };
    take().map_err(WriteError::at(path))
}

fn open_lock(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::options().create(true).truncate(false).write(true).open(path)
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Removes the file at `path`, if there is one.
pub fn remove(path: &Path) -> Result<(), WriteError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WriteError::at(path)(error)),
        _ => Ok(()),
    }
}
