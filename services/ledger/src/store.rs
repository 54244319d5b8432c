//! Decided blocks with their certificates, and evidence against validators that contradicted themselves.
//!
//! One-phase commits are enough: redb then trusts a checksum that whoever writes blocks could in theory defeat, but
//! opening the store follows every block from the genesis and compares hashes.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use octet_coins::{Block, Genesis, LedgerState};
use redb::backends::FileBackend;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
};

use crate::consensus::{BlockCertificate, Equivocation};

/// Height → block and certificate.
const BLOCKS: TableDefinition<u64, (&[u8], &[u8])> = TableDefinition::new("blocks");
/// [`Equivocation::id`] → the two signed messages.
const EVIDENCE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("evidence");
/// The hash of the genesis.
const GENESIS: TableDefinition<(), &[u8; 32]> = TableDefinition::new("genesis");

/// redb's cache in bytes. It is small because only the newest blocks are read, except when others catch up.
const CACHE: usize = 2 << 20;

/// The maximum number of equivocations of each validator that are kept. One is enough to remove it by vote.
pub const MAX_EVIDENCE: usize = 64;

/// A block and its certificate, encoded.
pub type StoredBlock = (Vec<u8>, Vec<u8>);

/// The decided blocks of a ledger.
#[derive(Debug)]
pub struct BlockStore {
    database: Database,
    /// Whether blocks were written and not waited for.
    is_behind: bool,
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
        fs::rename(&new, path)?;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    backend(open(path)?)
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
            write.open_table(EVIDENCE)?;
            write.commit()?;
        }
        let store = Self { database, is_behind: false };
        let state = store.state(genesis)?;
        Ok((store, state))
    }

    /// The state after the newest block.
    ///
    /// It is rebuilt from all blocks. This is the place where a snapshot goes: the rows of the state at some height, with
    /// the certificate of a block that names their hash, and only the blocks after it.
    fn state(&self, genesis: &Genesis) -> Result<LedgerState, StoreError> {
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

    /// Writes a decided block. Without `is_durable` the disk is not waited for until [`flush`](Self::flush).
    ///
    /// # Errors
    /// The disk fails.
    pub fn insert(
        &mut self,
        height: u64,
        block: &[u8],
        certificate: &BlockCertificate,
        is_durable: bool,
    ) -> Result<(), StoreError> {
        let mut write = self.database.begin_write()?;
        if !is_durable {
            write.set_durability(Durability::None)?;
        }
        write.open_table(BLOCKS)?.insert(height, (block, &certificate.to_bytes()[..]))?;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use octet_coins::{LedgerParameters, Validator};
    use octet_node::control::PublicKey;
    use octet_node::key::PrivateKey;

    use super::*;

    fn key(of: u8) -> PublicKey {
        PrivateKey::from_seed([of; 32]).unwrap().public()
    }

    fn genesis(balance: u64) -> Genesis {
        let validator = |at: u8| Validator { owner: key(100 + at), key: key(at) };
        let validators = (0..4).map(validator).collect();
        let seconds = LedgerParameters::with_spacing(Duration::from_secs(1));
        let parameters = LedgerParameters { spacing: Duration::ZERO, ..seconds };
        Genesis::new("test", validators, [(key(9), balance)].into(), parameters).unwrap()
    }

    #[test]
    fn a_creation_that_was_cut_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks");
        let new = folder.path().join("blocks.new");
        for rest in [&b""[..], &[0; 4096], b"redb, almost"] {
            fs::write(&new, rest).unwrap();
            drop(BlockStore::open(store_file(&path).unwrap(), &genesis(1)).unwrap());
            assert!(path.exists() && !new.exists());
            // What is there stays.
            drop(BlockStore::open(store_file(&path).unwrap(), &genesis(1)).unwrap());
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_store_is_of_one_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks");
        drop(BlockStore::open(store_file(&path).unwrap(), &genesis(1)).unwrap());
        assert!(BlockStore::open(store_file(&path).unwrap(), &genesis(1)).is_ok());
        let error = BlockStore::open(store_file(&path).unwrap(), &genesis(2)).unwrap_err();
        assert!(matches!(error, StoreError::OtherGenesis), "{error}");
    }

    #[test]
    fn blocks_that_do_not_follow_are_found() {
        let disk = redb::backends::InMemoryBackend::new();
        let (mut store, state) = BlockStore::open(disk, &genesis(1)).unwrap();
        let block = octet_coins::PendingTransactions::default().block(&state, 0);
        let certificate =
            BlockCertificate { height: 1, round: 0, block: block.hash(), signatures: vec![] };
        store.insert(1, &block.to_bytes(), &certificate, true).unwrap();
        assert_eq!(store.state(&genesis(1)).unwrap().tip(), block.hash());
        store.insert(2, &block.to_bytes(), &certificate, true).unwrap();
        assert!(matches!(store.state(&genesis(1)), Err(StoreError::Block(2))));
    }
}
