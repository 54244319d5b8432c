//! Decided blocks with their certificates, the rows of the state after the newest one, and evidence against validators
//! that contradicted themselves.
//!
//! One-phase commits are enough: redb then trusts a checksum that whoever writes blocks could in theory defeat, but
//! opening the store compares the hash of all rows. Rows that do not fit are made anew from the blocks.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use octet_coins::{Block, BlockHash, Genesis, LedgerState};
use redb::backends::FileBackend;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    WriteTransaction,
};

use crate::consensus::{BlockCertificate, Equivocation};
use crate::snapshot::LedgerSnapshot;

/// Height → block and certificate.
const BLOCKS: TableDefinition<u64, (&[u8], &[u8])> = TableDefinition::new("blocks");
/// The rows of the state, as [`LedgerState::rows`] has them.
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// The block after which the rows are: its height, its hash, and the hash of the rows.
const TIP: TableDefinition<(), (u64, &[u8; 32], &[u8; 32])> = TableDefinition::new("tip");
/// [`Equivocation::id`] → the two signed messages.
const EVIDENCE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("evidence");
/// The hash of the genesis.
const GENESIS: TableDefinition<(), &[u8; 32]> = TableDefinition::new("genesis");

/// redb's cache in bytes. It is small because only the newest blocks are read, except when others catch up.
const CACHE: usize = 2 << 20;

/// The maximum number of equivocations of each validator that are kept. One is enough to remove it by vote.
pub const MAX_EVIDENCE: usize = 64;

/// How many blocks go at most with each that comes.
const MAX_PRUNED: u64 = 16;

/// A block and its certificate, encoded.
pub type StoredBlock = (Vec<u8>, Vec<u8>);

/// The decided blocks of a ledger.
#[derive(Debug)]
pub struct BlockStore {
    database: Database,
    /// Whether blocks were written and not waited for.
    is_behind: bool,
    /// The number of blocks that are kept; `None`: all.
    keep: Option<u64>,
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store cannot be opened: {0}")]
    Io(#[from] io::Error),
    #[error("the store fails: {0}")]
    Database(#[from] redb::Error),
    #[error("the store is of a ledger with another genesis")]
    OtherGenesis,
    #[error("block {0} of the store does not follow the one before")]
    Block(u64),
}

impl StoreError {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Io(_) | Self::Database(_) => "look whether the disk is full or fails",
            Self::OtherGenesis => "give each ledger a directory of its own",
            Self::Block(_) => {
                "the disk fails, or the store was written by a program with other rules: move the store away, and \
                 the blocks are fetched again from other nodes; leave the log where it is"
            }
        }
    }
}

macro_rules! from_redb {
    ($($name:ident),*) => {
        $(impl From<redb::$name> for StoreError {
            fn from(error: redb::$name) -> Self {
                Self::Database(error.into())
            }
        })*
    };
}

from_redb!(
    CommitError,
    DatabaseError,
    SetDurabilityError,
    StorageError,
    TableError,
    TransactionError
);

/// Creates the file of a store, or opens it. A power cut while redb creates a file leaves one that cannot be opened, so
/// it is created under another name.
///
/// # Errors
/// The file or its directory cannot be written.
pub fn store_file(path: &Path) -> Result<FileBackend, StoreError> {
    let open = |path: &Path| {
        File::options().read(true).write(true).create(true).truncate(false).open(path)
    };
    let backend = |file| FileBackend::new(file).map_err(StoreError::from);
    if !path.exists() {
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        drop(Database::builder().create_with_backend(backend(open(&new)?)?)?);
        File::open(&new)?.sync_all()?;
        rename(&new, path)?;
    }
    backend(open(path)?)
}

/// Makes the store of a snapshot at `path`. It is there whole, or not at all.
///
/// # Errors
/// The file or its directory cannot be written.
pub fn write_snapshot(
    path: &Path,
    genesis: &Genesis,
    snapshot: &LedgerSnapshot,
) -> Result<(), StoreError> {
    let part = path.with_extension("part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let (store, _) = BlockStore::open(store_file(&part)?, genesis)?;
    let LedgerSnapshot { state, block, certificate } = snapshot;
    let write = store.database.begin_write()?;
    write.open_table(BLOCKS)?.insert(state.height(), (&block[..], &certificate.to_bytes()[..]))?;
    write.delete_table(ROWS)?;
    write_rows(&write, state, state.rows().map(|(key, value)| (key, Some(value))))?;
    write.commit()?;
    drop(store);
    rename(&part, path)
}

/// Replaces the store at `path` by that of a snapshot at `from`, if there is one.
///
/// # Errors
/// The directory cannot be written.
pub fn take_snapshot(from: &Path, path: &Path) -> Result<(), StoreError> {
    if from.exists() { rename(from, path) } else { Ok(()) }
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to)?;
    let folder = to.parent().filter(|it| !it.as_os_str().is_empty());
    Ok(File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?)
}

impl BlockStore {
    /// Opens a store, and returns the state after its newest block.
    ///
    /// # Errors
    /// The disk fails, or the blocks are not those of a ledger with this genesis.
    pub fn open(
        disk: impl StorageBackend,
        genesis: &Genesis,
    ) -> Result<(Self, LedgerState), StoreError> {
        let database = Database::builder().set_cache_size(CACHE).create_with_backend(disk)?;
        let is_new = {
            let read = database.begin_read()?;
            let table = read.open_table(GENESIS);
            match table {
                Err(redb::TableError::TableDoesNotExist(_)) => true,
                table => {
                    let row = table?.get(())?;
                    if row.is_none_or(|row| *row.value() != genesis.hash().0) {
                        return Err(StoreError::OtherGenesis);
                    }
                    false
                }
            }
        };
        if is_new {
            let write = database.begin_write()?;
            write.open_table(GENESIS)?.insert((), &genesis.hash().0)?;
            write.open_table(BLOCKS)?;
            let state = LedgerState::new(genesis);
            write_rows(&write, &state, state.changes())?;
            write.open_table(EVIDENCE)?;
            write.commit()?;
        }
        let store = Self { database, is_behind: false, keep: None };
        let state = store.state(genesis)?;
        Ok((store, state))
    }

    /// Keeps so many of the newest blocks from now on; `None`: all.
    pub fn keep_blocks(&mut self, keep: Option<u64>) {
        self.keep = keep;
    }

    /// The state after the newest block.
    fn state(&self, genesis: &Genesis) -> Result<LedgerState, StoreError> {
        if let Some(state) = self.stored_state(genesis)? {
            return Ok(state);
        }
        let state = self.rebuilt_state(genesis)?;
        let write = self.database.begin_write()?;
        write.delete_table(ROWS)?;
        let all = state.rows().map(|(key, value)| (key, Some(value)));
        write_rows(&write, &state, all)?;
        write.commit()?;
        Ok(state)
    }

    /// The state of the rows, if they are whole, and those after the newest block.
    fn stored_state(&self, genesis: &Genesis) -> Result<Option<LedgerState>, StoreError> {
        let read = self.database.begin_read()?;
        let newest = match read.open_table(BLOCKS)?.last()? {
            Some((height, row)) => match Block::from_bytes(row.value().0) {
                Some(block) => (height.value(), block.hash()),
                None => return Err(StoreError::Block(height.value())),
            },
            None => (0, genesis.hash()),
        };
        let (Ok(tip), Ok(rows)) = (read.open_table(TIP), read.open_table(ROWS)) else {
            return Ok(None);
        };
        let Some(tip) = tip.get(())? else { return Ok(None) };
        let (height, block, hash) = tip.value();
        if (height, BlockHash(*block)) != newest {
            return Ok(None);
        }
        let row = |row: Result<_, redb::StorageError>| {
            let (key, value): (redb::AccessGuard<'_, &[u8]>, redb::AccessGuard<'_, &[u8]>) = row?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        };
        let rows = rows.iter()?.map(row).collect::<Result<Vec<_>, StoreError>>()?;
        let state = LedgerState::from_rows(genesis, height, newest.1, rows);
        Ok(state.filter(|state| state.hash() == *hash))
    }

    /// The state after all blocks.
    fn rebuilt_state(&self, genesis: &Genesis) -> Result<LedgerState, StoreError> {
        let mut state = LedgerState::new(genesis);
        let blocks = self.database.begin_read()?.open_table(BLOCKS)?;
        for row in blocks.iter()? {
            let (height, row) = row?;
            let failure = StoreError::Block(height.value());
            let Some(block) = Block::from_bytes(row.value().0) else { return Err(failure) };
            state = state.check(&block).map_err(|_| failure)?;
        }
        Ok(state)
    }

    /// Writes a decided block, and the rows that are others in the state after it. Without `is_durable` the disk is not waited for until [`flush`](Self::flush).
    ///
    /// # Errors
    /// The disk fails.
    pub fn insert(
        &mut self,
        height: u64,
        block: &[u8],
        certificate: &BlockCertificate,
        next: &LedgerState,
        is_durable: bool,
    ) -> Result<(), StoreError> {
        let mut write = self.database.begin_write()?;
        if !is_durable {
            write.set_durability(Durability::None)?;
        }
        write.open_table(BLOCKS)?.insert(height, (block, &certificate.to_bytes()[..]))?;
        write_rows(&write, next, next.changes())?;
        if let Some(oldest) = self.keep.and_then(|keep| height.checked_sub(keep)) {
            let mut blocks = write.open_table(BLOCKS)?;
            for _ in 0..MAX_PRUNED {
                let first = blocks.first()?.map(|(first, _)| first.value());
                if first.is_none_or(|first| first > oldest) {
                    break;
                }
                blocks.pop_first()?;
            }
        }
        write.commit()?;
        self.is_behind = !is_durable;
        Ok(())
    }

    /// Returns once all blocks are on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        if self.is_behind {
            self.database.begin_write()?.commit()?;
            self.is_behind = false;
        }
        Ok(())
    }

    /// A block and its certificate, encoded.
    ///
    /// # Errors
    /// The disk fails.
    pub fn block(&self, height: u64) -> Result<Option<StoredBlock>, StoreError> {
        let row = self.database.begin_read()?.open_table(BLOCKS)?.get(height)?;
        Ok(row.map(|row| (row.value().0.to_vec(), row.value().1.to_vec())))
    }

    /// Keeps evidence, each once.
    ///
    /// # Errors
    /// The disk fails.
    pub fn add_evidence(&mut self, evidence: &[Equivocation]) -> Result<(), StoreError> {
        for one in evidence {
            if !self.has_room_for(one)? {
                continue;
            }
            let write = self.database.begin_write()?;
            write.open_table(EVIDENCE)?.insert(&one.id()[..], &one.messages[..])?;
            write.commit()?;
            self.is_behind = false;
        }
        Ok(())
    }

    fn has_room_for(&self, one: &Equivocation) -> Result<bool, StoreError> {
        let table = self.database.begin_read()?.open_table(EVIDENCE)?;
        let (id, key) = (one.id(), &one.validator.0[..]);
        let end = [key, &[u8::MAX; 16]].concat();
        let others = table.range(key..&end[..])?.take(MAX_EVIDENCE).count();
        Ok(others < MAX_EVIDENCE && table.get(&id[..])?.is_none())
    }

    /// All evidence.
    ///
    /// # Errors
    /// The disk fails.
    pub fn evidence(&self) -> Result<Vec<Equivocation>, StoreError> {
        let table = self.database.begin_read()?.open_table(EVIDENCE)?;
        let rows = table.iter()?.map(|row| {
            let (id, messages) = row?;
            Ok(Equivocation::from_row(id.value(), messages.value()))
        });
        let rows = rows.collect::<Result<Vec<_>, StoreError>>()?;
        Ok(rows.into_iter().flatten().collect())
    }
}

/// Writes rows of `state`; `None` deletes one.
fn write_rows(
    write: &WriteTransaction,
    state: &LedgerState,
    changed: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
) -> Result<(), StoreError> {
    let mut rows = write.open_table(ROWS)?;
    for (key, value) in changed {
        match value {
            Some(value) => rows.insert(&key[..], &value[..])?,
            None => rows.remove(&key[..])?,
        };
    }
    let tip = (state.height(), &state.tip().0, &state.hash());
    write.open_table(TIP)?.insert((), tip)?;
    Ok(())
}

#[cfg(test)]
mod tests;
