//! A database that can be closed while others hold references to it.
//!
//! redb marks a file as clean when its `Database` is dropped; otherwise the next start has to scan
//! the whole file. Server threads never drop their references, so the database is taken from them.

use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use octet_node::repairing::repairing;
use redb::{Database, Error, ReadTransaction, ReadableDatabase, WriteTransaction};

#[derive(Debug)]
pub struct Closable(RwLock<Option<Database>>);

impl Closable {
    /// Opens or creates `file`, with at most `cache` bytes of cache.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(file: &Path, cache: usize) -> Result<Self, Error> {
        let _repairing = repairing(file);
        let database = Database::builder().set_cache_size(cache).create(file)?;
        Ok(Self(RwLock::new(Some(database))))
    }

    fn get(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a read transaction.
    ///
    /// # Errors
    /// The database is closed, or reading fails.
    pub fn begin_read(&self) -> Result<ReadTransaction, Error> {
        Ok(self.get().as_ref().ok_or(Error::DatabaseClosed)?.begin_read()?)
    }

    pub fn begin_write(&self) -> Result<WriteTransaction, Error> {
        Ok(self.get().as_ref().ok_or(Error::DatabaseClosed)?.begin_write()?)
    }

    /// Closes the database after running writes.
    pub fn close(&self) {
        let database = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(database);
    }
}
