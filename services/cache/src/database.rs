//! A database that can be closed while others still know it.
//!
//! redb marks a file as whole when its `Database` is dropped. Who finds another one goes through all of it before it
//! can be read. Threads that serve others are never done with theirs, so it is taken from them.

use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use octet_node::repairing::repairing;
use redb::{Database, Error, ReadTransaction, ReadableDatabase, WriteTransaction};

#[derive(Debug)]
pub struct Closable(RwLock<Option<Database>>);

impl Closable {
    /// Opens `file`, which is made if it is not there; `cache` bytes of it at most are kept in memory.
    ///
    /// # Errors
    /// The disk does not give it.
    pub fn open(file: &Path, cache: usize) -> Result<Self, Error> {
        let _repairing = repairing(file);
        let database = Database::builder().set_cache_size(cache).create(file)?;
        Ok(Self(RwLock::new(Some(database))))
    }

    fn get(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to read.
    ///
    /// # Errors
    /// It is closed, or the disk does not give it.
    pub fn begin_read(&self) -> Result<ReadTransaction, Error> {
        Ok(self.get().as_ref().ok_or(Error::DatabaseClosed)?.begin_read()?)
    }

    pub fn begin_write(&self) -> Result<WriteTransaction, Error> {
        Ok(self.get().as_ref().ok_or(Error::DatabaseClosed)?.begin_write()?)
    }

    /// Closes it. What is being written is waited for.
    pub fn close(&self) {
        let database = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(database);
    }
}
