//! Resolves names at other nodes: one request and one answer, on a stream of a connection of its
//! own.
//!
//! The request: version (1 byte, 1), the key of the name's node (32), the path (1 byte of length,
//! then ASCII). The answer is the record, or empty if the name is unknown.

use std::sync::Arc;

use iroh::Endpoint;
use iroh::endpoint::Connection;
use octet_appliance::{LONGEST_NAME_PATH, NamePath};
use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::PersistedNames;
use super::record::{LONGEST, NameRecord};
use crate::limits::CacheLimits;
use crate::peers::PeerNode;

pub const ALPN: &[u8] = b"octet-names/1";

/// The version of a request, its first byte.
const VERSION: u8 = 1;

/// The maximum length of a request, in bytes.
const LONGEST_REQUEST: usize = 1 + 32 + 1 + LONGEST_NAME_PATH;

/// Asks `peer`. Returns `None` if it does not answer with a record of this name, or with an empty
/// answer.
pub async fn query(
    endpoint: &Endpoint,
    peer: &PeerNode,
    node: PublicKey,
    path: &NamePath,
) -> Option<Option<NameRecord>> {
    let connection = endpoint.connect(peer.address()?, ALPN).await.ok()?;
    let (mut to, mut from) = connection.open_bi().await.ok()?;
    let path_text = path.as_str().as_bytes();
    let length = path_text.len() as u8;
    let request = [&[VERSION][..], node.as_bytes(), &[length], path_text].concat();
    to.write_all(&request).await.ok()?;
    to.finish().ok()?;
    let answer = from.read_to_end(LONGEST).await.ok()?;
    connection.close(0u32.into(), b"");
    if answer.is_empty() {
        return Some(None);
    }
    let record = NameRecord::from_bytes(&answer).ok()?;
    // A record of another name is an invalid answer.
    (record.node() == node && record.entry().path == *path).then_some(Some(record))
}

fn parse(request: &[u8]) -> Option<(PublicKey, NamePath)> {
    let mut fields = Fields(request);
    let version = fields.u8()?;
    let (node, path) = (fields.key()?, fields.text()?.parse().ok()?);
    (version == VERSION && fields.0.is_empty()).then_some((node, path))
}

/// Answers requests from the local records; the number of concurrent requests is limited.
#[derive(Debug)]
pub struct NameResponder {
    store: Arc<PersistedNames>,
    limits: CacheLimits,
    permits: Semaphore,
}

impl NameResponder {
    pub fn new(store: Arc<PersistedNames>, limits: CacheLimits) -> Self {
        Self { store, limits, permits: Semaphore::new(limits.peers) }
    }

    pub async fn serve(&self, connection: &Connection) {
        if let Ok(_place) = self.permits.try_acquire() {
            // The error concerns the peer only.
            let _ = timeout(self.limits.answer_timeout, self.answer(connection)).await;
        }
        connection.close(0u32.into(), b"");
    }

    async fn answer(&self, connection: &Connection) -> Option<()> {
        let (mut to, mut from) = connection.accept_bi().await.ok()?;
        let (node, path) = parse(&from.read_to_end(LONGEST_REQUEST).await.ok()?)?;
        let store = Arc::clone(&self.store);
        let known = spawn_blocking(move || store.get(&node, &path)).await.ok()?.ok()?;
        if let Some(record) = known {
            to.write_all(&record.to_bytes()).await.ok()?;
        }
        to.finish().ok()?;
        connection.closed().await;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_encoding(key: [u8; 32], path in "[a-z]{1,9}(/[a-z]{1,9})?", cut in 0usize..40) {
            let length = path.len() as u8;
            let request = [&[VERSION][..], &key, &[length], path.as_bytes()].concat();
            let (node, parsed) = parse(&request).unwrap();
            prop_assert_eq!((node, parsed.as_str()), (PublicKey::new(key), &path[..]));
            prop_assert!(cut >= request.len() || parse(&request[..cut]).is_none());
            prop_assert!(parse(&[&request[..], b"x"].concat()).is_none());
        }
    }
}
