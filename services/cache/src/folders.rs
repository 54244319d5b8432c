//! The folders that were read last.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use iroh_blobs::Hash;
use octet_node::say;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use tokio::sync::Semaphore;

use crate::counters::CacheCounters;
use crate::fetch::Missing;
use crate::folder::{InvalidFolder, MAX_HASHES, MAX_PATHS, ObjectFolder};
use crate::http::{CacheState, ClientAddress};
use crate::names::{NameEntry, NameRecord};
use crate::objects::{ObjectContent, ObjectError};

/// The memory of folders that were read, in bytes. The largest folder fits.
const MEMORY: u64 = 10 << 20;

/// The number of folders that are in memory at least.
const ENTRIES: usize = 64;

/// The maximum number of folders that are read at once: each takes up to 6 MB besides what it then is.
const MAX_READ: usize = 2;

/// Why there is no folder.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FolderError {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Store(#[from] ObjectError),
    #[error("{0} is not a folder: {1}")]
    Invalid(Hash, InvalidFolder),
}

/// Who asks for a folder.
#[derive(Debug, Clone, Copy)]
pub enum FolderAsked {
    /// A client, for whom what is missing is fetched.
    Client(ClientAddress),
    /// The page of another site, for example: nothing is fetched.
    Local,
    /// An operator, also for what was removed before.
    Operator,
}

/// A folder whose two objects are on this node.
#[derive(Debug)]
pub struct StoredFolder {
    pub hash: Hash,
    /// The object with the paths.
    paths: Hash,
    pub folder: ObjectFolder,
}

impl StoredFolder {
    /// All its objects, its own two included.
    pub fn objects(&self) -> HashSet<Hash> {
        self.folder.files().chain([self.hash, self.paths]).collect()
    }
}

#[derive(Debug, Clone)]
struct FolderWeight;

impl Weighter<Hash, Arc<StoredFolder>> for FolderWeight {
    fn weight(&self, _: &Hash, stored: &Arc<StoredFolder>) -> u64 {
        stored.folder.weight() + 128
    }
}

#[derive(Debug)]
pub struct FolderCache {
    // One part: a shard of a concurrent cache would be too small for a large folder.
    known: Mutex<Cache<Hash, Arc<StoredFolder>, FolderWeight>>,
    permits: Semaphore,
    has_index: AtomicBool,
}

impl Default for FolderCache {
    fn default() -> Self {
        let known = Mutex::new(Cache::with_weighter(ENTRIES, MEMORY, FolderWeight));
        Self { known, permits: Semaphore::new(MAX_READ), has_index: AtomicBool::new(false) }
    }
}

impl FolderCache {
    fn known(&self) -> MutexGuard<'_, Cache<Hash, Arc<StoredFolder>, FolderWeight>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the settings allow to list what is in a folder.
    pub fn has_index(&self) -> bool {
        self.has_index.load(Ordering::Relaxed)
    }

    pub fn set_index(&self, has_index: bool) {
        self.has_index.store(has_index, Ordering::Relaxed);
    }
}

impl CacheState {
    /// Below which path the files of the folder are to which a name points, if it is one that is here. A name of several
    /// parts has none: where the name ends and the path of a file begins could not be told.
    pub async fn folder_path(
        &self,
        record: &NameRecord,
        counters: &CacheCounters,
    ) -> Option<String> {
        let (node, NameEntry { path, hash, .. }) = (record.node(), record.entry());
        let is_one_part = !path.as_str().contains('/');
        let is_folder =
            is_one_part && self.folder(*hash, FolderAsked::Local, counters).await.is_ok();
        is_folder.then(|| format!("/d/{node}/{path}/"))
    }

    /// The folder, from this node or another one.
    ///
    /// # Errors
    /// It is not a folder, or one of its two objects is unavailable.
    pub async fn folder(
        &self,
        hash: Hash,
        asked: FolderAsked,
        counters: &CacheCounters,
    ) -> Result<Arc<StoredFolder>, FolderError> {
        if let Some(folder) = self.known_folder(hash) {
            return Ok(folder);
        }
        let _permit = self.folders.permits.acquire().await;
        let invalid = |why| FolderError::Invalid(hash, why);
        let hashes = self.read(hash, MAX_HASHES, asked, counters).await?;
        let hashes = hashes.ok_or_else(|| invalid(InvalidFolder::Hashes))?;
        let paths = ObjectFolder::paths_of(&hashes).map_err(invalid)?;
        let listed = self.read(paths, MAX_PATHS, asked, counters).await?;
        let listed = listed.ok_or_else(|| invalid(InvalidFolder::Paths))?;
        let folder = ObjectFolder::from_objects(&listed, hashes).map_err(invalid)?;
        let stored = Arc::new(StoredFolder { hash, paths, folder });
        self.folders.known().insert(hash, Arc::clone(&stored));
        Ok(stored)
    }

    /// The folder, if it is in memory, and still on this node. Both of its objects count as hit.
    fn known_folder(&self, hash: Hash) -> Option<Arc<StoredFolder>> {
        let folder = Arc::clone(self.folders.known().get(&hash)?);
        let policy = self.objects.policy();
        let is_here = [hash, folder.paths].map(|it| policy.request(&it).size.is_some());
        (is_here == [true; 2]).then_some(folder)
    }

    /// The content of an object; `None` if it has more than `max` bytes.
    async fn read(
        &self,
        hash: Hash,
        max: u64,
        asked: FolderAsked,
        counters: &CacheCounters,
    ) -> Result<Option<Bytes>, Missing> {
        let client = match asked {
            FolderAsked::Client(client) => Some(client.0),
            FolderAsked::Local | FolderAsked::Operator => None,
        };
        let found = match asked {
            FolderAsked::Operator => match self.objects.find(hash, counters).await? {
                Some(object) => Ok(object),
                None => Err(Missing::Nowhere),
            },
            FolderAsked::Client(_) | FolderAsked::Local => self.look(hash, counters).await,
        };
        let object = match (found, asked) {
            (Err(Missing::Nowhere), FolderAsked::Client(_) | FolderAsked::Operator) => {
                match self.fetcher.fetch_at_most(hash, client, max).await {
                    Err(Missing::Store(ObjectError::TooLarge { .. })) => return Ok(None),
                    fetched => fetched?,
                }
                self.objects.find(hash, counters).await?.ok_or(Missing::Nowhere)?
            }
            (found, _) => found?,
        };
        if object.size > max {
            return Ok(None);
        }
        match object.content {
            ObjectContent::Memory(bytes) => Ok(Some(bytes)),
            // The store verifies what it reads.
            _ => self.objects.bytes(hash).await.map(Some).map_err(Missing::from),
        }
    }

    /// Fetches all objects of a folder that are not here.
    ///
    /// # Errors
    /// It is not a folder, or one of them is unavailable.
    pub async fn fetch_folder(
        &self,
        hash: Hash,
        counters: &CacheCounters,
    ) -> Result<Arc<StoredFolder>, FolderError> {
        let stored = self.folder(hash, FolderAsked::Operator, counters).await?;
        for file in stored.folder.files() {
            self.find(file, counters).await?;
        }
        Ok(stored)
    }

    /// Pins a folder with all its objects, which are here. It ends with [`unpin_folder`](Self::unpin_folder).
    ///
    /// # Errors
    /// It is not a folder, one of its objects is not here, or writing fails.
    pub async fn pin_folder(
        &self,
        hash: Hash,
        counters: &CacheCounters,
    ) -> Result<(), FolderError> {
        let stored = self.folder(hash, FolderAsked::Operator, counters).await?;
        Ok(self.objects.pin_folder(hash, stored.objects()).await?)
    }

    /// Ends that a folder is pinned. Its objects that no other folder pins may be evicted. Returns whether it was pinned.
    ///
    /// # Errors
    /// Writing fails.
    pub async fn unpin_folder(
        &self,
        hash: Hash,
        counters: &CacheCounters,
    ) -> Result<bool, ObjectError> {
        let policy = self.objects.policy();
        if !policy.is_pinned_folder(&hash) {
            return Ok(false);
        }
        let mut released = policy.in_pinned_folders();
        for other in policy.pinned_folders() {
            if other == hash {
                continue;
            }
            match self.folder(other, FolderAsked::Local, counters).await {
                Ok(other) => {
                    let needed = other.objects();
                    released.retain(|it| !needed.contains(it));
                }
                Err(error) => {
                    // Nothing is known of what it pins: all stays until the next folder is unpinned.
                    say!(
                        "the pinned folder {other} cannot be read, so no object is unpinned: {error}"
                    );
                    released.clear();
                }
            }
        }
        self.objects.unpin_folder(hash, released).await
    }
}
