//! A file that this process has locked.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Deref;

/// A file, locked until the value is dropped.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Locks `file`, which nobody else may have locked.
    ///
    /// # Errors
    /// Somebody else has locked it, or its file system has no locks.
    pub fn try_new(file: File) -> Result<Self, TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }

    /// Locks `file` as soon as nobody else has it locked.
    ///
    /// # Errors
    /// Its file system has no locks.
    pub fn wait(file: File) -> io::Result<Self> {
        file.lock()?;
        Ok(Self(file))
    }
}

impl Deref for FileLock {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for FileLock {
    /// Closing the file is not enough: a child that another thread is just starting has it open, too, until it has
    /// become another program, and the lock would last as long.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_is_being_started_keeps_no_lock() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::open(file.path()).unwrap();
        let locked = FileLock::try_new(open()).unwrap();
        // What such a child has.
        let _same = locked.try_clone().unwrap();
        assert!(matches!(FileLock::try_new(open()), Err(TryLockError::WouldBlock)));
        drop(locked);
        FileLock::try_new(open()).unwrap();
    }
}
