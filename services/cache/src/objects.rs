//! The store: objects under the BLAKE3 hash of what they hold, in the format of iroh-blobs.
//!
//! An object counts once its tag is set, and that happens when its files are on the disk: what was cut off before
//! is not there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use iroh_blobs::Hash;
use iroh_blobs::api::TempTag;
use iroh_blobs::api::blobs::BlobStatus;
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::store::fs::options::Options;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rustix::fs::statvfs;
use tokio::task::spawn_blocking;

use crate::counters::Counters;
use crate::limits::{Limits, Reserve};

/// Objects of at most so many bytes are kept in the database, and in memory once they were asked for.
pub const SMALL: u64 = 16 << 10;

/// What one entry takes in memory besides the object, in bytes.
const ENTRY: u64 = 128;

/// What the name of the tag of an object begins with; its hash follows.
const TAG: &str = "object/";

/// After how many bytes it is looked again whether there is room.
const LOOK: u64 = 4 << 20;

/// Why there is no object.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk is as full as it may become.
    #[error(
        "the disk has {free} bytes left, and {reserve} of them stay free: use a node with more room"
    )]
    Full {
        /// In bytes.
        free: u64,
        /// In bytes.
        reserve: u64,
    },
    /// Who sends it has stopped, or the disk does not take or give it.
    #[error("{0}")]
    Broken(String),
}

/// The bytes of an object.
#[derive(Debug, Clone)]
pub enum Content {
    /// All of a small one.
    Memory(Bytes),
    /// The file of a large one.
    File(Arc<File>),
}

/// An object.
#[derive(Debug, Clone)]
pub struct Object {
    /// In bytes.
    pub size: u64,
    /// What it holds.
    pub content: Content,
}

/// A line of `ls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub hash: Hash,
    /// In bytes.
    pub size: u64,
}

/// The weight of what is in memory, in bytes.
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
}

impl Objects {
    /// Opens the store in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// The disk does not give it.
    pub async fn open(folder: &Path, limits: &Limits) -> io::Result<Self> {
        let folder = std::path::absolute(folder)?;
        fs::create_dir_all(&folder)?;
        let paths = Options::new(&folder);
        // What was being added when the unit was killed.
        match fs::remove_dir_all(&paths.path.temp_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let store = FsStore::load_with_opts(folder.join("blobs.db"), paths.clone()).await;
        let store = store.map_err(|error| {
            let folder = folder.display();
            io::Error::other(format!(
                "the store in {folder} does not open, and nothing is served: {error}"
            ))
        })?;
        let entries = (limits.memory / SMALL).max(64) as usize;
        let hot = Cache::with_weighter(entries, limits.memory, Weight);
        Ok(Self { store, paths, folder, reserve: limits.reserve, hot })
    }

    /// The store itself, for the protocol of iroh-blobs.
    pub fn store(&self) -> &FsStore {
        &self.store
    }

    /// Keeps what `parts` are together. `size` is its length, where that is known.
    ///
    /// # Errors
    /// There is no room, or a part does not come; then nothing is kept.
    pub async fn add(
        &self,
        size: Option<u64>,
        parts: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    ) -> Result<Listed, StoreError> {
        self.room(size.unwrap_or(0))?;
        let (folder, reserve) = (self.folder.clone(), self.reserve);
        let mut unseen = 0;
        // The store has no bound of its own.
        let parts = parts.map(move |part| {
            let part = part?;
            unseen += part.len() as u64;
            if unseen >= LOOK {
                unseen = 0;
                room(&folder, reserve, 0).map_err(io::Error::other)?;
            }
            Ok(part)
        });
        let adding = self.store.blobs().add_stream(parts).await;
        let tag: TempTag = adding.temp_tag().await.map_err(broken)?;
        self.keep(tag.hash()).await
    }

    /// Has a whole object on the disk, and then its tag.
    ///
    /// # Errors
    /// It is not whole, or the disk does not take it.
    pub async fn keep(&self, hash: Hash) -> Result<Listed, StoreError> {
        let BlobStatus::Complete { size } =
            self.store.blobs().status(hash).await.map_err(broken)?
        else {
            return Err(StoreError::Broken("not all of the object has come".to_owned()));
        };
        let paths = self.paths.path.clone();
        let sync = move || -> io::Result<()> {
            for file in [paths.data_path(&hash), paths.outboard_path(&hash)] {
                match File::open(file) {
                    Ok(file) => file.sync_all()?,
                    // Small ones are in the database.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            File::open(&paths.data_path)?.sync_all()
        };
        spawn_blocking(sync).await.map_err(broken)?.map_err(broken)?;
        self.store.tags().set(name(hash), hash).await.map_err(broken)?;
        self.store.sync_db().await.map_err(broken)?;
        Ok(Listed { hash, size })
    }

    /// The object, if it is here.
    ///
    /// # Errors
    /// The disk does not give it.
    pub async fn find(
        &self,
        hash: Hash,
        counters: &Counters,
    ) -> Result<Option<Object>, StoreError> {
        if let Some(bytes) = self.hot.get(&hash) {
            counters.from_memory.add(1);
            let size = bytes.len() as u64;
            return Ok(Some(Object { size, content: Content::Memory(bytes) }));
        }
        let Some(Listed { size, .. }) = self.look(hash).await? else { return Ok(None) };
        let content = if size <= SMALL {
            let bytes = self.store.blobs().get_bytes(hash).await.map_err(broken)?;
            self.hot.insert(hash, bytes.clone());
            Content::Memory(bytes)
        } else {
            // What the store gives itself goes through its actor, at a fifth of the file's speed.
            let path = self.paths.path.data_path(&hash);
            let file = spawn_blocking(|| File::open(path)).await.map_err(broken)?;
            Content::File(file.map_err(broken)?.into())
        };
        Ok(Some(Object { size, content }))
    }

    /// Whether it is here, and how large.
    ///
    /// # Errors
    /// The database does not say.
    pub async fn look(&self, hash: Hash) -> Result<Option<Listed>, StoreError> {
        if self.store.tags().get(name(hash)).await.map_err(broken)?.is_none() {
            return Ok(None);
        }
        match self.store.blobs().status(hash).await.map_err(broken)? {
            BlobStatus::Complete { size } => Ok(Some(Listed { hash, size })),
            _ => Ok(None),
        }
    }

    /// At most `most` objects in the order of their hashes, those after `after`.
    ///
    /// # Errors
    /// The database does not say.
    pub async fn list(&self, after: Option<Hash>, most: usize) -> Result<Vec<Listed>, StoreError> {
        let tags = self.store.tags().list_prefix(TAG).await.map_err(broken)?;
        let mut tags = pin!(tags);
        let mut found = vec![];
        while found.len() < most
            && let Some(tag) = tags.next().await
        {
            let hash = tag.map_err(broken)?.hash;
            if after.is_some_and(|after| name(hash) <= name(after)) {
                continue;
            }
            if let BlobStatus::Complete { size } =
                self.store.blobs().status(hash).await.map_err(broken)?
            {
                found.push(Listed { hash, size });
            }
        }
        Ok(found)
    }

    /// Sees that `more` bytes have room.
    ///
    /// # Errors
    /// They have none.
    pub fn room(&self, more: u64) -> Result<(), StoreError> {
        room(&self.folder, self.reserve, more)
    }

    /// Bytes of the file system that are free.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn free(&self) -> io::Result<u64> {
        let stat = statvfs(&self.folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// How many objects are in memory, and their bytes with what they take besides.
    pub fn in_memory(&self) -> (usize, u64) {
        (self.hot.len(), self.hot.weight())
    }
}

fn room(folder: &Path, reserve: Reserve, more: u64) -> Result<(), StoreError> {
    let stat = statvfs(folder).map_err(broken)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    let (free, all) = (bytes(stat.f_bavail), bytes(stat.f_blocks));
    let reserve = (all / reserve.share.max(1)).min(reserve.most);
    match free < reserve.saturating_add(more) {
        true => Err(StoreError::Full { free, reserve }),
        false => Ok(()),
    }
}

fn name(hash: Hash) -> String {
    format!("{TAG}{}", hash.to_hex())
}

fn broken(error: impl std::fmt::Display) -> StoreError {
    StoreError::Broken(error.to_string())
}
