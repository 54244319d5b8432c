//! The policy's state as rows in redb. Each call is one transaction, and on disk when it returns.

use std::collections::HashSet;
use std::path::Path;

use iroh_blobs::Hash;
use redb::{ReadableTable, TableDefinition};

use super::pins::Pins;
use super::queues::{Queue, QueuePosition};
use crate::database::Closable;

/// Objects: the hash, and a row.
const OBJECTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("objects");

/// Removals: an increasing number, and the hash.
const REMOVED: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("removed");

/// Public objects: the hash.
const PUBLIC: TableDefinition<&[u8; 32], ()> = TableDefinition::new("public");

/// Damaged objects: the hash.
const DAMAGED: TableDefinition<&[u8; 32], ()> = TableDefinition::new("damaged");

/// Pinned folders: the hash.
const FOLDERS: TableDefinition<&[u8; 32], ()> = TableDefinition::new("folders");

/// Bytes sent to a node's service: its key and the object's hash, and the number.
const SERVED: TableDefinition<&[u8; 64], u64> = TableDefinition::new("given");

/// The version of a row, its first byte.
const VERSION: u8 = 1;

/// The size of redb's cache, in bytes.
const CACHE: usize = 1 << 20;

/// The row of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRow {
    /// In bytes.
    pub size: u64,
    /// Whether it is pinned, or its position in a queue.
    pub state: ObjectState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectState {
    /// It stays as long as somebody pins it, or until it is removed.
    Pinned(Pins),
    /// It is evicted when room is needed.
    Loose(QueuePosition),
    /// It was evicted, but the store may still have it.
    Evicting,
}

/// A change within a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowChange {
    /// Set the object's row.
    Put(Hash, ObjectRow),
    Forget(Hash),
    /// Record a removal with this number.
    Removed(u64, Hash),
    /// Forget a removal.
    ForgetRemoval(u64),
    /// Make the object public.
    Public(Hash),
    /// Make the object private.
    Private(Hash),
    /// The disk has damaged the object.
    Damaged(Hash),
    /// It is not damaged any more, or not here.
    Repaired(Hash),
    /// The folder is pinned.
    PinnedFolder(Hash),
    /// It is not pinned any more.
    UnpinnedFolder(Hash),
    /// Set the total bytes of the object sent to this key.
    Served([u8; 32], Hash, u64),
    /// Forget these bytes.
    Unserved([u8; 32], Hash),
}

#[derive(Debug, Default)]
pub struct PersistedPolicy {
    pub objects: Vec<(Hash, ObjectRow)>,
    /// The removals, the oldest first.
    pub removed: Vec<(u64, Hash)>,
    /// The public objects.
    pub public: HashSet<Hash>,
    /// The damaged objects.
    pub damaged: HashSet<Hash>,
    /// The pinned folders.
    pub folders: HashSet<Hash>,
    /// The sent bytes.
    pub served: Vec<([u8; 32], Hash, u64)>,
}

#[derive(Debug)]
pub struct Rows(Closable);

impl Rows {
    /// Opens or creates the file, and reads all rows. Rows of another version are ignored.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(file: &Path) -> Result<(Self, PersistedPolicy), Box<redb::Error>> {
        let open = || -> Result<_, redb::Error> {
            let rows = Closable::open(file, CACHE)?;
            let transaction = rows.begin_write()?;
            transaction.open_table(OBJECTS)?;
            transaction.open_table(REMOVED)?;
            transaction.open_table(PUBLIC)?;
            transaction.open_table(DAMAGED)?;
            transaction.open_table(FOLDERS)?;
            transaction.open_table(SERVED)?;
            transaction.commit()?;
            let mut saved = PersistedPolicy::default();
            let transaction = rows.begin_read()?;
            for pair in transaction.open_table(OBJECTS)?.iter()? {
                let (hash, row) = pair?;
                if let Some(row) = ObjectRow::from_bytes(row.value()) {
                    saved.objects.push((Hash::from_bytes(*hash.value()), row));
                }
            }
            for pair in transaction.open_table(REMOVED)?.iter()? {
                let (number, hash) = pair?;
                saved.removed.push((number.value(), Hash::from_bytes(*hash.value())));
            }
            for pair in transaction.open_table(PUBLIC)?.iter()? {
                saved.public.insert(Hash::from_bytes(*pair?.0.value()));
            }
            for pair in transaction.open_table(DAMAGED)?.iter()? {
                saved.damaged.insert(Hash::from_bytes(*pair?.0.value()));
            }
            for pair in transaction.open_table(FOLDERS)?.iter()? {
                saved.folders.insert(Hash::from_bytes(*pair?.0.value()));
            }
            for pair in transaction.open_table(SERVED)?.iter()? {
                let (key, bytes) = pair?;
                let (to, hash) = split_key(key.value());
                saved.served.push((to, hash, bytes.value()));
            }
            Ok((Self(rows), saved))
        };
        open().map_err(Box::new)
    }

    /// Closes the file. Later calls fail.
    pub fn close(&self) {
        self.0.close();
    }

    /// Applies `changes` atomically.
    ///
    /// # Errors
    /// Writing fails.
    pub fn change(&self, changes: &[RowChange]) -> Result<(), Box<redb::Error>> {
        let write = || -> Result<(), redb::Error> {
            // redb syncs each transaction by default.
            let transaction = self.0.begin_write()?;
            {
                let mut objects = transaction.open_table(OBJECTS)?;
                let mut removed = transaction.open_table(REMOVED)?;
                let mut public = transaction.open_table(PUBLIC)?;
                let mut damaged = transaction.open_table(DAMAGED)?;
                let mut folders = transaction.open_table(FOLDERS)?;
                let mut given = transaction.open_table(SERVED)?;
                for change in changes {
                    match change {
                        RowChange::Put(hash, row) => {
                            drop(objects.insert(hash.as_bytes(), row.to_bytes().as_slice())?);
                        }
                        RowChange::Forget(hash) => drop(objects.remove(hash.as_bytes())?),
                        RowChange::Removed(number, hash) => {
                            drop(removed.insert(number, hash.as_bytes())?);
                        }
                        RowChange::ForgetRemoval(number) => drop(removed.remove(number)?),
                        RowChange::Public(hash) => drop(public.insert(hash.as_bytes(), ())?),
                        RowChange::Private(hash) => drop(public.remove(hash.as_bytes())?),
                        RowChange::Damaged(hash) => drop(damaged.insert(hash.as_bytes(), ())?),
                        RowChange::Repaired(hash) => drop(damaged.remove(hash.as_bytes())?),
                        RowChange::PinnedFolder(hash) => {
                            drop(folders.insert(hash.as_bytes(), ())?);
                        }
                        RowChange::UnpinnedFolder(hash) => drop(folders.remove(hash.as_bytes())?),
                        RowChange::Served(to, hash, bytes) => {
                            drop(given.insert(&join_key(to, hash), bytes)?);
                        }
                        RowChange::Unserved(to, hash) => drop(given.remove(&join_key(to, hash))?),
                    }
                }
            }
            Ok(transaction.commit()?)
        };
        write().map_err(Box::new)
    }
}

impl ObjectRow {
    pub fn pins(&self) -> Pins {
        match self.state {
            ObjectState::Pinned(pins) => pins,
            ObjectState::Loose(_) | ObjectState::Evicting => Pins::default(),
        }
    }

    /// The canonical encoding (numbers are big-endian): version (1 byte, 1), stand (1: 0 leaving, 1
    /// pinned by an operator, 2 in the small queue, 3 in the main one, 4 pinned by a `[[keep]]`, 5 by
    /// both; 6 by a folder, 7 by it and an operator, 8 by it and a `[[keep]]`, 9 by all of them), size (8), the
    /// number of its position (8; 0 without one).
    fn to_bytes(self) -> Vec<u8> {
        let (stand, number) = match self.state {
            ObjectState::Evicting => (0, 0),
            ObjectState::Pinned(Pins { operator, keep, folder }) => {
                match (folder, keep, operator) {
                    (false, false, _) => (1, 0),
                    (false, true, false) => (4, 0),
                    (false, true, true) => (5, 0),
                    (true, false, false) => (6, 0),
                    (true, false, true) => (7, 0),
                    (true, true, false) => (8, 0),
                    (true, true, true) => (9, 0),
                }
            }
            ObjectState::Loose(QueuePosition { queue: Queue::Small, number }) => (2, number),
            ObjectState::Loose(QueuePosition { queue: Queue::Main, number }) => (3, number),
        };
        [&[VERSION, stand][..], &self.size.to_be_bytes(), &number.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[version, state], numbers) = bytes.split_first_chunk()?;
        let (size, number) = numbers.split_first_chunk()?;
        let (size, number) =
            (u64::from_be_bytes(*size), u64::from_be_bytes(number.try_into().ok()?));
        let state = match (version, state) {
            (VERSION, 0) => ObjectState::Evicting,
            (VERSION, 1 | 4..=9) => ObjectState::Pinned(Pins {
                operator: matches!(state, 1 | 5 | 7 | 9),
                keep: matches!(state, 4 | 5 | 8 | 9),
                folder: state >= 6,
            }),
            (VERSION, 2) => ObjectState::Loose(QueuePosition { queue: Queue::Small, number }),
            (VERSION, 3) => ObjectState::Loose(QueuePosition { queue: Queue::Main, number }),
            _ => return None,
        };
        Some(Self { size, state })
    }
}

fn join_key(to: &[u8; 32], hash: &Hash) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(to);
    key[32..].copy_from_slice(hash.as_bytes());
    key
}

fn split_key(key: &[u8; 64]) -> ([u8; 32], Hash) {
    let (mut to, mut hash) = ([0; 32], [0; 32]);
    to.copy_from_slice(&key[..32]);
    hash.copy_from_slice(&key[32..]);
    (to, Hash::from_bytes(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(size: u64, number: u64, stand in 0u8..10) {
            let pinned = |operator, keep, folder| ObjectState::Pinned(Pins { operator, keep, folder });
            let state = match stand {
                0 => ObjectState::Evicting,
                1 => pinned(true, false, false),
                4 => pinned(false, true, false),
                5 => pinned(true, true, false),
                6 => pinned(false, false, true),
                7 => pinned(true, false, true),
                8 => pinned(false, true, true),
                9 => pinned(true, true, true),
                2 => ObjectState::Loose(QueuePosition { queue: Queue::Small, number }),
                _ => ObjectState::Loose(QueuePosition { queue: Queue::Main, number }),
            };
            let row = ObjectRow { size, state };
            prop_assert_eq!(row.to_bytes()[1], stand);
            prop_assert_eq!(ObjectRow::from_bytes(&row.to_bytes()), Some(row));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            if let Some(row) = ObjectRow::from_bytes(&bytes) {
                prop_assert_eq!(row.to_bytes().len(), bytes.len());
            }
        }
    }
}
