//! Where a person is kept: rows in a file of redb, each sealed with XChaCha20-Poly1305.
//!
//! What a step changes is one transaction, and on disk when [`Store::keep`] returns. A row's name is a digest, so
//! that the file does not tell with whom somebody speaks.

mod ring;

use std::io;
use std::path::{Path, PathBuf};

use octet_node::key::NoRandomness;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use crate::history::HistoryEntry;
use crate::person::Person;
use crate::rows::{ChangedRow, RowName, decode};
use ring::KeyRing;

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

/// The file of the rows.
const FILE: &str = "rows";

/// The memory that redb may use for what it has read, in bytes.
const CACHE: usize = 4 << 20;

/// Why nothing is read or kept.
#[derive(Debug, thiserror::Error)]
pub enum PersonStoreError {
    /// The disk does not give or take it.
    #[error("{0}: see that the folder can be read and written by you, and is not full")]
    Disk(#[from] io::Error),
    /// The rows are not to be had.
    #[error("the file of messages: {0}")]
    Rows(Box<redb::Error>),
    /// Somebody else has it open.
    #[error("another `octet-msg` has the folder open: wait until it has ended")]
    Busy,
    /// The key of the keys is another.
    #[error("the passphrase is wrong, or the file of keys damaged")]
    WrongKey,
    /// A row is not what was kept.
    #[error("the file of messages is damaged: nothing is done with it")]
    Damaged,
    #[error("there is nobody in {}: `octet-msg init` first", .0.display())]
    Absent(PathBuf),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl From<redb::Error> for PersonStoreError {
    fn from(error: redb::Error) -> Self {
        Self::Rows(Box::new(error))
    }
}

/// What is kept of a person.
#[derive(Debug)]
pub struct PersonStore {
    folder: PathBuf,
    key: [u8; 32],
    ring: KeyRing,
    rows: Database,
}

impl PersonStore {
    /// A new one in `folder`, whose keys are sealed with `key`.
    ///
    /// # Errors
    /// There is one already, or the disk does not take it.
    pub fn create(folder: &Path, key: [u8; 32]) -> Result<Self, PersonStoreError> {
        KeyRing::new()?.save(folder, &key, true)?;
        Self::open(folder, key)
    }

    /// The one in `folder`. What a rotation of keys has left half done is done.
    ///
    /// # Errors
    /// There is none, the key is another, or the disk does not give it.
    pub fn open(folder: &Path, key: [u8; 32]) -> Result<Self, PersonStoreError> {
        let ring = KeyRing::load(folder, &key)?;
        let rows = Database::builder().set_cache_size(CACHE).create(folder.join(FILE));
        let rows = rows.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => PersonStoreError::Busy,
            error => PersonStoreError::Rows(Box::new(error.into())),
        })?;
        let mut store = Self { folder: folder.to_owned(), key, ring, rows };
        store.make_table()?;
        if store.ring.is_turning() {
            store.turn()?;
        }
        Ok(store)
    }

    fn make_table(&self) -> Result<(), PersonStoreError> {
        let make = || -> Result<(), redb::Error> {
            let transaction = self.rows.begin_write()?;
            transaction.open_table(ROWS)?;
            Ok(transaction.commit()?)
        };
        Ok(make()?)
    }

    /// The person that is kept.
    ///
    /// # Errors
    /// There is none, or something is damaged.
    pub fn load(&self) -> Result<Person, PersonStoreError> {
        let mut rows = vec![];
        self.each(|row, value| rows.push((row, value)))?;
        if rows.is_empty() {
            return Err(PersonStoreError::Absent(self.folder.clone()));
        }
        Person::load(rows).ok_or(PersonStoreError::Damaged)
    }

    /// Hands every row that is not a history to `take`.
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

    /// Keeps `changes`, all of them or none. When it returns they have survived a cut.
    ///
    /// # Errors
    /// They are not kept; then what is in memory is to be dropped.
    pub fn keep(&self, changes: &[ChangedRow]) -> Result<(), PersonStoreError> {
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
            // It is synced, which is what redb does unless it is told otherwise.
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

    /// The lines of the history from `from` to before `to`.
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

    /// Seals all but the history with a new key, and forgets the old one: what the file still has of older states can
    /// then be read by nobody.
    ///
    /// # Errors
    /// The disk does not take it; the next [`open`](Self::open) goes on with it.
    pub fn rotate(&mut self) -> Result<(), PersonStoreError> {
        self.ring.begin_turn()?;
        self.ring.save(&self.folder, &self.key, false)?;
        self.turn()
    }

    fn turn(&mut self) -> Result<(), PersonStoreError> {
        let mut changes = vec![];
        self.each(|row, value| changes.push(ChangedRow { row, value: Some(value) }))?;
        self.keep(&changes)?;
        self.ring.end_turn();
        self.ring.save(&self.folder, &self.key, false)
    }
}
