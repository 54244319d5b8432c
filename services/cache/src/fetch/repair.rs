//! Repairs an object that the disk has damaged: what is intact is copied, and the rest comes from another node. The old
//! files stay until the new ones are complete and verified.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bao_tree::io::BaoContentItem;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::poll_fn;
use iroh_blobs::Hash;
use iroh_blobs::get::request::GetBlobItem;
use iroh_blobs::protocol::{ChunkRanges, GetRequest};
use octet_node::say;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::giver::Giver;
use super::piece::{AnswerParts, PeerFault, ask};
use super::{Fetcher, Missing};
use crate::objects::{GROUP, ObjectContentFiles, ObjectError, byte_ranges, chunks, count_bytes};
use crate::policy::ObjectKind;

/// How much of the old file is copied at once, in bytes.
const COPIED: u64 = 16 * GROUP;

/// The number of parts that wait for the disk.
const QUEUE_LENGTH: usize = 4;

/// The old files of an object, and what can be taken from them.
#[derive(Debug, Clone)]
struct OldFiles {
    files: Arc<ObjectContentFiles>,
    /// Intact ranges of bytes, in order.
    intact: Vec<Range<u64>>,
}

impl Fetcher {
    /// Puts a damaged object together anew.
    ///
    /// # Errors
    /// No node has what is missing, or there is no room; nothing has changed then.
    pub(super) async fn repair(&self, hash: Hash) -> Result<(), Missing> {
        let Some(size) = self.objects.policy().stored_size(&hash) else {
            return Err(Missing::Nowhere);
        };
        let (old, missing) = self.old_files(hash, size).await?;
        if missing.is_empty() {
            self.replace(hash, size, parts_of(old, size, None)).await?;
            self.counters.repaired.add(1);
            say!("{hash} was repaired: its hash tree was made anew");
            return Ok(());
        }
        let Some(endpoint) = self.endpoint.borrow().clone() else { return Err(Missing::Nowhere) };
        let (mut silent, wanted) = (0, count_bytes(&missing, size));
        for giver in self.givers(hash.as_bytes()[0]) {
            let request = GetRequest::blob_ranges(hash, missing.clone());
            let asked = async {
                let connection = giver
                    .connect(Some(&endpoint), &self.neighbours, self.limits.connect_timeout)
                    .await?;
                ask(&connection, request, self.limits.answer_timeout).await
            };
            match asked.await {
                Ok(Some((said, parts))) if said == size => {
                    let parts = parts_of(old.clone(), size, Some(parts));
                    match self.replace(hash, size, parts).await {
                        Ok(()) => {
                            self.repaired_by(&giver, hash, wanted);
                            return Ok(());
                        }
                        Err(error @ (ObjectError::Full { .. } | ObjectError::Quota { .. })) => {
                            return Err(error.into());
                        }
                        Err(error) => say!("{} did not repair {hash}: {error}", giver.name()),
                    }
                }
                Ok(_) | Err(PeerFault::Missing) => {}
                Err(_) => silent += 1,
            }
        }
        Err(if silent == 0 { Missing::Nowhere } else { Missing::Silent(silent) })
    }

    /// The store gives the new files the place of the old ones, because the hash is the same.
    async fn replace(
        &self,
        hash: Hash,
        size: u64,
        parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), ObjectError> {
        let added = self.objects.add_expected(Some(size), parts, ObjectKind::Loose, Some(hash));
        added.await.map(drop)
    }

    fn repaired_by(&self, giver: &Giver, hash: Hash, bytes: u64) {
        self.counters.repaired.add(1);
        self.counters.record_outcome(giver.node(), |it| it.sent += 1);
        say!("{hash} was repaired: {bytes} bytes came from {}", giver.name());
    }

    /// The old files, and the chunks that they lack.
    async fn old_files(
        &self,
        hash: Hash,
        size: u64,
    ) -> Result<(OldFiles, ChunkRanges), ObjectError> {
        let objects = Arc::clone(&self.objects);
        let look = move || -> io::Result<_> {
            let files = Arc::new(objects.content_files(hash, size)?);
            let mut intact = files.intact(0..size)?;
            if !intact.is_superset(&chunks(0..size)) && files.is_content_intact()? {
                intact = chunks(0..size);
            }
            let missing = chunks(0..size) - &intact;
            let intact = byte_ranges(&intact, size);
            Ok((OldFiles { files, intact }, missing))
        };
        spawn_blocking(look).await.map_err(broken)?.map_err(broken)
    }
}

/// All of an object's content, in order: from its old files what is intact there, and the rest of `missing`.
fn parts_of(
    old: OldFiles,
    size: u64,
    mut missing: Option<AnswerParts>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (to, mut parts) = mpsc::channel(QUEUE_LENGTH);
    tokio::spawn(async move {
        let mut at = 0;
        while at < size {
            let next_intact = old.intact.partition_point(|range| range.end <= at);
            let part = match old.intact.get(next_intact) {
                Some(range) if range.start <= at => {
                    copy(&old.files, at..range.end.min(at + COPIED)).await
                }
                _ => next(missing.as_mut(), at).await,
            };
            let is_end = part.as_ref().map_or(true, Bytes::is_empty);
            at += part.as_ref().map_or(0, Bytes::len) as u64;
            if to.send(part).await.is_err() || is_end {
                return;
            }
        }
    });
    poll_fn(move |context| parts.poll_recv(context))
}

async fn copy(files: &Arc<ObjectContentFiles>, range: Range<u64>) -> io::Result<Bytes> {
    let files = Arc::clone(files);
    spawn_blocking(move || files.read_unverified(range)).await.map_err(io::Error::other)?
}

/// The next content of an answer, which has to be for this position.
async fn next(missing: Option<&mut AnswerParts>, at: u64) -> io::Result<Bytes> {
    let parts = missing.ok_or(io::ErrorKind::UnexpectedEof)?;
    while let Some(part) = parts.recv().await {
        let part = part.map_err(|fault| io::Error::other(format!("it sent no more: {fault:?}")))?;
        if let GetBlobItem::Item(BaoContentItem::Leaf(leaf)) = part.item {
            return match leaf.offset == at {
                true => Ok(leaf.data),
                false => Err(io::ErrorKind::InvalidData.into()),
            };
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn broken(error: impl std::fmt::Display) -> ObjectError {
    ObjectError::Broken(error.to_string())
}
