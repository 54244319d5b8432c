//! The known names, in a redb file: a record that was answered once survives a restart.

use std::path::Path;

use octet_appliance::NamePath;
use octet_node::control::PublicKey;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};

use super::record::NameRecord;
use crate::database::Closable;

/// Records: the node's key and the path, and the encoded record.
const NAMES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("names");

/// The names of this node that are renewed: the path, and the time to live of each record in seconds.
const RENEWED: TableDefinition<&str, u64> = TableDefinition::new("renewed");

/// The maximum number of records.
const MAX: u64 = 4096;

/// The number of records that are reserved for names that this node publishes.
const RESERVED: u64 = 512;

/// The size of redb's cache, in bytes.
const CACHE: usize = 256 << 10;

/// Why a record is not stored.
#[derive(Debug, thiserror::Error)]
pub enum NameStoreError {
    /// A newer record is known.
    #[error("a newer record of this name is known")]
    Older,
    /// The maximum number of names is reached.
    #[error("the maximum number of names is stored")]
    Full,
    /// Reading or writing fails.
    #[error("the names: {0}")]
    Disk(Box<redb::Error>),
}

/// A name of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnName {
    pub record: NameRecord,
    /// The time to live of each of its records in seconds, if it is renewed.
    pub ttl: Option<u64>,
}

#[derive(Debug)]
pub struct PersistedNames(Closable);

impl PersistedNames {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(file: &Path) -> Result<Self, NameStoreError> {
        let open = || -> Result<_, redb::Error> {
            let names = Closable::open(file, CACHE)?;
            let transaction = names.begin_write()?;
            transaction.open_table(NAMES)?;
            transaction.open_table(RENEWED)?;
            transaction.commit()?;
            Ok(Self(names))
        };
        open().map_err(|error| NameStoreError::Disk(error.into()))
    }

    /// Closes the file. Later calls fail.
    pub fn close(&self) {
        self.0.close();
    }

    /// The stored record of a name, even if it has expired.
    ///
    /// # Errors
    /// Reading fails.
    pub fn get(
        &self,
        node: &PublicKey,
        path: &NamePath,
    ) -> Result<Option<NameRecord>, NameStoreError> {
        let get = || -> Result<_, redb::Error> {
            let table = self.0.begin_read()?.open_table(NAMES)?;
            let value = table.get(name(node, path).as_slice())?;
            Ok(value.and_then(|value| NameRecord::from_bytes(value.value()).ok()))
        };
        get().map_err(|error| NameStoreError::Disk(error.into()))
    }

    /// Stores a record of another node; it is on disk when the call returns. A record that is
    /// stored already is not an error.
    ///
    /// # Errors
    /// A newer record is known, or the maximum number of names is reached. A stored name never
    /// loses its place to another.
    pub fn store(&self, record: &NameRecord) -> Result<(), NameStoreError> {
        self.store_within(record, MAX - RESERVED, |_| Ok(()))
    }

    /// Like [`store`](Self::store), for this node's own record: records of other nodes cannot take
    /// all places. With a `ttl` the name is renewed.
    ///
    /// # Errors
    /// As [`store`](Self::store) says.
    pub fn publish(&self, record: &NameRecord, ttl: Option<u64>) -> Result<(), NameStoreError> {
        let path = record.entry().path.as_str();
        self.store_within(record, MAX, |transaction| {
            let mut renewed = transaction.open_table(RENEWED)?;
            match ttl {
                Some(ttl) => drop(renewed.insert(path, ttl)?),
                None => drop(renewed.remove(path)?),
            }
            Ok(())
        })
    }

    /// The names below the key `node`, which is that of this node.
    ///
    /// # Errors
    /// Reading fails.
    pub fn own(&self, node: &PublicKey) -> Result<Vec<OwnName>, NameStoreError> {
        let own = || -> Result<_, redb::Error> {
            let transaction = self.0.begin_read()?;
            let renewed = transaction.open_table(RENEWED)?;
            let mut own = vec![];
            for pair in transaction.open_table(NAMES)?.range(node.as_bytes().as_slice()..)? {
                let (name, record) = pair?;
                if !name.value().starts_with(node.as_bytes()) {
                    break;
                }
                let Ok(record) = NameRecord::from_bytes(record.value()) else { continue };
                let ttl = renewed.get(record.entry().path.as_str())?.map(|ttl| ttl.value());
                own.push(OwnName { record, ttl });
            }
            Ok(own)
        };
        own().map_err(|error| NameStoreError::Disk(error.into()))
    }

    fn store_within(
        &self,
        record: &NameRecord,
        most: u64,
        also: impl Fn(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), NameStoreError> {
        let name = name(&record.node(), &record.entry().path);
        let keep = || -> Result<Result<(), NameStoreError>, redb::Error> {
            let transaction = self.0.begin_write()?;
            {
                let mut table = transaction.open_table(NAMES)?;
                let before = table.get(name.as_slice())?;
                let before = before.and_then(|it| NameRecord::from_bytes(it.value()).ok());
                match before {
                    Some(before) if before == *record => return Ok(Ok(())),
                    Some(before) if before.version() >= record.version() => {
                        return Ok(Err(NameStoreError::Older));
                    }
                    None if table.len()? >= most => return Ok(Err(NameStoreError::Full)),
                    _ => drop(table.insert(name.as_slice(), record.to_bytes().as_slice())?),
                }
            }
            also(&transaction)?;
            transaction.commit()?;
            Ok(Ok(()))
        };
        keep().map_err(|error| NameStoreError::Disk(error.into()))?
    }
}

fn name(node: &PublicKey, path: &NamePath) -> Vec<u8> {
    [node.as_bytes(), path.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::record::NameEntry;
    use super::*;
    use crate::peers::UNIT;
    use iroh_blobs::Hash;
    use octet_node::certificate::{Certificate, KeyStatement};
    use octet_node::key::PrivateKey;

    fn record(path: &str) -> NameRecord {
        let [node, key] = [(); 2].map(|()| PrivateKey::generate().unwrap());
        let unit = UNIT.parse().unwrap();
        let statement =
            KeyStatement { node: node.public(), unit, key: key.public(), epoch: 1, issued: 1 };
        let certificate = Certificate::sign(statement, &node).unwrap();
        let path = path.parse().unwrap();
        let entry = NameEntry { path, hash: Hash::new(b"it"), sequence: 1, expires: 1_800_000_000 };
        NameRecord::sign(entry, certificate, &key).unwrap()
    }

    #[test]
    fn others_names_do_not_take_all_the_room() {
        let folder = tempfile::tempdir().unwrap();
        let saved = PersistedNames::open(&folder.path().join("names")).unwrap();
        let fill = |from: u64, to: u64| {
            let transaction = saved.0.begin_write().unwrap();
            {
                let mut table = transaction.open_table(NAMES).unwrap();
                for number in from..to {
                    table.insert(&number.to_be_bytes()[..], &b""[..]).unwrap();
                }
            }
            transaction.commit().unwrap();
        };
        fill(0, MAX - RESERVED - 1);
        saved.store(&record("last")).unwrap();
        assert!(matches!(saved.store(&record("more")), Err(NameStoreError::Full)));
        saved.publish(&record("own"), None).unwrap();
        fill(MAX - RESERVED, MAX);
        assert!(matches!(saved.publish(&record("own"), None), Err(NameStoreError::Full)));
    }
}
