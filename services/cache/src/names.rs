//! Names that change: a node's key and a path stand for an object, as the node's `cache` has signed it last.

mod ask;
mod kept;
mod record;

pub use ask::{ALPN, Answering};
pub use kept::{NotKept, PersistedNames};
pub use record::{InvalidNamePath, InvalidNameRecord, NameEntry, NamePath, NameRecord};

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use iroh::Endpoint;
use iroh_blobs::Hash;
use octet_node::control::PublicKey;
use octet_node::sub_key::Certified;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::spawn_blocking;

use crate::limits::CacheLimits;
use crate::peers::PeerNode;

/// For how long nobody is asked again for a name.
const FRESH: Duration = Duration::from_secs(10);

/// For how many names that is known.
const MAX_FRESH: usize = 1024;

/// For how many names others are asked at the same time, and for how many of these because clients over HTTP want it. The
/// rest is for operators.
const AT_ONCE: usize = 16;
const AT_ONCE_FOR_CLIENTS: usize = 12;

/// Who wants to know what a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Whoever reaches this node over HTTP.
    Client,
    /// Who may ask the unit.
    Operator,
}

/// Why a name stands for nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// No node that answers knows it.
    #[error(
        "no node of this box knows this name: see whether key and path are those that you mean"
    )]
    Unknown,
    /// None that answers knows it, and some do not answer.
    #[error("the nodes that answer do not know this name, and {0} did not answer: ask again later")]
    Silent(usize),
    /// What is known of it does not hold any more.
    #[error("what is known of this name has expired: its node has to publish it again")]
    Expired,
    /// For so many names others are asked already.
    #[error("as many names as may be are being asked for: ask again in a moment")]
    Busy,
    /// This node has no key yet.
    #[error("this node's key is not certified yet: publish it again in a moment")]
    NoKey,
    /// It cannot be kept, or not be read.
    #[error(transparent)]
    Kept(#[from] NotKept),
    /// It cannot be signed, or nobody waits any more.
    #[error("{0}")]
    Broken(String),
}

/// The names that this node knows, and how it learns of others.
#[derive(Debug)]
pub struct NameCache {
    kept: Arc<PersistedNames>,
    limits: CacheLimits,
    certified: watch::Receiver<Option<Certified>>,
    endpoint: watch::Receiver<Option<Endpoint>>,
    peers: watch::Receiver<Vec<PeerNode>>,
    asked: Mutex<HashMap<(PublicKey, NamePath), Instant>>,
    places: Semaphore,
    places_of_clients: Semaphore,
}

impl NameCache {
    /// Those that are kept in `file`. This node publishes with the key that is `certified`, and asks `peers`, of which
    /// it may be one, by `endpoint`.
    ///
    /// # Errors
    /// The disk does not give it.
    pub fn open(
        file: &Path,
        limits: CacheLimits,
        certified: watch::Receiver<Option<Certified>>,
        endpoint: watch::Receiver<Option<Endpoint>>,
        peers: watch::Receiver<Vec<PeerNode>>,
    ) -> Result<Arc<Self>, NotKept> {
        let kept = PersistedNames::open(file)?.into();
        let [places, places_of_clients] = [AT_ONCE, AT_ONCE_FOR_CLIENTS].map(Semaphore::new);
        let asked = Mutex::default();
        Ok(Self { kept, limits, certified, endpoint, peers, asked, places, places_of_clients }
            .into())
    }

    pub fn kept(&self) -> &Arc<PersistedNames> {
        &self.kept
    }

    /// From now on the path below this node's key stands for `hash`, for so long by its clock.
    ///
    /// # Errors
    /// This node has no key yet, or the disk does not take it.
    pub async fn publish(
        &self,
        path: NamePath,
        hash: Hash,
        holds: Duration,
    ) -> Result<NameRecord, Unresolved> {
        let Some(own) = self.certified.borrow().clone() else { return Err(Unresolved::NoKey) };
        let kept = Arc::clone(&self.kept);
        let publish = move || {
            let before = kept.get(&own.certificate.statement().node, &path)?;
            let sequence = before.map_or(1, |before| before.entry().sequence.saturating_add(1));
            let expires = now().saturating_add(holds.as_secs());
            let entry = NameEntry { path, hash, sequence, expires };
            let record = NameRecord::sign(entry, own.certificate, &own.key)
                .map_err(|error| Unresolved::Broken(error.to_string()))?;
            kept.publish(&record)?;
            Ok(record)
        };
        spawn_blocking(publish).await.map_err(broken)?
    }

    /// The newest record of a name that is known here or at a node that answers, if it holds.
    pub async fn resolve(
        &self,
        node: PublicKey,
        path: NamePath,
        asker: Asker,
    ) -> Result<NameRecord, Unresolved> {
        let own = self.certified.borrow().as_ref().map(|own| own.certificate.statement().node);
        let is_fresh = own == Some(node) || self.was_asked(node, &path);
        let silent = if is_fresh { 0 } else { self.learn(node, &path, asker).await? };
        match self.known(node, path).await {
            Err(Unresolved::Expired | Unresolved::Unknown) if silent > 0 => {
                Err(Unresolved::Silent(silent))
            }
            known => known,
        }
    }

    /// The record of a name that is known here, if it holds. Nobody is asked.
    pub async fn known(&self, node: PublicKey, path: NamePath) -> Result<NameRecord, Unresolved> {
        let kept = Arc::clone(&self.kept);
        match spawn_blocking(move || kept.get(&node, &path)).await.map_err(broken)?? {
            Some(record) if record.entry().expires > now() => Ok(record),
            Some(_) => Err(Unresolved::Expired),
            None => Err(Unresolved::Unknown),
        }
    }

    /// Asks all nodes of the map, and keeps what is newer. How many did not answer.
    async fn learn(
        &self,
        node: PublicKey,
        path: &NamePath,
        asker: Asker,
    ) -> Result<usize, Unresolved> {
        let _places = self.places(asker)?;
        let endpoint = self.endpoint.borrow().clone();
        let own = endpoint.as_ref().map(|it| PublicKey::new(*it.id().as_bytes()));
        let mut peers = self.peers.borrow().clone();
        peers.retain(|peer| own != Some(peer.key));
        let Some(endpoint) = endpoint else { return Ok(peers.len()) };
        let asking = peers.iter().map(|peer| {
            tokio::time::timeout(self.limits.silence, ask::ask(&endpoint, peer, node, path))
        });
        let mut silent = 0;
        for answer in join_all(asking).await {
            let Ok(Some(answer)) = answer else {
                silent += 1;
                continue;
            };
            let Some(record) = answer else { continue };
            let kept = Arc::clone(&self.kept);
            match spawn_blocking(move || kept.keep(&record)).await.map_err(broken)? {
                Ok(()) | Err(NotKept::Older) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if silent == 0 {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.len() >= MAX_FRESH {
                asked.clear();
            }
            asked.insert((node, path.clone()), Instant::now());
        }
        Ok(silent)
    }

    /// A place among those who ask others, as long as it is held.
    fn places(
        &self,
        asker: Asker,
    ) -> Result<(Option<SemaphorePermit<'_>>, SemaphorePermit<'_>), Unresolved> {
        let of_clients = match asker {
            Asker::Client => Some(self.places_of_clients.try_acquire()),
            Asker::Operator => None,
        };
        let of_clients = of_clients.transpose().map_err(|_| Unresolved::Busy)?;
        Ok((of_clients, self.places.try_acquire().map_err(|_| Unresolved::Busy)?))
    }

    fn was_asked(&self, node: PublicKey, path: &NamePath) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&(node, path.clone())).is_some_and(|at| at.elapsed() < FRESH)
    }
}

/// Seconds since 1970 by this node's clock.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn broken(error: impl std::fmt::Display) -> Unresolved {
    Unresolved::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients who ask for names that nobody knows keep no operator from asking.
    #[test]
    fn operators_have_places_that_no_client_takes() {
        let folder = tempfile::tempdir().unwrap();
        let (certified, endpoint, peers) =
            (watch::channel(None).1, watch::channel(None).1, watch::channel(vec![]).1);
        let file = folder.path().join("names.db");
        let names =
            NameCache::open(&file, CacheLimits::default(), certified, endpoint, peers).unwrap();
        let take = |asker, most| {
            let places = std::iter::repeat_with(|| names.places(asker));
            places.take(most).map_while(Result::ok).collect::<Vec<_>>()
        };
        let clients = take(Asker::Client, 100);
        assert_eq!(clients.len(), 12);
        let operators = take(Asker::Operator, 100);
        assert_eq!(operators.len(), 4);
        drop(clients);
        // Operators may have all of them.
        assert_eq!(take(Asker::Operator, 100).len(), 12);
        drop(operators);
        assert_eq!(take(Asker::Client, 100).len(), 12);
    }
}
