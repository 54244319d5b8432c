//! The operator's key file, on the operator's machine.

use std::io;
use std::path::{Path, PathBuf};

use octet_node::durable::{ExistingFile, StoredFile};
use octet_node::key::{self, PrivateKey};

/// Why the key is unusable.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no key at {}", .0.display())]
    Absent(PathBuf),
    #[error("there is a file at {} already", .0.display())]
    Existing(PathBuf),
    #[error("{} is not a key, or damaged", .0.display())]
    Damaged(PathBuf),
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Disk(PathBuf, io::Error),
}

impl KeyError {
    /// A hint for the user.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Absent(_) => "make one: `octetctl keygen`, or name another: --key FILE",
            Self::Existing(_) => "name another file; a key that is replaced is lost",
            Self::Damaged(_) => {
                "put it back from where you keep a copy, or name another: --key FILE"
            }
            Self::Disk(..) => "see that the folder can be read and written by you",
        }
    }
}

/// Reads the key at `path`.
pub fn read(path: &Path) -> Result<PrivateKey, KeyError> {
    match key::read(path) {
        Ok(StoredFile::Value(key)) => Ok(key),
        Ok(StoredFile::Absent) => Err(KeyError::Absent(path.to_owned())),
        Ok(StoredFile::Damaged) => Err(KeyError::Damaged(path.to_owned())),
        Err(error) => Err(KeyError::Disk(path.to_owned(), error)),
    }
}

/// Generates a key at `path`, readable by the file's owner only.
///
/// # Errors
/// The file exists, or writing fails.
pub fn generate(path: &Path) -> Result<PrivateKey, KeyError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| key::create(path, ExistingFile::Keep, |_| Ok(())))
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Existing(path.to_owned()),
            _ => KeyError::Disk(path.to_owned(), error),
        })
}
