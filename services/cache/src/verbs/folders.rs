//! Stores a folder, which an operator sends as a tar archive.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{once, poll_fn};
use iroh_blobs::Hash;
use octet_node::control::{Failure, FailureCode};
use octet_node::serve::threads::Call;
use serde_json::{Value, json};
use tar::{Archive, Entry, EntryType, PaxExtensions};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{CacheVerbs, missing_failure, store_failure};
use crate::counters::CacheCounters;
use crate::folder::{InvalidFolderPath, ObjectFolder};
use crate::folders::FolderError;
use crate::http::CacheState;
use crate::objects::{ListedObject, ObjectError};
use crate::policy::ObjectKind;

/// The size in bytes of the parts in which a file is stored.
const PART: usize = 64 << 10;

/// The number of parts that are queued for the disk.
const QUEUE_LENGTH: usize = 4;

/// The maximum size of what an archive says about the next file, in bytes.
const MAX_EXTENSION: u64 = 16 << 10;

impl CacheVerbs {
    /// Receives a folder as an archive of `size` bytes, if the size is known.
    pub(super) fn add_folder(
        &self,
        call: &mut Call<'_>,
        size: Option<u64>,
        is_pinned: bool,
    ) -> Result<Value, Failure> {
        let state = self.state()?.clone();
        let (parts, came) = pipe();
        let (runtime, counters) = (self.runtime.clone(), Arc::clone(&self.gateway.counters));
        let adding =
            self.runtime.spawn_blocking(move || add(&runtime, &state, &counters, came, is_pinned));
        let into_archive = |part: Vec<u8>| parts.blocking_send(Ok(part.into())).is_ok();
        let read = call.peer.read_parts(call.id, size, 1, into_archive);
        if read.is_err() {
            // An archive that ends early could look complete.
            let _ =
                parts.blocking_send(Err(io::Error::other("the archive did not come to its end")));
        }
        drop(parts);
        let added = self.runtime.block_on(adding).map_err(|error| {
            Failure::new(FailureCode::Failed, error.to_string(), "add it again")
        })?;
        read?;
        Ok(show(added.map_err(|refused| failure(&refused))?))
    }

    pub(super) fn get_folder(&self, hash: Hash) -> Result<Value, Failure> {
        let fetched = self.state()?.fetch_folder(hash, &self.gateway.counters);
        let fetched = self.runtime.block_on(fetched);
        fetched.map_err(|error| failure(&error.into()))?;
        Ok(json!({ "hash": hash.to_hex().to_string() }))
    }

    pub(super) fn pin_folder(&self, hash: Hash) -> Result<Value, Failure> {
        let pinned = self.state()?.pin_folder(hash, &self.gateway.counters);
        let pinned = self.runtime.block_on(pinned);
        pinned.map_err(|error| failure(&error.into()))?;
        Ok(json!({ "hash": hash.to_hex().to_string(), "pinned": true }))
    }

    /// Ends that a folder is pinned. Returns whether it was.
    pub(super) fn unpin_folder(&self, hash: Hash) -> Result<bool, Failure> {
        let unpinned = self.state()?.unpin_folder(hash, &self.gateway.counters);
        self.runtime.block_on(unpinned).map_err(|error| store_failure(&error))
    }
}

/// Why a folder is not stored.
#[derive(Debug, thiserror::Error)]
pub enum FolderRefusal {
    #[error("the archive cannot be read: {0}")]
    Archive(#[from] io::Error),
    #[error(transparent)]
    Path(#[from] InvalidFolderPath),
    #[error("`{0}` is neither a file nor a folder")]
    Kind(String),
    #[error("there is not enough room: a file was evicted before the folder was complete")]
    Evicted,
    #[error("the archive has no file")]
    Empty,
    #[error(transparent)]
    Store(#[from] ObjectError),
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// A folder that was stored.
pub struct AddedFolder {
    pub hash: Hash,
    /// The size of all files, in bytes.
    pub size: u64,
    pub files: u64,
}

/// Stores the files of an archive, and then the folder, which is pinned if `is_pinned`. It blocks.
///
/// # Errors
/// No folder is stored then. Files that are stored already may be evicted.
pub fn add(
    runtime: &Handle,
    state: &CacheState,
    counters: &CacheCounters,
    archive: impl Read,
    is_pinned: bool,
) -> Result<AddedFolder, FolderRefusal> {
    let (mut folder, mut size, mut files) = (ObjectFolder::default(), 0, 0);
    let (mut archive, mut extension) = (Archive::new(archive), None);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::GNULongName | EntryType::XHeader => {
                extension = path_of(&mut entry)?.or(extension);
                continue;
            }
            // What is said of all files is not about their paths.
            EntryType::XGlobalHeader => continue,
            _ => {}
        }
        let path = extension.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let path = String::from_utf8(path).map_err(|error| {
            InvalidFolderPath::Form(String::from_utf8_lossy(error.as_bytes()).into_owned())
        })?;
        match entry.header().entry_type() {
            EntryType::Directory => {}
            EntryType::Regular | EntryType::Continuous => {
                let path = path.strip_prefix("./").unwrap_or(&path);
                // Before its content is stored.
                folder.check(path)?;
                let stored = store(runtime, state, &mut entry)?;
                folder.add(path, stored.hash)?;
                (size, files) = (size + stored.size, files + 1);
            }
            _ => return Err(FolderRefusal::Kind(path)),
        }
    }
    if files == 0 {
        return Err(FolderRefusal::Empty);
    }
    let [paths, hashes] = folder.to_objects()?;
    runtime.block_on(async {
        let kind = ObjectKind::Loose;
        for object in [paths, hashes.clone()] {
            let length = object.len() as u64;
            state.objects.add(Some(length), once(async { Ok(object) }), kind).await?;
        }
        let hash = Hash::new(&hashes);
        if is_pinned {
            match state.pin_folder(hash, counters).await {
                Err(FolderError::Store(ObjectError::Absent(_))) => {
                    return Err(FolderRefusal::Evicted);
                }
                pinned => pinned?,
            }
        }
        Ok(AddedFolder { hash, size, files })
    })
}

/// The path that an extension says of the next entry, if it does.
fn path_of(extension: &mut Entry<'_, impl Read>) -> io::Result<Option<Vec<u8>>> {
    if extension.size() > MAX_EXTENSION {
        return Err(io::Error::other(format!(
            "an extended header has more than {MAX_EXTENSION} bytes"
        )));
    }
    let mut bytes = vec![];
    extension.read_to_end(&mut bytes)?;
    if extension.header().entry_type() == EntryType::GNULongName {
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        return Ok(Some(bytes));
    }
    let mut path = None;
    for field in PaxExtensions::new(&bytes) {
        let field = field?;
        match field.key_bytes() {
            b"path" => path = Some(field.value_bytes().to_vec()),
            b"size" => return Err(io::Error::other("it has a file of 8 GB or more")),
            _ => {}
        }
    }
    Ok(path)
}

/// Stores the content of an entry.
fn store(
    runtime: &Handle,
    state: &CacheState,
    entry: &mut Entry<'_, impl Read>,
) -> Result<ListedObject, FolderRefusal> {
    let size = entry.size();
    let (parts, mut came) = mpsc::channel::<io::Result<Bytes>>(QUEUE_LENGTH);
    let objects = state.objects.clone();
    let came = poll_fn(move |context| came.poll_recv(context));
    let adding =
        runtime.spawn(async move { objects.add(Some(size), came, ObjectKind::Loose).await });
    let mut left = size;
    while left > 0 {
        let mut part = vec![0; PART.min(usize::try_from(left).unwrap_or(PART))];
        if let Err(error) = entry.read_exact(&mut part) {
            let cut = io::Error::other("the file did not come to its end");
            let _ = parts.blocking_send(Err(cut));
            return Err(error.into());
        }
        left -= part.len() as u64;
        // If the store has closed the channel, its answer has the reason.
        if parts.blocking_send(Ok(part.into())).is_err() {
            break;
        }
    }
    drop(parts);
    let added = runtime.block_on(adding).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(added?)
}

/// The bytes of the archive that have arrived.
pub struct ArchivePipe {
    came: mpsc::Receiver<io::Result<Bytes>>,
    part: Bytes,
}

/// Both ends of the way from the caller to [`add`].
pub fn pipe() -> (mpsc::Sender<io::Result<Bytes>>, ArchivePipe) {
    let (parts, came) = mpsc::channel(QUEUE_LENGTH);
    (parts, ArchivePipe { came, part: Bytes::new() })
}

impl Read for ArchivePipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() {
            // What follows the end is not there.
            self.part = self.came.blocking_recv().transpose()?.unwrap_or_default();
        }
        let count = self.part.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.part.split_to(count));
        Ok(count)
    }
}

pub fn show(added: AddedFolder) -> Value {
    let hash = added.hash.to_hex().to_string();
    json!({ "hash": hash, "size": added.size, "files": added.files, "path": format!("/d/{hash}/") })
}

pub fn failure(refused: &FolderRefusal) -> Failure {
    match refused {
        FolderRefusal::Store(error) | FolderRefusal::Folder(FolderError::Store(error)) => {
            store_failure(error)
        }
        FolderRefusal::Folder(FolderError::Missing(missing)) => missing_failure(missing),
        refused => Failure::new(FailureCode::BadArgument, refused.to_string(), "nothing was added"),
    }
}
