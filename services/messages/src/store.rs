//! The storage of a person: rows in a redb file, each encrypted with XChaCha20-Poly1305.
//!
//! The changes of a step are one transaction, which is on disk when [`PersonStore::write`] returns.
//! The key of a row is a digest, so that the file does not reveal the person's contacts.

mod key_ring;

use std::io;
use std::path::{Path, PathBuf};

use octet_node::key::NoRandomness;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use crate::history::HistoryEntry;
use crate::person::Person;
use crate::rows::{ChangedRow, RowName, decode};
use key_ring::KeyRing;

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

/// The name of the file.
const FILE: &str = "rows";

/// The size of redb's cache, in bytes.
const CACHE: usize = 4 << 20;

/// Why the store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PersonStoreError {
    /// The operating system reports an error.
    #[error("{0}: see that the folder can be read and written by you, and is not full")]
    Disk(#[from] io::Error),
    /// redb reports an error.
    #[error("the file of messages: {0}")]
    Rows(Box<redb::Error>),
    /// Another process has opened it.
    #[error("another `octet-msg` has the folder open: wait until it has ended")]
    Busy,
    /// The key that encrypts the key ring is wrong, or the key ring is damaged.
    #[error("the passphrase is wrong, or the file of keys damaged")]
    WrongKey,
    /// A row was changed or is missing.
    #[error("the file of messages is damaged: nothing is done with it")]
    Damaged,
    #[error("{} has no identity: `octet-msg init` first", .0.display())]
    Absent(PathBuf),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl From<redb::Error> for PersonStoreError {
    fn from(error: redb::Error) -> Self {
        Self::Rows(Box::new(error))
    }
}

/// The storage of a person.
#[derive(Debug)]
pub struct PersonStore {
    folder: PathBuf,
    key: [u8; 32],
    ring: KeyRing,
    rows: Database,
}

impl PersonStore {
    /// Creates a store in `folder`, whose key ring is encrypted with `key`.
    ///
    /// # Errors
    /// A store exists already, or writing fails.
    pub fn create(folder: &Path, key: [u8; 32]) -> Result<Self, PersonStoreError> {
        KeyRing::new()?.save(folder, &key, true)?;
        Self::open(folder, key)
    }

    /// Opens the store in `folder`, and completes an interrupted rotation of keys.
    ///
    /// # Errors
    /// There is no store, the key is wrong, or reading fails.
    pub fn open(folder: &Path, key: [u8; 32]) -> Result<Self, PersonStoreError> {
        Self::open_after(folder, key, || {})
    }

    /// The same; calls `checked` when `key` is known to be right, and the file is not open yet.
    fn open_after(
        folder: &Path,
        key: [u8; 32],
        checked: impl FnOnce(),
    ) -> Result<Self, PersonStoreError> {
        KeyRing::load(folder, &key)?;
        checked();
        let rows = Database::builder().set_cache_size(CACHE).create(folder.join(FILE));
        let rows = rows.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => PersonStoreError::Busy,
            error => PersonStoreError::Rows(Box::new(error.into())),
        })?;
        // Another process may have replaced the keys before this one had the file.
        let ring = KeyRing::load(folder, &key)?;
        let mut store = Self { folder: folder.to_owned(), key, ring, rows };
        store.create_table()?;
        if store.ring.is_rotating() {
            store.rotate_rows()?;
        }
        Ok(store)
    }

    fn create_table(&self) -> Result<(), PersonStoreError> {
        let make = || -> Result<(), redb::Error> {
            if self.rows.begin_read()?.open_table(ROWS).is_ok() {
                return Ok(());
            }
            let transaction = self.rows.begin_write()?;
            transaction.open_table(ROWS)?;
            Ok(transaction.commit()?)
        };
        Ok(make()?)
    }

    /// Loads the person.
    ///
    /// # Errors
    /// There is none, or a row is damaged.
    pub fn load(&self) -> Result<Person, PersonStoreError> {
        let mut rows = vec![];
        self.each(|row, value| rows.push((row, value)))?;
        if rows.is_empty() {
            return Err(PersonStoreError::Absent(self.folder.clone()));
        }
        Person::load(rows).ok_or(PersonStoreError::Damaged)
    }

    /// Calls `take` for every row that is not a line of the history.
    fn each(&self, mut take: impl FnMut(RowName, Vec<u8>)) -> Result<(), PersonStoreError> {
        let mut is_whole = true;
        let mut read = || -> Result<(), redb::Error> {
            let table = self.rows.begin_read()?.open_table(ROWS)?;
            for pair in table.iter()? {
                let (name, sealed) = pair?;
                if KeyRing::is_history(sealed.value()) {
                    continue;
                }
                match self.ring.open(name.value(), sealed.value()) {
                    Some((row, value)) => take(row, value),
                    None => is_whole = false,
                }
            }
            Ok(())
        };
        read()?;
        is_whole.then_some(()).ok_or(PersonStoreError::Damaged)
    }

    /// Writes `changes` atomically. They are on disk when it returns.
    ///
    /// # Errors
    /// Writing fails; the person in memory must be dropped then.
    pub fn write(&self, changes: &[ChangedRow]) -> Result<(), PersonStoreError> {
        let mut sealed = vec![];
        for change in changes {
            let name = self.ring.name(&change.row);
            let value = match &change.value {
                Some(value) => Some(self.ring.seal(&name, &change.row, value)?),
                None => None,
            };
            sealed.push((name, value));
        }
        let write = || -> Result<(), redb::Error> {
            // redb syncs each transaction by default.
            let transaction = self.rows.begin_write()?;
            {
                let mut table = transaction.open_table(ROWS)?;
                for (name, value) in &sealed {
                    match value {
                        Some(value) => drop(table.insert(name.as_slice(), value.as_slice())?),
                        None => drop(table.remove(name.as_slice())?),
                    }
                }
            }
            Ok(transaction.commit()?)
        };
        Ok(write()?)
    }

    /// The lines of the history from `from` up to but excluding `to`.
    pub fn history(&self, from: u64, to: u64) -> Result<Vec<HistoryEntry>, PersonStoreError> {
        let mut values = vec![];
        let mut read = || -> Result<(), redb::Error> {
            let table = self.rows.begin_read()?.open_table(ROWS)?;
            for number in from..to {
                let name = self.ring.name(&RowName::History(number));
                let value = table.get(name.as_slice())?.map(|value| value.value().to_vec());
                values.push((name, value));
            }
            Ok(())
        };
        read()?;
        let entry = |(name, value): ([u8; 16], Option<Vec<u8>>)| {
            let (_, entry) = self.ring.open(&name, &value?)?;
            decode(&entry)
        };
        values.into_iter().map(|pair| entry(pair).ok_or(PersonStoreError::Damaged)).collect()
    }

    /// Encrypts all rows but the history with a new key, and deletes the old key: remains of
    /// earlier states in the file become unreadable.
    ///
    /// # Errors
    /// Writing fails; the next [`open`](Self::open) resumes the rotation.
    pub fn rotate(&mut self) -> Result<(), PersonStoreError> {
        self.ring.begin_rotation()?;
        self.ring.save(&self.folder, &self.key, false)?;
        self.rotate_rows()
    }

    fn rotate_rows(&mut self) -> Result<(), PersonStoreError> {
        let mut changes = vec![];
        self.each(|row, value| changes.push(ChangedRow { row, value: Some(value) }))?;
        self.write(&changes)?;
        self.ring.end_rotation();
        self.ring.save(&self.folder, &self.key, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::NewIdentity;
    use octet_node::key::random;
    use tempfile::TempDir;

    #[test]
    fn another_process_changes_the_keys_before_the_file_is_open() {
        let (folder, key) = (TempDir::new().unwrap(), random().unwrap());
        let fresh = NewIdentity {
            name: random().unwrap(),
            key: random().unwrap(),
            seal: random().unwrap(),
        };
        let (person, rows) = Person::new(fresh, vec![], 1).unwrap();
        PersonStore::create(folder.path(), key).unwrap().write(&rows).unwrap();
        let other = || PersonStore::open(folder.path(), key).unwrap().rotate().unwrap();
        let store = PersonStore::open_after(folder.path(), key, other).unwrap();
        assert_eq!(store.load().unwrap().name(), person.name());
        // While it is open nobody else has it.
        let busy = PersonStore::open(folder.path(), key);
        assert!(matches!(busy, Err(PersonStoreError::Busy)), "{busy:?}");
    }
}
