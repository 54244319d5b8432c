//! Durable files: the coordinator's registry, and every node's map with the trusted coordinator.
//! Each is a line of JSON and a line with its SHA-256.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use octet_node::digest::sha256;
use octet_node::durable::{self, ExistingFile, StoredFile, WriteStep};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pin::PersistedPin;
use crate::registry::NumberRegistry;

/// The file of the registry.
pub const BOOK: &str = "book";

/// The file of the map and the trusted coordinator.
pub const MAP: &str = "map";

/// The maximum size of either file, in bytes.
const LONGEST: u64 = 2 << 20;

/// Why a file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum ClusterStoreError {
    /// Reading or writing failed.
    #[error("{file} cannot be read or written: {source}")]
    Disk { file: PathBuf, source: io::Error },
    /// The checksum or the content is invalid.
    #[error("{0} is damaged")]
    Damaged(PathBuf),
}

/// The service's data folder. Without one, all state is in memory only.
#[derive(Debug, Clone)]
pub struct ClusterStore {
    folder: Option<PathBuf>,
    /// Serialises writing: a caller may have given up waiting when another one starts.
    writing: Arc<Mutex<()>>,
}

impl ClusterStore {
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, writing: Arc::default() }
    }

    /// The registry, if there is one.
    ///
    /// # Errors
    /// It is damaged, or reading fails.
    pub fn read_registry(&self) -> Result<Option<NumberRegistry>, ClusterStoreError> {
        self.read(BOOK)
    }

    /// The map and the trusted coordinator; empty if there is no file.
    ///
    /// # Errors
    /// It is damaged, or reading fails.
    pub fn read_pin(&self) -> Result<PersistedPin, ClusterStoreError> {
        self.read(MAP).map(Option::unwrap_or_default)
    }

    /// Stores `book`. `before` is called before each step, and can abort it.
    ///
    /// # Errors
    /// Writing fails; either the old or the new file exists.
    pub fn write_registry(
        &self,
        book: &NumberRegistry,
        before: impl FnMut(WriteStep) -> io::Result<()>,
    ) -> Result<(), ClusterStoreError> {
        self.write(BOOK, book, before)
    }

    /// Stores `kept`, in the same way.
    pub fn write_pin(
        &self,
        kept: &PersistedPin,
        before: impl FnMut(WriteStep) -> io::Result<()>,
    ) -> Result<(), ClusterStoreError> {
        self.write(MAP, kept, before)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ClusterStoreError> {
        let Some(file) = self.folder.as_ref().map(|folder| folder.join(name)) else {
            return Ok(None);
        };
        match durable::load(&file, LONGEST, decode).map_err(disk(&file))? {
            StoredFile::Absent => Ok(None),
            StoredFile::Value(value) => Ok(Some(value)),
            StoredFile::Damaged => Err(ClusterStoreError::Damaged(file)),
        }
    }

    fn write(
        &self,
        name: &str,
        value: &impl Serialize,
        before: impl FnMut(WriteStep) -> io::Result<()>,
    ) -> Result<(), ClusterStoreError> {
        let Some(file) = self.folder.as_ref().map(|folder| folder.join(name)) else {
            return Ok(());
        };
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        encode(value)
            .map_err(io::Error::other)
            .and_then(|bytes| durable::write(&file, &bytes, ExistingFile::Replace, before))
            .map_err(disk(&file))
    }
}

fn disk(file: &Path) -> impl FnOnce(io::Error) -> ClusterStoreError {
    move |source| ClusterStoreError::Disk { file: file.to_owned(), source }
}

fn encode(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_string(value)?;
    let sum = sha256(json.as_bytes());
    Ok(format!("{json}\n{sum}\n").into_bytes())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (json, sum) = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once('\n')?;
    (sha256(json.as_bytes()) == sum).then(|| serde_json::from_str(json).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::control::PublicKey;
    use proptest::prelude::*;
    use tempfile::TempDir;

    fn book(sequence: u64) -> NumberRegistry {
        let mut book = NumberRegistry::new(PublicKey::new([1; 32]), 0);
        book.version.sequence = sequence;
        book
    }

    /// If the power fails before any step, either the old or the new registry exists.
    #[test]
    fn old_or_new_at_every_step() {
        for (index, step) in WriteStep::ALL.into_iter().enumerate() {
            let folder = TempDir::new().unwrap();
            let store = ClusterStore::new(Some(folder.path().to_owned()));
            assert_eq!(store.read_registry().unwrap(), None);
            store.write_registry(&book(1), |_| Ok(())).unwrap();
            let cut = |at| if at == step { Err(io::Error::other("cut")) } else { Ok(()) };
            assert!(store.write_registry(&book(2), cut).is_err());
            let found = store.read_registry().unwrap().unwrap().version.sequence;
            assert_eq!(
                found,
                if step == WriteStep::SyncFolder { 2 } else { 1 },
                "{index}: {step:?}"
            );
            store.write_registry(&book(3), |_| Ok(())).unwrap();
            assert_eq!(store.read_registry().unwrap(), Some(book(3)));
        }
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let whole = encode(&book(7)).unwrap();
        assert_eq!(decode::<NumberRegistry>(&whole), Some(book(7)));
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode::<NumberRegistry>(&changed), None, "bit {bit}");
        }
        let folder = TempDir::new().unwrap();
        let store = ClusterStore::new(Some(folder.path().to_owned()));
        std::fs::write(folder.path().join(BOOK), "{}").unwrap();
        assert!(matches!(store.read_registry(), Err(ClusterStoreError::Damaged(_))));
        assert_eq!(store.read_pin().unwrap(), PersistedPin::default());
        assert_eq!(ClusterStore::new(None).read_registry().unwrap(), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<NumberRegistry>(&bytes);
            let _ = decode::<PersistedPin>(&bytes);
        }
    }
}
