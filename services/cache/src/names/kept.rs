//! Names that are known, in a file of redb: what was told to somebody is not forgotten by a restart.

use std::path::Path;

use octet_node::control::PublicKey;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::record::{NamePath, Record};

/// Records: the node's key and the path, and the encoding.
const NAMES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("names");

/// How many are known at most.
const MOST: u64 = 4096;

/// The memory that redb may use for what it has read, in bytes.
const CACHE: usize = 256 << 10;

/// Why a record is not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// A newer one is known.
    #[error("a newer record of this name is known")]
    Older,
    /// There is no room for another name.
    #[error("{MOST} names are known already: more are not")]
    Full,
    /// The disk does not take or give it.
    #[error("the names: {0}")]
    Disk(Box<redb::Error>),
}

/// The file.
#[derive(Debug)]
pub struct Kept(Database);

impl Kept {
    /// Opens the file, which is made if it is not there.
    ///
    /// # Errors
    /// The disk does not give it.
    pub fn open(file: &Path) -> Result<Self, NotKept> {
        let open = || -> Result<_, redb::Error> {
            let names = Database::builder().set_cache_size(CACHE).create(file)?;
            let transaction = names.begin_write()?;
            transaction.open_table(NAMES)?;
            transaction.commit()?;
            Ok(Self(names))
        };
        open().map_err(|error| NotKept::Disk(error.into()))
    }

    /// What is known of a name, whether it holds or not.
    ///
    /// # Errors
    /// The disk does not give it.
    pub fn get(&self, node: &PublicKey, path: &NamePath) -> Result<Option<Record>, NotKept> {
        let get = || -> Result<_, redb::Error> {
            let table = self.0.begin_read()?.open_table(NAMES)?;
            let value = table.get(name(node, path).as_slice())?;
            Ok(value.and_then(|value| Record::from_bytes(value.value()).ok()))
        };
        get().map_err(|error| NotKept::Disk(error.into()))
    }

    /// Keeps a record; it is on the disk when it returns. The same again is nothing new.
    ///
    /// # Errors
    /// A newer one is known, or there is no room. A name for which there is room never loses it.
    pub fn keep(&self, record: &Record) -> Result<(), NotKept> {
        let name = name(&record.node(), &record.entry().path);
        let keep = || -> Result<Result<(), NotKept>, redb::Error> {
            let transaction = self.0.begin_write()?;
            {
                let mut table = transaction.open_table(NAMES)?;
                let before = table.get(name.as_slice())?;
                let before = before.and_then(|it| Record::from_bytes(it.value()).ok());
                match before {
                    Some(before) if before == *record => return Ok(Ok(())),
                    Some(before) if before.version() >= record.version() => {
                        return Ok(Err(NotKept::Older));
                    }
                    None if table.len()? >= MOST => return Ok(Err(NotKept::Full)),
                    _ => drop(table.insert(name.as_slice(), record.to_bytes().as_slice())?),
                }
            }
            transaction.commit()?;
            Ok(Ok(()))
        };
        keep().map_err(|error| NotKept::Disk(error.into()))?
    }
}

fn name(node: &PublicKey, path: &NamePath) -> Vec<u8> {
    [node.as_bytes(), path.as_str().as_bytes()].concat()
}
