//! Fetches missing objects from other nodes of the box, large ones from several at once, and
//! verifies them while they arrive. Concurrent requests for one object share a fetch.

mod flight;
mod piece;
mod plan;

pub use flight::IncomingObject;
pub use plan::PIECE;

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use iroh::Endpoint;
use iroh_blobs::protocol::ChunkRanges;
use iroh_blobs::{ALPN, Hash, HashAndFormat};
use octet_node::control::PublicKey;
use octet_node::limits::{ClientLimit, Permit};
use octet_node::say;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::counters::CacheCounters;
use crate::limits::CacheLimits;
use crate::objects::{ObjectError, Objects, SMALL};
use crate::peers::{self, PeerNode};
use crate::policy::{Claim, ObjectKind, cost};
use flight::{FetchProgress, Flight};
use piece::PeerFault;
use plan::{FetchPlan, missing_chunks};

/// The maximum number of nodes per fetch: the buffers of all fetches have to fit into the unit's
/// memory.
const MAX_SOURCES: usize = 3;

/// Why an object is unavailable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Missing {
    /// No reachable node has it.
    #[error("no node of this box has it: add it, or check the hash")]
    Nowhere,
    /// No reachable node has it, and some nodes do not answer.
    #[error("the nodes that answer do not have it, and {0} did not answer: ask again later")]
    Silent(usize),
    /// It is being fetched.
    #[error("it is being fetched from another node, and not here yet: ask again")]
    OnItsWay,
    #[error("it was removed: add it again, or `get` it from another node")]
    Removed,
    /// The limit of concurrent fetches is reached.
    #[error("the maximum number of objects is being fetched: ask again in a moment")]
    Busy,
    /// This client's limit of concurrent fetches is reached.
    #[error("the maximum number of objects is being fetched for you: ask again in a moment")]
    BusyForOne,
    /// This node cannot store it.
    #[error(transparent)]
    Store(#[from] ObjectError),
}

#[derive(Debug)]
pub struct Fetcher {
    objects: Arc<Objects>,
    counters: Arc<CacheCounters>,
    limits: CacheLimits,
    endpoint: watch::Receiver<Option<Endpoint>>,
    peers: watch::Receiver<Vec<PeerNode>>,
    flights: Mutex<HashMap<Hash, Arc<Flight>>>,
    client_limit: ClientLimit,
}

impl Fetcher {
    /// Fetches through `endpoint` from `peers`, which may include this node.
    pub fn new(
        objects: Arc<Objects>,
        counters: Arc<CacheCounters>,
        limits: CacheLimits,
        endpoint: watch::Receiver<Option<Endpoint>>,
        peers: watch::Receiver<Vec<PeerNode>>,
    ) -> Arc<Self> {
        let client_limit = ClientLimit::new(limits.client_fetches, limits.fetches_per_client);
        let flights = Mutex::default();
        Arc::new(Self { objects, counters, limits, endpoint, peers, flights, client_limit })
    }

    /// The nodes that can be asked.
    pub fn peers(&self) -> Vec<PeerNode> {
        let own = self.endpoint.borrow().as_ref().map(|it| PublicKey::new(*it.id().as_bytes()));
        let all = self.peers.borrow().clone();
        all.into_iter().filter(|peer| own != Some(peer.key)).collect()
    }

    /// Waits until the object is on this node. After a timeout the fetch continues in the
    /// background.
    ///
    /// # Errors
    /// The object is unavailable, or not complete yet.
    pub async fn fetch(self: &Arc<Self>, hash: Hash) -> Result<(), Missing> {
        let flight = self.join(hash, None)?;
        let landed = self.wait(&flight, |it| it.outcome.is_some()).await?;
        landed.outcome.unwrap_or(Err(Missing::OnItsWay))
    }

    /// Waits until the object is on this node, or until the size of a large one is known, which can
    /// then be read while it arrives; with a timeout. The fetch counts for the address `client`.
    ///
    /// # Errors
    /// The object is unavailable, or not readable yet.
    pub async fn begin(
        self: &Arc<Self>,
        hash: Hash,
        client: IpAddr,
    ) -> Result<Option<(u64, IncomingObject)>, Missing> {
        let flight = self.join(hash, Some(client))?;
        let is_large = |it: &FetchProgress| it.size.is_some_and(|size| size > SMALL);
        let begun = self.wait(&flight, |it| it.outcome.is_some() || is_large(it)).await?;
        match (begun.outcome, begun.size) {
            (Some(outcome), _) => outcome.map(|()| None),
            (None, Some(size)) => {
                let path = self.objects.path_of(hash);
                Ok(Some((size, IncomingObject::new(flight, path, self.limits.read_timeout))))
            }
            (None, None) => Err(Missing::OnItsWay),
        }
    }

    /// Removes the object from this node, and cancels a fetch of it. Returns whether it was here.
    ///
    /// # Errors
    /// Writing fails.
    pub async fn remove(&self, hash: Hash) -> Result<bool, ObjectError> {
        let was_here = self.objects.remove(hash).await?;
        // From here on no client can start another fetch: `board` sees the removal.
        let flight = self.flights().get(&hash).cloned();
        let Some(flight) = flight else { return Ok(was_here) };
        flight.cancel();
        // The flight is held here and owns the sender, so this ends with an outcome.
        let _ = flight.watch().wait_for(|it| it.outcome.is_some()).await;
        // It may have been stored before the cancellation; otherwise a part of it is here.
        Ok(self.objects.remove(hash).await? || was_here)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Hash, Arc<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(
        &self,
        flight: &Flight,
        wanted: impl FnMut(&FetchProgress) -> bool,
    ) -> Result<FetchProgress, Missing> {
        let mut watch = flight.watch();
        match timeout(self.limits.read_timeout, watch.wait_for(wanted)).await {
            Ok(Ok(progress)) => Ok(progress.clone()),
            _ => Err(Missing::OnItsWay),
        }
    }

    /// The running fetch of the object, or a new one, which counts for `client`.
    fn join(self: &Arc<Self>, hash: Hash, client: Option<IpAddr>) -> Result<Arc<Flight>, Missing> {
        let mut flights = self.flights();
        // An operator may fetch a removed object again; clients may not.
        if client.is_some() && self.objects.policy().was_removed(&hash) {
            return Err(Missing::Removed);
        }
        if let Some(flight) = flights.get(&hash) {
            return Ok(Arc::clone(flight));
        }
        // Clients get fewer than all fetches: the rest is reserved for operators.
        let is_full = client.is_some() && self.client_limit.in_all() >= self.limits.client_fetches;
        if is_full || flights.len() >= self.limits.fetches {
            return Err(Missing::Busy);
        }
        let take = |address| self.client_limit.take(address).ok_or(Missing::BusyForOne);
        let permit: Option<Permit<IpAddr>> = client.map(take).transpose()?;
        let flight = Arc::new(Flight::new(hash));
        flights.insert(hash, Arc::clone(&flight));
        let (fetcher, begun) = (Arc::clone(self), Arc::clone(&flight));
        tokio::spawn(async move {
            let outcome = fetcher.run(&begun).await;
            drop(permit);
            // Later requests find the object, or start another fetch.
            fetcher.flights().remove(&hash);
            begun.finish(outcome);
        });
        Ok(flight)
    }

    async fn run(&self, flight: &Flight) -> Result<(), Missing> {
        let hash = flight.hash;
        // Another fetch may have ended in the meantime.
        if self.objects.size(hash).is_some() {
            return Ok(());
        }
        let peers = peers::rotate(self.peers(), hash.as_bytes()[0]);
        let Some(endpoint) = self.endpoint.borrow().clone() else {
            // No node can be asked before this service's key is certified.
            return Err(if peers.is_empty() {
                Missing::Nowhere
            } else {
                Missing::Silent(peers.len())
            });
        };
        // Partial data is protected while the fetch continues.
        let store = self.objects.store();
        let _tag = store.tags().temp_tag(HashAndFormat::raw(hash)).await.map_err(broken)?;
        self.objects.policy().remove_partial(&hash);
        let claim = tokio::sync::Mutex::new(self.objects.policy().claim());
        let mut present = pin!(store.blobs().observe(hash).stream().await.map_err(broken)?);
        let watching = async {
            while let Some(it) = present.next().await {
                flight.set_present(it.ranges);
            }
            pending().await
        };
        let outcome = tokio::select! {
            outcome = self.fetch_from_all(&endpoint, peers.into(), flight, &claim) => outcome,
            outcome = watching => outcome,
            () = flight.cancelled() => Err(Missing::Removed),
        };
        // Readers see all data that has arrived, the last part too.
        if let Ok(present) = self.present_chunks(hash).await {
            flight.set_present(present);
        }
        for node in flight.sources() {
            self.counters.record_outcome(node, |it| it.sent += 1);
        }
        match outcome {
            Ok(()) => {
                self.objects.commit(hash, ObjectKind::Loose).await?;
                // Stored objects have their own accounting.
                drop(claim);
                self.counters.fetched.add(1);
            }
            Err(_) => self.objects.keep_partial(hash),
        }
        outcome
    }

    /// Asks nodes one after the other for the size, and then several at once for the missing
    /// pieces; a node that fails is replaced by another one.
    async fn fetch_from_all(
        &self,
        endpoint: &Endpoint,
        mut peers: VecDeque<PeerNode>,
        flight: &Flight,
        claim: &tokio::sync::Mutex<Claim>,
    ) -> Result<(), Missing> {
        let (mut asked, mut silent) = (FuturesUnordered::new(), 0);
        let mut progress = flight.watch();
        while !flight.is_done() {
            // A small object comes from one node.
            let most = MAX_SOURCES.min(asked.len() + flight.pending()).max(1);
            while asked.len() < most
                && let Some(peer) = peers.pop_front()
            {
                asked.push(async {
                    let fault = self.fetch_from(endpoint, &peer, flight, claim).await;
                    (peer, fault)
                });
            }
            let is_sized = flight.size().is_some();
            let ended = tokio::select! {
                ended = asked.next() => ended,
                // Other nodes can be asked from now on.
                _ = progress.wait_for(|it| it.size.is_some()), if !is_sized => continue,
            };
            let Some((peer, fault)) = ended else {
                return Err(if silent == 0 { Missing::Nowhere } else { Missing::Silent(silent) });
            };
            let Err(fault) = fault else { continue };
            match fault {
                PeerFault::Missing => self.counters.record_outcome(peer.node, |it| it.missing += 1),
                PeerFault::Silent => {
                    silent += 1;
                    self.counters.record_outcome(peer.node, |it| it.timeouts += 1);
                }
                PeerFault::Wrong => {
                    say!("board {} sent something else than {}", peer.number, flight.hash);
                    self.counters.record_outcome(peer.node, |it| it.invalid += 1);
                }
                PeerFault::Store(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Requests pieces from one node until all have arrived.
    async fn fetch_from(
        &self,
        endpoint: &Endpoint,
        peer: &PeerNode,
        flight: &Flight,
        claim: &tokio::sync::Mutex<Claim>,
    ) -> Result<(), PeerFault> {
        let (hash, silence) = (flight.hash, self.limits.answer_timeout);
        let address = peer.address().ok_or(PeerFault::Silent)?;
        let connecting =
            timeout(self.limits.connect_timeout, endpoint.connect(address, ALPN)).await;
        let Ok(Ok(connection)) = connecting else { return Err(PeerFault::Silent) };
        let size = match flight.size() {
            Some(size) => size,
            None => {
                let size = piece::fetch_size(&connection, hash, silence).await?;
                // Nothing is evicted for an object above the quota.
                self.objects.check_fits(size).map_err(PeerFault::Store)?;
                flight.start(FetchPlan::new(size, &self.present_chunks(hash).await?));
                self.make_room(flight, claim).await?;
                size
            }
        };
        // An empty object has no pieces.
        let Some(size) = NonZeroU64::new(size) else { return Ok(()) };
        // While the store processes the end of one piece, the next one is in flight.
        let one_by_one = || async {
            while let Some(taken) = flight.take().await {
                self.make_room(flight, claim).await?;
                let lacks =
                    missing_chunks(taken.number(), size.get(), &self.present_chunks(hash).await?);
                let store = self.objects.store();
                piece::fetch_piece(store, &connection, hash, size, lacks, silence).await?;
                taken.received(peer.node);
            }
            Ok(())
        };
        tokio::try_join!(one_by_one(), one_by_one()).map(drop)
    }

    /// Makes room for the requested pieces only: objects are evicted for received bytes, not for a
    /// claimed size.
    async fn make_room(
        &self,
        flight: &Flight,
        claim: &tokio::sync::Mutex<Claim>,
    ) -> Result<(), PeerFault> {
        let claim = &mut *claim.lock().await;
        let (needed, ahead) = flight.room();
        // Each eviction makes the store scan all objects.
        let wanted = if cost(needed) <= claim.bytes() { needed } else { ahead };
        self.objects.claim_for(claim, wanted).await.map_err(PeerFault::Store)
    }

    /// The chunks that are on this node.
    async fn present_chunks(&self, hash: Hash) -> Result<ChunkRanges, PeerFault> {
        let present = self.objects.store().blobs().observe(hash).await;
        present.map(|it| it.ranges).map_err(|error| PeerFault::Store(broken(error)))
    }
}

fn broken(error: impl std::fmt::Display) -> ObjectError {
    ObjectError::Broken(error.to_string())
}
