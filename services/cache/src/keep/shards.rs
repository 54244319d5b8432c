//! Makes shards, and objects of shards, on this board. A result that has not the hash that it is to have is not stored.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{once, poll_fn};
use iroh_blobs::Hash;
use octet_node::say;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::ObjectKeeper;
use super::codec::{ShardOutput, StripeReader, StripeSource, compute_manifest};
use super::manifest::{LONGEST_MANIFEST, ShardLayout, ShardManifest};
use crate::fetch::Missing;
use crate::objects::ObjectError;
use crate::policy::{ObjectKind, PinnedBy};

/// The number of shards of an object that are fetched at the same time.
const FETCHED_AT_ONCE: usize = 4;

/// The result of a running decoding.
pub(super) type Restoring = watch::Receiver<Option<Result<(), Missing>>>;

/// What is written, and the hash that it is to have.
struct ExpectedOutput {
    output: ShardOutput,
    hash: Hash,
    /// In bytes.
    size: u64,
}

/// Why shards, or an object of shards, were not made.
#[derive(Debug)]
pub(super) enum ShardError {
    Missing(Missing),
    /// The shards of the manifest do not give what they are to give.
    Wrong,
}

impl<E: Into<Missing>> From<E> for ShardError {
    fn from(error: E) -> Self {
        match error.into() {
            Missing::Store(ObjectError::Mismatch(_)) => Self::Wrong,
            missing => Self::Missing(missing),
        }
    }
}

impl ObjectKeeper {
    /// Computes the manifest of an object that is here, and takes it over.
    pub(super) async fn prove(&self, object: Hash, layout: ShardLayout) -> Result<(), ShardError> {
        let Some(size) = self.objects.size(object) else { return Err(Missing::Nowhere.into()) };
        let file = self.open(object).await?;
        let computed = spawn_blocking(move || compute_manifest(object, size, layout, file));
        let manifest = computed.await.map_err(broken)?.map_err(broken)?;
        self.state().manifests.adopt(manifest.clone(), true);
        Ok(self.store(&manifest).await?)
    }

    /// Sees whether the shards of a manifest give the object. It is here then.
    pub(super) async fn check(&self, object: Hash, layout: ShardLayout) -> Result<(), ShardError> {
        let Some((hash, manifest)) = self.manifest(&object, Some(layout)) else { return Ok(()) };
        match self.decode(&manifest).await {
            Ok(()) => {
                self.state().manifests.adopt(manifest, true);
                Ok(())
            }
            Err(ShardError::Wrong) => {
                self.state().manifests.refuse(&object, hash);
                Err(ShardError::Wrong)
            }
            Err(error) => {
                self.state().manifests.put_last(&object, hash);
                Err(error)
            }
        }
    }

    /// Fetches a manifest that another board has, and takes it over if it is one of the object.
    pub(super) async fn take_manifest(
        &self,
        object: Hash,
        layout: Option<ShardLayout>,
        hash: Hash,
    ) -> Result<(), ShardError> {
        self.fetch_at_most(hash, LONGEST_MANIFEST).await?;
        let is_wanted = |it: &ShardManifest| {
            let is_size = self.objects.size(object).is_none_or(|size| size == it.size);
            let is_layout = layout.is_none_or(|layout| layout == it.layout);
            it.object == object && is_size && is_layout && it.size >= self.limits.keep_shards_from
        };
        match self.read_manifest(hash).await?.filter(is_wanted) {
            Some(manifest) => {
                self.state().manifests.adopt(manifest.clone(), false);
                Ok(self.store(&manifest).await?)
            }
            None => {
                self.state().manifests.refuse(&object, hash);
                Err(ShardError::Wrong)
            }
        }
    }

    /// Parses a stored object of at most [`LONGEST_MANIFEST`] bytes.
    pub(super) async fn read_manifest(
        &self,
        hash: Hash,
    ) -> Result<Option<ShardManifest>, ObjectError> {
        let bytes = self.objects.store().blobs().get_bytes(hash).await.map_err(broken_store)?;
        Ok(ShardManifest::from_bytes(&bytes))
    }

    /// Writes the manifest to the disk, pinned.
    pub(super) async fn store(&self, manifest: &ShardManifest) -> Result<(), ObjectError> {
        let bytes = manifest.to_bytes();
        let (size, part) = (bytes.len() as u64, Ok(Bytes::from(bytes)));
        let parts = once(async move { part });
        self.objects.add(Some(size), parts, ObjectKind::Kept).await.map(drop)
    }

    fn manifest(
        &self,
        object: &Hash,
        layout: Option<ShardLayout>,
    ) -> Option<(Hash, ShardManifest)> {
        let state = self.state();
        state.manifests.best(object, layout).map(|(hash, manifest)| (hash, manifest.clone()))
    }

    /// Fetches a shard that another board has, or makes it if that one does not give it.
    pub(super) async fn take_shard(
        &self,
        object: Hash,
        layout: ShardLayout,
        index: u8,
    ) -> Result<(), ShardError> {
        let Some((_, manifest)) = self.manifest(&object, Some(layout)) else { return Ok(()) };
        let Some(shard) = manifest.shards.get(usize::from(index)).copied() else { return Ok(()) };
        match self.fetch_at_most(shard, manifest.shard_size()).await {
            Ok(()) if self.objects.size(shard) == Some(manifest.shard_size()) => {
                self.objects.pin(shard, PinnedBy::Keep, true).await?;
                Ok(())
            }
            // It says that it has the shard, and need not be right.
            Err(Missing::Nowhere | Missing::Silent(_) | Missing::Limited(_)) => {
                self.make_shards(object, layout, 1 << index).await
            }
            Ok(()) => self.refuse_unproved(&object, layout),
            Err(missing) => Err(missing.into()),
        }
    }

    /// The manifest that is in use is wrong, unless this board has proved it: then the disk is.
    fn refuse_unproved(&self, object: &Hash, layout: ShardLayout) -> Result<(), ShardError> {
        let mut state = self.state();
        let known = state.manifests.known(object, layout, None);
        if let Some(known) = known.filter(|known| !known.is_proved) {
            say!("a manifest of {object} is wrong, and not used any more");
            state.manifests.refuse(object, known.hash);
        }
        Err(ShardError::Wrong)
    }

    /// Makes the shards of this set and pins them.
    pub(super) async fn make_shards(
        &self,
        object: Hash,
        layout: ShardLayout,
        set: u32,
    ) -> Result<(), ShardError> {
        let Some((_, manifest)) = self.manifest(&object, Some(layout)) else { return Ok(()) };
        let source = match self.objects.size(object) {
            Some(size) if size == manifest.size => StripeSource::Whole(self.open(object).await?),
            _ => match self.shards(&manifest, set).await {
                Ok(shards) => shards,
                Err(_) => {
                    self.fetch_at_most(object, manifest.size).await?;
                    StripeSource::Whole(self.open(object).await?)
                }
            },
        };
        let mut hashes = HashSet::new();
        let wanted = (0..).zip(&manifest.shards).filter(|(index, hash)| {
            // Shards with the same content are one object.
            set & (1u32 << index) != 0 && hashes.insert(**hash)
        });
        let size = manifest.shard_size();
        let outputs = wanted
            .map(|(index, hash)| ExpectedOutput {
                output: ShardOutput::Shard(index),
                hash: *hash,
                size,
            })
            .collect();
        match self.write(&manifest, source, outputs, ObjectKind::Kept).await {
            Err(ShardError::Wrong) => self.refuse_unproved(&object, layout),
            made => made,
        }
    }

    /// Enough shards for the object, fetched if they are not here; those of the set `but` are lost.
    async fn shards(&self, manifest: &ShardManifest, but: u32) -> Result<StripeSource, ShardError> {
        let mut wanted: Vec<(u8, Hash)> = (0..).zip(manifest.shards.iter().copied()).collect();
        wanted.retain(|(index, _)| but & (1u32 << index) == 0);
        let reached = {
            let state = self.state();
            let (hash, now) = (manifest.hash(), self.now());
            let reached =
                state.view.as_ref().map(|it| it.reached_shards(&manifest.object, &hash, now));
            reached.unwrap_or_default()
        };
        // What is here costs nothing, and what a board says it has is likely to come.
        wanted.sort_by_key(|(index, hash)| {
            (self.objects.size(*hash).is_none(), reached & (1u32 << index) == 0)
        });
        let (data, mut files) = (usize::from(manifest.layout.data), vec![]);
        let (mut wanted, mut last) = (wanted.into_iter().peekable(), Missing::Nowhere);
        while files.len() < data && wanted.peek().is_some() {
            // No more than are needed, unless some do not come.
            let next = wanted.by_ref().take(FETCHED_AT_ONCE.min(data - files.len()));
            let fetched = next.map(async |(index, hash)| {
                self.fetch_at_most(hash, manifest.shard_size()).await?;
                // It may be evicted from now on, and stays readable.
                let file = self.open(hash).await?;
                let is_one = self.objects.size(hash) == Some(manifest.shard_size());
                is_one.then_some((index, file)).ok_or(Missing::Nowhere)
            });
            for fetched in join_all(fetched).await {
                match fetched {
                    Ok(file) => files.push(file),
                    Err(missing) => last = missing,
                }
            }
        }
        if files.len() < data { Err(last.into()) } else { Ok(StripeSource::Shards(files)) }
    }

    /// Makes the object of its shards. It may be evicted.
    async fn decode(&self, manifest: &ShardManifest) -> Result<(), ShardError> {
        self.objects.check_fits(manifest.size)?;
        let source = self.shards(manifest, 0).await?;
        let (hash, size) = (manifest.object, manifest.size);
        let whole = ExpectedOutput { output: ShardOutput::Whole, hash, size };
        self.write(manifest, source, vec![whole], ObjectKind::Loose).await
    }

    /// Makes the object of its shards, if `missing` is why no node has it, and this board knows its manifest. Concurrent
    /// requests share it.
    ///
    /// # Errors
    /// `missing`, or why the shards do not give it.
    pub async fn restore(self: &Arc<Self>, hash: Hash, missing: Missing) -> Result<(), Missing> {
        if !matches!(missing, Missing::Nowhere | Missing::Silent(_) | Missing::Limited(_)) {
            return Err(missing);
        }
        let mut restoring = {
            let mut state = self.state();
            let layout = state.layout(&hash);
            let Some((_, manifest)) = state.manifests.best(&hash, layout) else {
                return Err(missing);
            };
            let manifest = manifest.clone();
            // One that has panicked has no sender any more.
            let running = state.restoring.get(&hash).filter(|it| it.has_changed().is_ok());
            match running {
                Some(restoring) => restoring.clone(),
                None => {
                    let (sender, restoring) = watch::channel(None);
                    state.restoring.insert(hash, restoring.clone());
                    let keeper = Arc::clone(self);
                    tokio::spawn(async move {
                        let outcome = keeper.restore_by(manifest).await;
                        keeper.state().restoring.remove(&hash);
                        sender.send_replace(Some(outcome));
                    });
                    restoring
                }
            }
        };
        let outcome = timeout(self.limits.read_timeout, restoring.wait_for(Option::is_some)).await;
        match outcome {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(Missing::OnItsWay)),
            _ => Err(Missing::OnItsWay),
        }
    }

    async fn restore_by(&self, manifest: ShardManifest) -> Result<(), Missing> {
        let object = manifest.object;
        let _permit = self.restoring.acquire().await.map_err(broken)?;
        match self.decode(&manifest).await {
            Ok(()) => {
                self.state().manifests.adopt(manifest, true);
                self.restored.add(1);
                Ok(())
            }
            Err(ShardError::Missing(missing)) => Err(missing),
            Err(ShardError::Wrong) => {
                let why = format!("the shards of {object} give another content: it is not kept");
                say!("{why}");
                Err(ObjectError::Broken(why).into())
            }
        }
    }

    /// Writes what is made of the source as objects.
    async fn write(
        &self,
        manifest: &ShardManifest,
        source: StripeSource,
        outputs: Vec<ExpectedOutput>,
        kind: ObjectKind,
    ) -> Result<(), ShardError> {
        let reader = StripeReader::new(manifest.layout, manifest.size, source).map_err(broken)?;
        let (mut senders, mut adds) = (vec![], vec![]);
        for output in &outputs {
            let (sender, mut parts) = mpsc::channel(1);
            senders.push(sender);
            let parts = poll_fn(move |context| parts.poll_recv(context));
            adds.push(self.objects.add_expected(Some(output.size), parts, kind, Some(output.hash)));
        }
        let kinds = outputs.iter().map(|it| it.output).collect();
        let producing = spawn_blocking(move || produce(reader, kinds, &senders));
        let (produced, added) = tokio::join!(producing, join_all(adds));
        // That there is no room is the better error.
        for added in added {
            added?;
        }
        produced.map_err(broken)?.map_err(broken)?;
        Ok(())
    }

    /// Fetches an object of at most `max` bytes. A large one takes longer than a client would wait.
    async fn fetch_at_most(&self, hash: Hash, max: u64) -> Result<(), Missing> {
        if self.objects.size(hash).is_some() {
            return Ok(());
        }
        loop {
            match self.fetcher.fetch_at_most(hash, None, max).await {
                Err(Missing::OnItsWay) => {}
                outcome => return outcome,
            }
        }
    }

    async fn open(&self, hash: Hash) -> Result<File, ObjectError> {
        let path = self.objects.path_of(hash);
        let opened = spawn_blocking(|| File::open(path)).await.map_err(broken_store)?;
        opened.map_err(broken_store)
    }
}

/// Reads the source, and sends the parts of each output.
fn produce(
    mut reader: StripeReader,
    outputs: Vec<ShardOutput>,
    senders: &[mpsc::Sender<io::Result<Bytes>>],
) -> io::Result<()> {
    let read = reader.read(&outputs, |place, part| {
        let sent = senders[place].blocking_send(Ok(Bytes::copy_from_slice(part)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    });
    if read.is_err() {
        for sender in senders {
            // If nobody reads it, its end is an error as well.
            let _ = sender.blocking_send(Err(io::ErrorKind::InvalidData.into()));
        }
    }
    read
}

fn broken(error: impl std::fmt::Display) -> Missing {
    broken_store(error).into()
}

fn broken_store(error: impl std::fmt::Display) -> ObjectError {
    ObjectError::Broken(error.to_string())
}
