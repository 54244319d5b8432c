//! The object store: objects under the BLAKE3 hash of their content, in the format of iroh-blobs.
//!
//! An object exists once its tag is set, which happens after its files are on disk and the
//! [policy](crate::policy) knows it: an interrupted write leaves no object.

mod doubts;
mod error;
mod file;
mod reconcile;
mod seal;
mod space;
mod sweep;

pub use doubts::Doubts;
pub use error::ObjectError;
pub use file::{GROUP, ObjectContentFiles, ObjectFile, byte_ranges, chunks, count_bytes};
pub use seal::SealOutcome;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::poll_fn;
use futures_util::{Stream, StreamExt};
use iroh_blobs::Hash;
use iroh_blobs::api::TempTag;
use iroh_blobs::api::blobs::BlobStatus;
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::store::fs::options::{InlineOptions, Options};
use octet_node::repairing::repairing;
use octet_node::say;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rustix::fs::statvfs;
use tokio::sync::{Mutex, mpsc};
use tokio::task::spawn_blocking;

use crate::counters::CacheCounters;
use crate::fetch::IncomingObject;
use crate::limits::{CacheLimits, Reserve};
use crate::policy::{CachePolicy, Claim, ObjectKind, cost};
use sweep::Sweeper;

/// The maximum size in bytes of an object that is cached in memory.
pub const SMALL: u64 = 16 << 10;

/// The maximum number of files that are kept open for reading.
const OPEN_FILES: usize = 64;

/// The memory overhead of a cache entry, in bytes.
const ENTRY: u64 = 128;

/// The prefix of an object's tag; its hash follows.
const TAG: &str = "object/";

/// The file of the policy, in the folder of the store.
const POLICY: &str = "policy.db";

/// The content of an object.
#[derive(Debug, Clone)]
pub enum ObjectContent {
    /// A small object in memory.
    Memory(Bytes),
    /// The file of a large object.
    File(ObjectFile),
    /// A large object that is being fetched.
    Fetching(IncomingObject),
}

#[derive(Debug, Clone)]
pub struct Object {
    /// In bytes.
    pub size: u64,
    pub content: ObjectContent,
}

/// A row of `ls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedObject {
    pub hash: Hash,
    /// In bytes.
    pub size: u64,
}

/// Weighs cache entries in bytes.
#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Hash, Bytes> for Weight {
    fn weight(&self, _: &Hash, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + ENTRY
    }
}

/// The objects of this node.
#[derive(Debug)]
pub struct Objects {
    store: FsStore,
    paths: Options,
    folder: PathBuf,
    reserve: Reserve,
    hot: Cache<Hash, Bytes, Weight>,
    files: Cache<Hash, ObjectFile>,
    doubts: Doubts,
    /// Whether the disk is taken not to change anything.
    is_disk_trusted: bool,
    policy: Arc<CachePolicy>,
    sweeper: Sweeper,
    /// Serialises changes of policy and store, so that they agree.
    changing: Mutex<()>,
}

impl Objects {
    /// Opens or creates the store in `folder`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn open(folder: &Path, limits: &CacheLimits) -> io::Result<Self> {
        let folder = std::path::absolute(folder)?;
        fs::create_dir_all(&folder)?;
        let mut paths = Options::new(&folder);
        // redb's page cache cannot be limited here (1 GiB by default), so its file must stay small:
        // each object has a file of its own, however small it is.
        paths.inline = InlineOptions::NO_INLINE;
        let (sweeper, turns) = Sweeper::new();
        paths.gc = Some(turns);
        // Remains of additions when the unit was killed.
        match fs::remove_dir_all(&paths.path.temp_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = folder.join("blobs.db");
        let repairing = repairing(&file);
        let store = FsStore::load_with_opts(file, paths.clone()).await;
        drop(repairing);
        let store = store.map_err(|error| {
            let folder = folder.display();
            io::Error::other(format!(
                "the store in {folder} does not open, and nothing is served: {error}"
            ))
        })?;
        let entries = (limits.memory / SMALL).max(64) as usize;
        let hot = Cache::with_weighter(entries, limits.memory, Weight);
        let files = Cache::new(OPEN_FILES);
        let quota = match limits.quota {
            Some(quota) => quota,
            None => default_quota(&folder)?,
        };
        let file = folder.join(POLICY);
        let policy = CachePolicy::open(&file, quota, limits.objects).map_err(io::Error::other)?;
        let (policy, reserve) = (Arc::new(policy), limits.reserve);
        let objects = Self {
            store,
            paths,
            folder,
            reserve,
            hot,
            files,
            doubts: Doubts::default(),
            is_disk_trusted: limits.is_disk_trusted,
            policy,
            sweeper,
            changing: Mutex::default(),
        };
        objects.reconcile().await.map_err(io::Error::other)?;
        Ok(objects)
    }

    /// Closes store and policy cleanly, so that the next start need not scan them. The store is
    /// unusable afterwards.
    pub async fn close(&self) {
        if let Err(error) = self.store.shutdown().await {
            say!("the store was not closed, so the next start checks all of it: {error}");
        }
        self.policy.close();
    }

    /// The underlying store, for iroh-blobs' protocol.
    pub fn store(&self) -> &FsStore {
        &self.store
    }

    /// The eviction policy.
    pub fn policy(&self) -> &Arc<CachePolicy> {
        &self.policy
    }

    /// The objects that are to be verified before their turn.
    pub fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// Sets the quota in bytes; by default three quarters of the file system. Loose objects above
    /// it are evicted.
    ///
    /// # Errors
    /// Writing fails.
    pub async fn set_quota(&self, quota: Option<u64>) -> Result<(), ObjectError> {
        let quota = quota.map_or_else(|| default_quota(&self.folder).map_err(broken), Ok)?;
        let _changing = self.changing.lock().await;
        self.policy.set_quota(quota);
        match self.policy.excess() {
            0 => Ok(()),
            excess => self.evict(excess).await,
        }
    }

    /// Stores the concatenation of `parts` as an object. `size` is its length, if known.
    ///
    /// # Errors
    /// There is no room, or a part does not arrive; nothing is stored then.
    pub async fn add(
        self: &Arc<Self>,
        size: Option<u64>,
        parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        kind: ObjectKind,
    ) -> Result<ListedObject, ObjectError> {
        self.add_expected(size, parts, kind, None).await
    }

    /// Like [`add`](Self::add), but stores nothing that has another hash than `expected`.
    ///
    /// # Errors
    /// It has another hash, there is no room, or a part does not arrive; nothing is stored then.
    pub async fn add_expected(
        self: &Arc<Self>,
        size: Option<u64>,
        parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        kind: ObjectKind,
        expected: Option<Hash>,
    ) -> Result<ListedObject, ObjectError> {
        let mut claim = self.policy.claim();
        self.extend_claim(&mut claim, cost(size.unwrap_or(0))).await?;
        let (sender, mut came) = mpsc::channel::<io::Result<Bytes>>(1);
        let objects = Arc::clone(self);
        // The store has no limit of its own.
        let measuring = tokio::spawn(async move {
            let (mut parts, mut seen) = (pin!(parts), 0);
            let mut end = Ok(());
            while let Some(part) = parts.next().await {
                seen += part.as_ref().map_or(0, Bytes::len) as u64;
                let is_cut = part.is_err();
                end = objects.claim_for(&mut claim, seen).await;
                let part = end.clone().map_err(io::Error::other).and(part);
                if sender.send(part).await.is_err() || end.is_err() || is_cut {
                    break;
                }
            }
            end.map(|()| claim)
        });
        let adding = self.store.blobs().add_stream(poll_fn(move |it| came.poll_recv(it))).await;
        let added = adding.temp_tag().await;
        // A lack of room is the better error.
        let _claim: Claim = measuring.await.map_err(broken)??;
        let tag: TempTag = added.map_err(broken)?;
        let saved = match expected.filter(|expected| *expected != tag.hash()) {
            Some(expected) => Err(ObjectError::Mismatch(expected)),
            None => self.commit(tag.hash(), kind).await,
        };
        if matches!(saved, Err(ObjectError::Removed | ObjectError::Mismatch(_))) {
            // Its bytes are on disk, in space that is not accounted.
            drop(tag);
            let _changing = self.changing.lock().await;
            self.delete(vec![]).await?;
        }
        saved
    }

    /// Syncs a complete object to disk, and then sets its tag.
    ///
    /// # Errors
    /// It is incomplete, or writing fails.
    pub async fn commit(&self, hash: Hash, kind: ObjectKind) -> Result<ListedObject, ObjectError> {
        let _changing = self.changing.lock().await;
        let BlobStatus::Complete { size } =
            self.store.blobs().status(hash).await.map_err(broken)?
        else {
            return Err(ObjectError::Broken("not all of the object has come".to_owned()));
        };
        let (paths, policy) = (self.paths.path.clone(), Arc::clone(&self.policy));
        let keep = move || -> Result<(), ObjectError> {
            for file in [paths.data_path(&hash), paths.outboard_path(&hash)] {
                match File::open(file) {
                    Ok(file) => file.sync_all().map_err(broken)?,
                    // Objects of at most 16 KiB have no hash tree, and an empty one has no file.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(broken(error)),
                }
            }
            File::open(&paths.data_path).and_then(|it| it.sync_all()).map_err(broken)?;
            policy.insert(hash, size, kind)
        };
        spawn_blocking(keep).await.map_err(broken)??;
        // A repaired object has new files.
        self.files.remove(&hash);
        self.store.tags().set(name(hash), hash).await.map_err(broken)?;
        self.store.sync_db().await.map_err(broken)?;
        self.doubts.add(hash);
        Ok(ListedObject { hash, size })
    }

    /// The object, if it is in memory or its file is open, and no operator has removed it. It counts as a hit.
    pub fn at_hand(&self, hash: Hash, counters: &CacheCounters) -> Option<Object> {
        let (bytes, file) = match self.hot.get(&hash) {
            Some(bytes) => (Some(bytes), None),
            None => (None, Some(self.files.get(&hash)?)),
        };
        let requested = self.policy.request(&hash);
        if requested.was_removed {
            return None;
        }
        // What is deleted or marked as damaged may be in memory for a moment longer.
        let size = requested.size?;
        let content = match (bytes, file) {
            (Some(bytes), _) => {
                counters.from_memory.add(1);
                ObjectContent::Memory(bytes)
            }
            (None, file) => ObjectContent::File(file?),
        };
        Some(Object { size, content })
    }

    /// The object, if it is on this node.
    ///
    /// # Errors
    /// Reading fails.
    pub async fn find(
        &self,
        hash: Hash,
        counters: &CacheCounters,
    ) -> Result<Option<Object>, ObjectError> {
        let requested = self.policy.request(&hash);
        let Some(size) = requested.size else { return Ok(None) };
        if let Some(bytes) = self.hot.get(&hash) {
            counters.from_memory.add(1);
            return Ok(Some(Object { size, content: ObjectContent::Memory(bytes) }));
        }
        let content = if size <= SMALL {
            let bytes = self.bytes(hash).await?;
            self.hot.insert(hash, bytes.clone());
            ObjectContent::Memory(bytes)
        } else {
            // Reads through the store's actor have a fifth of the file's speed.
            match self.file(hash, size).await? {
                Some(file) => ObjectContent::File(file),
                None => return Ok(None),
            }
        };
        Ok(Some(Object { size, content }))
    }

    /// The whole content of an object, which is verified while it is read.
    ///
    /// # Errors
    /// It is not on this node, or reading fails.
    pub async fn bytes(&self, hash: Hash) -> Result<Bytes, ObjectError> {
        self.store.blobs().get_bytes(hash).await.map_err(broken)
    }

    /// The file of a large object; `None` if it has just been deleted.
    async fn file(&self, hash: Hash, size: u64) -> Result<Option<ObjectFile>, ObjectError> {
        if let Some(file) = self.files.get(&hash) {
            return Ok(Some(file));
        }
        let (paths, is_trusted) = (self.paths.path.clone(), self.is_disk_trusted);
        let doubts = self.doubts.clone();
        let open = move || ObjectFile::open(&paths, (hash, size), is_trusted, doubts);
        let file = match spawn_blocking(open).await.map_err(broken)? {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken(error)),
        };
        self.files.insert(hash, file.clone());
        // An open file that is deleted keeps its room on the disk.
        if self.policy.size(&hash).is_none() {
            self.files.remove(&hash);
        }
        Ok(Some(file))
    }

    /// The file of a large object, also during a fetch.
    pub fn path_of(&self, hash: Hash) -> PathBuf {
        self.paths.path.data_path(&hash)
    }

    /// The content and the hash tree of an object as they are on the disk, damaged or not.
    ///
    /// # Errors
    /// They cannot be opened.
    pub fn content_files(&self, hash: Hash, size: u64) -> io::Result<ObjectContentFiles> {
        ObjectContentFiles::open(&self.paths.path, hash, size)
    }

    /// Records that the disk has damaged an object, and serves it no more. Returns its size, unless that was known or
    /// it has gone.
    ///
    /// # Errors
    /// Writing fails.
    pub async fn mark_damaged(&self, hash: Hash) -> Result<Option<u64>, ObjectError> {
        let _changing = self.changing.lock().await;
        let policy = Arc::clone(&self.policy);
        let marked = spawn_blocking(move || policy.mark_damaged(hash)).await.map_err(broken)?;
        self.hot.remove(&hash);
        self.files.remove(&hash);
        marked
    }

    /// The object's size, if it is on this node.
    pub fn size(&self, hash: Hash) -> Option<u64> {
        self.policy.size(&hash)
    }

    /// At most `limit` objects after `after`, sorted by hash.
    pub async fn list(
        &self,
        after: Option<Hash>,
        limit: usize,
    ) -> Result<Vec<ListedObject>, ObjectError> {
        let tags = self.store.tags().list_prefix(TAG).await.map_err(broken)?;
        let mut tags = pin!(tags);
        let mut found = vec![];
        while found.len() < limit
            && let Some(tag) = tags.next().await
        {
            let hash = tag.map_err(broken)?.hash;
            if after.is_some_and(|after| name(hash) <= name(after)) {
                continue;
            }
            if let BlobStatus::Complete { size } =
                self.store.blobs().status(hash).await.map_err(broken)?
            {
                found.push(ListedObject { hash, size });
            }
        }
        Ok(found)
    }

    /// Free bytes of the file system.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(&self.folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The number of cached objects, and their bytes with overhead.
    pub fn in_memory(&self) -> (usize, u64) {
        (self.hot.len(), self.hot.weight())
    }
}

/// The default quota: three quarters of the file system.
fn default_quota(folder: &Path) -> io::Result<u64> {
    let stat = statvfs(folder)?;
    Ok(stat.f_blocks.saturating_mul(stat.f_frsize) / 4 * 3)
}

fn name(hash: Hash) -> String {
    format!("{TAG}{}", hash.to_hex())
}

fn broken(error: impl std::fmt::Display) -> ObjectError {
    ObjectError::Broken(error.to_string())
}
