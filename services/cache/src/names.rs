//! Mutable names: a node's key and a path refer to an object, by the latest record that the node's
//! `cache` has signed.

mod persisted;
mod query;
mod record;
mod renewal;

pub use persisted::{NameStoreError, OwnName, PersistedNames};
pub use query::{ALPN, NameResponder};
pub use record::{InvalidNameRecord, NameEntry, NameRecord};

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use iroh::Endpoint;
use iroh_blobs::Hash;
use octet_appliance::NamePath;
use octet_node::control::PublicKey;
use octet_node::sub_key::Certified;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::task::spawn_blocking;

use crate::limits::CacheLimits;
use crate::peers::PeerNode;

/// How long a resolved name is cached.
const CACHE_TIME: Duration = Duration::from_secs(10);

/// The maximum number of cached resolutions.
const MAX_CACHED: usize = 1024;

/// The maximum number of concurrent resolutions at other nodes, and of those for HTTP clients. The
/// rest is reserved for operators.
const MAX_CONCURRENT: usize = 16;
const MAX_CONCURRENT_CLIENTS: usize = 12;

/// The origin of a resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolveOrigin {
    /// An HTTP client.
    Client,
    /// A caller of the unit's verbs.
    Operator,
}

/// Why a name cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// No reachable node knows it.
    #[error("no node of this box knows this name: check the key and the path")]
    Unknown,
    /// No reachable node knows it, and some nodes do not answer.
    #[error("the nodes that answer do not know this name, and {0} did not answer: ask again later")]
    Silent(usize),
    /// The known record has expired.
    #[error("the record of this name has expired: its node has to publish it again")]
    Expired,
    /// The limit of concurrent resolutions is reached.
    #[error("the maximum number of names is being resolved: ask again in a moment")]
    Busy,
    /// This node's key is not certified yet.
    #[error("this node's key is not certified yet: publish it again in a moment")]
    NoKey,
    /// The record cannot be stored or read.
    #[error(transparent)]
    Store(#[from] NameStoreError),
    /// Signing or waiting failed.
    #[error("{0}")]
    Broken(String),
}

/// The known names, and how others are resolved.
#[derive(Debug)]
pub struct NameCache {
    store: Arc<PersistedNames>,
    limits: CacheLimits,
    certified: watch::Receiver<Option<Certified>>,
    endpoint: watch::Receiver<Option<Endpoint>>,
    peers: watch::Receiver<Vec<PeerNode>>,
    queried_at: Mutex<HashMap<(PublicKey, NamePath), Instant>>,
    permits: Semaphore,
    client_permits: Semaphore,
    /// Serialises the records of this node: each has a sequence of its own.
    publishing: tokio::sync::Mutex<()>,
    /// A name that is to be renewed was published.
    published: Notify,
}

impl NameCache {
    /// Opens the names in `file`. This node publishes with the `certified` key, and asks `peers`,
    /// which may include itself, through `endpoint`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(
        file: &Path,
        limits: CacheLimits,
        certified: watch::Receiver<Option<Certified>>,
        endpoint: watch::Receiver<Option<Endpoint>>,
        peers: watch::Receiver<Vec<PeerNode>>,
    ) -> Result<Arc<Self>, NameStoreError> {
        let store = PersistedNames::open(file)?.into();
        let [permits, client_permits] =
            [MAX_CONCURRENT, MAX_CONCURRENT_CLIENTS].map(Semaphore::new);
        let queried_at = Mutex::default();
        Ok(Self {
            store,
            limits,
            certified,
            endpoint,
            peers,
            queried_at,
            permits,
            client_permits,
            publishing: tokio::sync::Mutex::default(),
            published: Notify::new(),
        }
        .into())
    }

    pub fn store(&self) -> &Arc<PersistedNames> {
        &self.store
    }

    /// Publishes `hash` under a path below this node's key, for the given time by its clock. It is published again as
    /// long as it `is_renewed`.
    ///
    /// # Errors
    /// This node has no key yet, or writing fails.
    pub async fn publish(
        &self,
        path: NamePath,
        hash: Hash,
        ttl: Duration,
        is_renewed: bool,
    ) -> Result<NameRecord, Unresolved> {
        let Some(own) = self.certified.borrow().clone() else { return Err(Unresolved::NoKey) };
        let _publishing = self.publishing.lock().await;
        let store = Arc::clone(&self.store);
        let publish = move || {
            let before = store.get(&own.certificate.body().node, &path)?;
            let sequence = before.map_or(1, |before| before.entry().sequence.saturating_add(1));
            let expires = now().saturating_add(ttl.as_secs());
            let entry = NameEntry { path, hash, sequence, expires };
            let record = NameRecord::sign(entry, own.certificate, &own.key)
                .map_err(|error| Unresolved::Broken(error.to_string()))?;
            store.publish(&record, is_renewed.then_some(ttl.as_secs()))?;
            Ok(record)
        };
        let published = spawn_blocking(publish).await.map_err(broken)?;
        self.published.notify_one();
        published
    }

    /// The names of this node.
    ///
    /// # Errors
    /// This node has no key yet, or reading fails.
    pub async fn own(&self) -> Result<Vec<OwnName>, Unresolved> {
        let Some(own) = self.certified.borrow().clone() else { return Err(Unresolved::NoKey) };
        let store = Arc::clone(&self.store);
        let own = spawn_blocking(move || store.own(&own.certificate.body().node));
        Ok(own.await.map_err(broken)??)
    }

    /// The newest valid record of a name, from this node or any reachable one.
    pub async fn resolve(
        &self,
        node: PublicKey,
        path: NamePath,
        origin: ResolveOrigin,
    ) -> Result<NameRecord, Unresolved> {
        let own = self.certified.borrow().as_ref().map(|own| own.certificate.body().node);
        let is_fresh = own == Some(node) || self.is_cached(node, &path);
        let silent = if is_fresh { 0 } else { self.query_peers(node, &path, origin).await? };
        match self.known(node, path).await {
            Err(Unresolved::Expired | Unresolved::Unknown) if silent > 0 => {
                Err(Unresolved::Silent(silent))
            }
            known => known,
        }
    }

    /// The valid record of a name that is known here. No other node is asked.
    pub async fn known(&self, node: PublicKey, path: NamePath) -> Result<NameRecord, Unresolved> {
        let store = Arc::clone(&self.store);
        match spawn_blocking(move || store.get(&node, &path)).await.map_err(broken)?? {
            Some(record) if record.entry().expires > now() => Ok(record),
            Some(_) => Err(Unresolved::Expired),
            None => Err(Unresolved::Unknown),
        }
    }

    /// Asks all nodes of the map, and stores newer records. Returns how many did not answer.
    async fn query_peers(
        &self,
        node: PublicKey,
        path: &NamePath,
        origin: ResolveOrigin,
    ) -> Result<usize, Unresolved> {
        let _places = self.acquire(origin)?;
        let endpoint = self.endpoint.borrow().clone();
        let own = endpoint.as_ref().map(|it| PublicKey::new(*it.id().as_bytes()));
        let mut peers = self.peers.borrow().clone();
        peers.retain(|peer| own != Some(peer.key) && !peer.addresses.is_empty());
        let Some(endpoint) = endpoint else { return Ok(peers.len()) };
        let asking = peers.iter().map(|peer| {
            tokio::time::timeout(
                self.limits.answer_timeout,
                query::query(&endpoint, peer, node, path),
            )
        });
        let mut silent = 0;
        for answer in join_all(asking).await {
            let Ok(Some(answer)) = answer else {
                silent += 1;
                continue;
            };
            let Some(record) = answer else { continue };
            let store = Arc::clone(&self.store);
            match spawn_blocking(move || store.store(&record)).await.map_err(broken)? {
                Ok(()) | Err(NameStoreError::Older) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if silent == 0 {
            let mut asked = self.queried_at.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.len() >= MAX_CACHED {
                asked.clear();
            }
            asked.insert((node, path.clone()), Instant::now());
        }
        Ok(silent)
    }

    /// A permit for a resolution at other nodes.
    fn acquire(
        &self,
        origin: ResolveOrigin,
    ) -> Result<(Option<SemaphorePermit<'_>>, SemaphorePermit<'_>), Unresolved> {
        let of_clients = match origin {
            ResolveOrigin::Client => Some(self.client_permits.try_acquire()),
            ResolveOrigin::Operator => None,
        };
        let of_clients = of_clients.transpose().map_err(|_| Unresolved::Busy)?;
        Ok((of_clients, self.permits.try_acquire().map_err(|_| Unresolved::Busy)?))
    }

    fn is_cached(&self, node: PublicKey, path: &NamePath) -> bool {
        let asked = self.queried_at.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&(node, path.clone())).is_some_and(|at| at.elapsed() < CACHE_TIME)
    }
}

/// Seconds since 1970, by this node's clock.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn broken(error: impl std::fmt::Display) -> Unresolved {
    Unresolved::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients that ask for unknown names cannot block operators.
    #[test]
    fn operators_have_places_that_no_client_takes() {
        let folder = tempfile::tempdir().unwrap();
        let (certified, endpoint, peers) =
            (watch::channel(None).1, watch::channel(None).1, watch::channel(vec![]).1);
        let file = folder.path().join("names.db");
        let names =
            NameCache::open(&file, CacheLimits::default(), certified, endpoint, peers).unwrap();
        let take = |asker, most| {
            let places = std::iter::repeat_with(|| names.acquire(asker));
            places.take(most).map_while(Result::ok).collect::<Vec<_>>()
        };
        let clients = take(ResolveOrigin::Client, 100);
        assert_eq!(clients.len(), 12);
        let operators = take(ResolveOrigin::Operator, 100);
        assert_eq!(operators.len(), 4);
        drop(clients);
        // Operators may use all permits.
        assert_eq!(take(ResolveOrigin::Operator, 100).len(), 12);
        drop(operators);
        assert_eq!(take(ResolveOrigin::Client, 100).len(), 12);
    }
}
