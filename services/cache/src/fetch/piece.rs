//! Requests to one node: the size of an object, and its pieces. Data is verified against the hash
//! in units of 16 KiB before it is stored.

use std::num::NonZeroU64;
use std::time::Duration;

use iroh_blobs::Hash;
use iroh_blobs::get::fsm::{
    AtBlobContent, AtBlobHeaderNextError, AtConnected, BlobContentNext, ConnectedNext, DecodeError,
    EndBlobNext,
};
use iroh_blobs::get::request::GetBlobItem;
use iroh_blobs::get::{GetError, GetResult};
use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt, ChunkRangesSeq, ERR_INTERNAL, GetRequest};
use iroh_blobs::store::fs::FsStore;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::giver::GiverConnection;
use crate::endpoint::OVER_LIMIT;
use crate::objects::ObjectError;

/// The length of the queue to the store, in units of 16 KiB.
const QUEUE_LENGTH: usize = 8;

/// Why a node does not send a piece.
#[derive(Debug)]
pub enum PeerFault {
    /// It does not have the object.
    Missing,
    /// It is unreachable or silent.
    Silent,
    Wrong,
    /// It serves too many others at the moment.
    Busy,
    /// It does not serve this node any more, until its limit is raised.
    OverLimit,
    /// This node cannot store it.
    Store(ObjectError),
}

/// Waits for a node's message, up to the silence timeout.
async fn with_timeout<T>(
    silence: Duration,
    said: impl Future<Output = GetResult<T>>,
) -> Result<T, PeerFault> {
    match timeout(silence, said).await {
        Ok(said) => said.map_err(|error| classify(&error)),
        Err(_) => Err(PeerFault::Silent),
    }
}

/// The size of the object, with the node's proof.
pub async fn fetch_size(
    connection: &GiverConnection,
    hash: Hash,
    silence: Duration,
) -> Result<u64, PeerFault> {
    let last = ChunkRangesSeq::from_ranges(vec![ChunkRanges::last_chunk()]);
    let asked = ask(connection, GetRequest::new(hash, last), silence).await?;
    let Some((size, mut items)) = asked else { return Err(PeerFault::Silent) };
    while let Some(part) = items.recv().await {
        part?;
    }
    Ok(size)
}

/// Fetches `ranges` of the object of `size` bytes into the store, and tells `came` the bytes of each
/// part that arrives. Returns whether all has arrived: it ends early once `given_up` is ready.
///
/// # Errors
/// Some of it did not arrive; the part that did is in the store.
pub async fn fetch_piece(
    store: &FsStore,
    connection: &GiverConnection,
    (hash, size, ranges): (Hash, NonZeroU64, ChunkRanges),
    silence: Duration,
    given_up: impl Future<Output = ()>,
    mut came: impl FnMut(u64),
) -> Result<bool, PeerFault> {
    // An empty request has no answer.
    let asked = ask(connection, GetRequest::blob_ranges(hash, ranges), silence).await?;
    let Some((said, mut items)) = asked else { return Ok(true) };
    // With another size, hashes could be stored at wrong positions.
    if said != size.get() {
        return Err(PeerFault::Wrong);
    }
    let import = store.import_bao(hash, size, QUEUE_LENGTH).await.map_err(broken)?;
    let mut given_up = std::pin::pin!(given_up);
    let end = loop {
        let item = tokio::select! {
            item = items.recv() => item,
            () = &mut given_up => break Ok(false),
        };
        match item {
            None => break Ok(true),
            Some(Err(fault)) => break Err(fault),
            Some(Ok(AnswerPart { item: GetBlobItem::Item(item), content })) => {
                if import.tx.send(item).await.is_err() {
                    // The store's answer has the reason.
                    break Ok(true);
                }
                came(content);
            }
            Some(Ok(_)) => {}
        }
    };
    // Waits until the received data is stored, so that a later look at the missing chunks is
    // correct.
    drop(import.tx);
    import.rx.await.map_err(broken)?.map_err(broken)?;
    end
}

/// A verified part of an answer: content, or hashes that prove some.
pub struct AnswerPart {
    /// Always an `Item`: iroh-blobs exports the type of its value in no other way.
    pub item: GetBlobItem,
    /// Its bytes of content.
    content: u64,
}

/// The parts of an answer, up to the fault that ends it early.
pub type AnswerParts = mpsc::Receiver<Result<AnswerPart, PeerFault>>;

/// Sends a request. Returns the size that the node says, and what it sends after it, each part
/// verified; `None` if the request is empty.
pub async fn ask(
    connection: &GiverConnection,
    request: GetRequest,
    silence: Duration,
) -> Result<Option<(u64, AnswerParts)>, PeerFault> {
    let (to, parts) = mpsc::channel(QUEUE_LENGTH);
    let (mut say, said) = oneshot::channel();
    let connection = connection.clone();
    // The answer is read to its end also if this future is dropped.
    tokio::spawn(async move {
        let begun = tokio::select! {
            begun = begin(&connection, request, silence) => begun,
            () = say.closed(), if !connection.is_counted() => return,
        };
        match begun {
            Ok(Some((content, size))) => {
                // Nobody may wait for it.
                let _ = say.send(Ok(Some(size)));
                read(content, connection, to, silence).await;
            }
            Ok(None) => drop(say.send(Ok(None))),
            Err(fault) => drop(say.send(Err(fault))),
        }
    });
    let size = said.await.unwrap_or(Err(PeerFault::Silent))?;
    Ok(size.map(|size| (size, parts)))
}

/// Sends a request, and reads the size.
async fn begin(
    connection: &GiverConnection,
    request: GetRequest,
    silence: Duration,
) -> Result<Option<(AtBlobContent, u64)>, PeerFault> {
    let opened = timeout(silence, connection.open()).await;
    let Ok(Ok((to, from))) = opened else { return Err(PeerFault::Silent) };
    let asked = async {
        let connected = AtConnected::new(Instant::now(), from, to, request, Default::default());
        match connected.next().await? {
            ConnectedNext::StartRoot(root) => Ok(Some(root.next().next().await?)),
            _ => Ok(None),
        }
    };
    with_timeout(silence, asked).await
}

/// Reads an answer to its end. If nobody waits for it any more, the node is told to stop; but what a
/// neighbour has counted as sent is read to its end, so that both ends count the same.
async fn read(
    mut content: AtBlobContent,
    connection: GiverConnection,
    to: mpsc::Sender<Result<AnswerPart, PeerFault>>,
    silence: Duration,
) {
    let (is_counted, mut before) = (connection.is_counted(), 0);
    loop {
        let next = tokio::select! {
            next = timeout(silence, content.next()) => next,
            () = to.closed(), if !is_counted => return,
        };
        let fault = match next {
            Ok(BlobContentNext::More((next, Ok(item)))) => {
                let all = next.stats().counters.payload_bytes_read;
                let bytes = all - before;
                before = all;
                connection.count(bytes);
                let part = AnswerPart { item: GetBlobItem::Item(item), content: bytes };
                if to.send(Ok(part)).await.is_err() && !is_counted {
                    return;
                }
                content = next;
                continue;
            }
            Ok(BlobContentNext::Done(end)) => {
                if let EndBlobNext::Closing(closing) = end.next() {
                    // All data has arrived; the way the stream ends does not matter.
                    let _ = timeout(silence, closing.next()).await;
                }
                return;
            }
            Ok(BlobContentNext::More((_, Err(error)))) => classify(&error.into()),
            Err(_) => PeerFault::Silent,
        };
        // Nobody may wait for it.
        let _ = to.send(Err(fault)).await;
        return;
    }
}

fn broken(error: impl std::fmt::Display) -> PeerFault {
    PeerFault::Store(ObjectError::Broken(error.to_string()))
}

/// Classifies an error for the statistics of the node.
fn classify(error: &GetError) -> PeerFault {
    match error {
        _ if error.iroh_error_code() == Some(OVER_LIMIT) => PeerFault::OverLimit,
        // A node with iroh-blobs ends a request for an object that it lacks with this code.
        _ if error.iroh_error_code() == Some(ERR_INTERNAL) => PeerFault::Missing,
        GetError::AtBlobHeaderNext { source: AtBlobHeaderNextError::NotFound { .. }, .. } => {
            PeerFault::Missing
        }
        GetError::Decode { source, .. } => match source {
            DecodeError::ChunkNotFound { .. }
            | DecodeError::ParentNotFound { .. }
            | DecodeError::LeafNotFound { .. } => PeerFault::Missing,
            DecodeError::ParentHashMismatch { .. } | DecodeError::LeafHashMismatch { .. } => {
                PeerFault::Wrong
            }
            _ => PeerFault::Silent,
        },
        _ => PeerFault::Silent,
    }
}
