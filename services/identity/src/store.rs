//! The node's key and the registry, in memory and on disk.

use std::io;
use std::path::PathBuf;

use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{PublicKey, UnitName};
use octet_node::durable::{self, ExistingFile, StoredFile, WriteStep};
use octet_node::key::{self, PrivateKey};
use octet_node::signed::InvalidSigned;
use rustix::fs::{FsWord, statfs};

use crate::record;
use crate::registry::{KeyDecision, KeyRegistry, RegistryFull, RevocationReason};

/// The file of the node's key.
pub const NODE_KEY: &str = "node.key";

/// The file of the registry.
pub const BOOK: &str = "book";

/// The file that makes the next boot erase all data: the last part of [`octet_appliance::RESET`].
pub const RESET: &str = "reset";

/// A file system in memory (`TMPFS_MAGIC`, statfs(2)).
const TMPFS: FsWord = 0x0102_1994;

/// The maximum size of a registry in bytes: 1 024 keys of 60 bytes for each of 32 services.
const LONGEST: u64 = 2 << 20;

/// Why the node key or the registry is unusable.
#[derive(Debug, thiserror::Error)]
pub enum IdentityStoreError {
    /// Reading or writing failed.
    #[error("{file} cannot be read or written: {source}")]
    Disk { file: PathBuf, source: io::Error },
    /// The content is invalid.
    #[error("{0} is damaged")]
    Damaged(PathBuf),
    /// The file is missing, although its counterpart exists.
    #[error("{0} is missing")]
    Missing(PathBuf),
    /// The registry is full.
    #[error(transparent)]
    Full(#[from] RegistryFull),
    /// The certificate could not be signed.
    #[error(transparent)]
    Certificate(#[from] InvalidSigned),
}

/// The node's key and the registry.
#[derive(Debug)]
pub struct IdentityStore {
    folder: Option<PathBuf>,
    key: PrivateKey,
    registry: KeyRegistry,
}

impl IdentityStore {
    /// Loads key and registry from `folder`, or makes them at the first boot. Without a folder both
    /// are in memory only. `before` is called before each step of writing, and can abort it.
    ///
    /// A key is made only if there never was one, because a new key makes another box for its
    /// owner. So the registry is written before the key, and either without the other is an error,
    /// except an empty registry, which a power cut at the first boot leaves.
    ///
    /// # Errors
    /// Reading or writing fails, or a file is damaged or missing.
    pub fn open(
        folder: Option<PathBuf>,
        mut before: impl FnMut(WriteStep) -> io::Result<()>,
    ) -> Result<Self, IdentityStoreError> {
        let generate = || PrivateKey::generate().map_err(io::Error::other);
        let Some(place) = folder else {
            let key = generate()
                .map_err(|source| IdentityStoreError::Disk { file: NODE_KEY.into(), source })?;
            return Ok(Self { folder: None, key, registry: KeyRegistry::default() });
        };
        let (key_file, book_file) = (place.join(NODE_KEY), place.join(BOOK));
        let disk = |file: &PathBuf| {
            let file = file.clone();
            move |source| IdentityStoreError::Disk { file, source }
        };
        let kept = durable::read(&book_file, LONGEST).map_err(disk(&book_file))?;
        match (key::read(&key_file).map_err(disk(&key_file))?, kept) {
            (StoredFile::Value(key), Some(bytes)) => {
                let registry =
                    record::decode(&bytes, &key).ok_or(IdentityStoreError::Damaged(book_file))?;
                Ok(Self { folder: Some(place), key, registry })
            }
            (StoredFile::Value(_), None) => Err(IdentityStoreError::Missing(book_file)),
            (StoredFile::Damaged, _) => Err(IdentityStoreError::Damaged(key_file)),
            (StoredFile::Absent, Some(bytes)) if !record::is_empty(&bytes) => {
                Err(IdentityStoreError::Missing(key_file))
            }
            (StoredFile::Absent, _) => {
                let key = generate().map_err(disk(&key_file))?;
                let store = Self { folder: Some(place), key, registry: KeyRegistry::default() };
                store.write(&KeyRegistry::default(), &mut before)?;
                key::write(&key_file, &store.key, ExistingFile::Keep, before)
                    .map_err(disk(&key_file))?;
                Ok(store)
            }
        }
    }

    pub fn node(&self) -> PublicKey {
        self.key.public()
    }

    /// Whether the store survives a reboot: a box without a disk may have its data in tmpfs.
    pub fn is_persistent(&self) -> bool {
        let kind = self.folder.as_ref().and_then(|folder| statfs(folder).ok());
        kind.is_some_and(|kind| kind.f_type != TMPFS)
    }

    /// Makes the next boot erase all data. The request is on disk when this returns.
    ///
    /// # Errors
    /// Writing fails; the next boot may or may not erase the data.
    pub fn reset(
        &self,
        before: impl FnMut(WriteStep) -> io::Result<()>,
    ) -> Result<(), IdentityStoreError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let file = folder.join(RESET);
        let line = format!("{}\n", self.node());
        durable::write(&file, line.as_bytes(), ExistingFile::Replace, before)
            .map_err(|source| IdentityStoreError::Disk { file, source })
    }

    /// Whether the next boot erases all data.
    pub fn is_reset_pending(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.join(RESET).exists())
    }

    pub fn registry(&self) -> &KeyRegistry {
        &self.registry
    }

    /// Certifies `key` for `unit`; `None` if it is a former key. A new key replaces the previous
    /// one, and is on disk when this returns.
    ///
    /// # Errors
    /// It failed; nothing has changed.
    pub fn certify(
        &mut self,
        unit: &UnitName,
        key: PublicKey,
        now: u64,
    ) -> Result<Option<Certificate>, IdentityStoreError> {
        if self.registry.decide(unit, &key) == KeyDecision::New {
            let mut registry = self.registry.clone();
            registry.accept(unit, key, now)?;
            self.replace(registry)?;
        }
        let KeyDecision::Current { epoch, issued } = self.registry.decide(unit, &key) else {
            return Ok(None);
        };
        Ok(Some(self.sign(unit, key, epoch, issued)?))
    }

    /// The certificates of all current keys.
    pub fn certificates(&self) -> Result<Vec<Certificate>, IdentityStoreError> {
        let units = self.registry.units();
        let current = units.filter_map(|(unit, entry)| Some((unit, entry.epoch, entry.key?)));
        current.map(|(unit, epoch, key)| self.sign(unit, key.key, epoch, key.issued)).collect()
    }

    fn sign(
        &self,
        unit: &UnitName,
        key: PublicKey,
        epoch: u64,
        issued: u64,
    ) -> Result<Certificate, IdentityStoreError> {
        let statement = KeyStatement { node: self.node(), unit: unit.clone(), key, epoch, issued };
        Ok(Certificate::sign(statement, &self.key)?)
    }

    /// Retires the key of `unit`. The change is on disk when this returns.
    ///
    /// # Errors
    /// It failed; the key is still current.
    pub fn retire(
        &mut self,
        unit: &UnitName,
        why: RevocationReason,
    ) -> Result<(), IdentityStoreError> {
        let mut registry = self.registry.clone();
        registry.retire(unit, why)?;
        self.replace(registry)
    }

    fn replace(&mut self, registry: KeyRegistry) -> Result<(), IdentityStoreError> {
        self.write(&registry, &mut |_| Ok(()))?;
        self.registry = registry;
        Ok(())
    }

    fn write(
        &self,
        registry: &KeyRegistry,
        before: &mut impl FnMut(WriteStep) -> io::Result<()>,
    ) -> Result<(), IdentityStoreError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let file = folder.join(BOOK);
        record::encode(registry, &self.key)
            .map_err(io::Error::other)
            .and_then(|bytes| durable::write(&file, &bytes, ExistingFile::Replace, before))
            .map_err(|source| IdentityStoreError::Disk { file, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn open(folder: &TempDir) -> Result<IdentityStore, IdentityStoreError> {
        IdentityStore::open(Some(folder.path().to_owned()), |_| Ok(()))
    }

    /// If the power fails at any step of the first boot, the next boot makes the key, which then
    /// stays.
    #[test]
    fn a_cut_first_boot_begins_again() {
        let steps = 2 * WriteStep::ALL.len();
        for cut in 0..=steps {
            let folder = TempDir::new().unwrap();
            let mut count = 0;
            let first = IdentityStore::open(Some(folder.path().to_owned()), |_| {
                count += 1;
                if count > cut { Err(io::Error::other("cut")) } else { Ok(()) }
            });
            assert_eq!(first.is_ok(), cut == steps, "cut {cut}");
            let second = open(&folder).unwrap();
            assert_eq!(open(&folder).unwrap().node(), second.node(), "cut {cut}");
            if let Ok(first) = first {
                assert_eq!(first.node(), second.node());
            }
        }
    }

    /// If the power fails at any step, the next boot either erases all data or is a normal one.
    #[test]
    fn a_reset_is_asked_for_or_not() {
        assert_eq!(octet_appliance::RESET, format!("/data/identity/{RESET}"));
        for cut in WriteStep::ALL {
            let folder = TempDir::new().unwrap();
            let store = open(&folder).unwrap();
            let stop = |step| if step == cut { Err(io::Error::other("cut")) } else { Ok(()) };
            assert!(
                store.reset(stop).is_err() && !store.is_reset_pending()
                    || cut == WriteStep::SyncFolder
            );
            assert_eq!(open(&folder).unwrap().node(), store.node(), "{cut:?}");
            store.reset(|_| Ok(())).unwrap();
            assert!(store.is_reset_pending(), "{cut:?}");
        }
    }

    #[test]
    fn no_key_is_made_where_one_was() {
        for (file, content) in
            [(NODE_KEY, None), (BOOK, None), (NODE_KEY, Some("x")), (BOOK, Some("x"))]
        {
            let folder = TempDir::new().unwrap();
            let mut store = open(&folder).unwrap();
            let key = PrivateKey::generate().unwrap().public();
            store.certify(&"gate".parse().unwrap(), key, 1).unwrap();
            let node = store.node();
            assert_eq!(open(&folder).unwrap().node(), node);
            let path = folder.path().join(file);
            let whole = std::fs::read(&path).unwrap();
            match content {
                None => std::fs::remove_file(&path).unwrap(),
                Some(text) => std::fs::write(&path, text).unwrap(),
            }
            let error = open(&folder).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
            std::fs::write(&path, whole).unwrap();
            assert_eq!(open(&folder).unwrap().node(), node);
        }
    }

    #[test]
    fn two_boxes_have_two_keys() {
        let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        assert_ne!(open(&one).unwrap().node(), open(&two).unwrap().node());
        let memory = || IdentityStore::open(None, |_| Ok(())).unwrap();
        assert_ne!(memory().node(), memory().node());
        assert!(!memory().is_persistent());
    }
}
