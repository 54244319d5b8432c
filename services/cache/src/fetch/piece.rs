//! Requests to one node: the size of an object, and its pieces. Data is verified against the hash
//! in units of 16 KiB before it is stored.

use std::num::NonZeroU64;
use std::time::Duration;

use iroh::endpoint::Connection;
use iroh_blobs::Hash;
use iroh_blobs::get::fsm::{
    AtBlobHeaderNextError, BlobContentNext, ConnectedNext, DecodeError, EndBlobNext, start,
};
use iroh_blobs::get::request::get_verified_size;
use iroh_blobs::get::{GetError, GetResult};
use iroh_blobs::protocol::{ChunkRanges, ERR_INTERNAL, GetRequest};
use iroh_blobs::store::fs::FsStore;
use tokio::time::timeout;

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
    connection: &Connection,
    hash: Hash,
    silence: Duration,
) -> Result<u64, PeerFault> {
    let (size, _) = with_timeout(silence, get_verified_size(connection, &hash)).await?;
    Ok(size)
}

/// Fetches `ranges` of the object of `size` bytes into the store.
///
/// # Errors
/// Some of it did not arrive; the part that did is in the store.
pub async fn fetch_piece(
    store: &FsStore,
    connection: &Connection,
    hash: Hash,
    size: NonZeroU64,
    ranges: ChunkRanges,
    silence: Duration,
) -> Result<(), PeerFault> {
    let request = GetRequest::blob_ranges(hash, ranges);
    let asked = async {
        let connected = start(connection.clone(), request, Default::default()).next().await?;
        match connected.next().await? {
            ConnectedNext::StartRoot(root) => Ok(Some(root.next().next().await?)),
            _ => Ok(None),
        }
    };
    // An empty request has no answer.
    let Some((mut content, said)) = with_timeout(silence, asked).await? else { return Ok(()) };
    // With another size, hashes could be stored at wrong positions.
    if said != size.get() {
        return Err(PeerFault::Wrong);
    }
    let import = store.import_bao(hash, size, QUEUE_LENGTH).await.map_err(broken)?;
    let end = loop {
        match timeout(silence, content.next()).await {
            Err(_) => break Err(PeerFault::Silent),
            Ok(BlobContentNext::More((_, Err(error)))) => break Err(classify(&error.into())),
            Ok(BlobContentNext::More((next, Ok(item)))) => {
                if import.tx.send(item).await.is_err() {
                    // The store's answer has the reason.
                    break Ok(());
                }
                content = next;
            }
            Ok(BlobContentNext::Done(end)) => {
                if let EndBlobNext::Closing(closing) = end.next() {
                    // All data has arrived; the way the stream ends does not matter.
                    let _ = timeout(silence, closing.next()).await;
                }
                break Ok(());
            }
        }
    };
    // Waits until the received data is stored, so that a later look at the missing chunks is
    // correct.
    drop(import.tx);
    import.rx.await.map_err(broken)?.map_err(broken)?;
    end
}

fn broken(error: impl std::fmt::Display) -> PeerFault {
    PeerFault::Store(ObjectError::Broken(error.to_string()))
}

/// Classifies an error for the statistics of the node.
fn classify(error: &GetError) -> PeerFault {
    match error {
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
