//! Fetches missing objects from other nodes of the box, or from its neighbours, large ones from several at once, and
//! verifies them while they arrive. Concurrent requests for one object share a fetch.

mod flight;
mod giver;
mod missing;
mod piece;
mod plan;
mod private;
mod queue;
mod repair;
mod schedule;

pub use flight::IncomingObject;
pub use missing::Missing;
pub use plan::PIECE;

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use iroh::Endpoint;
use iroh_blobs::protocol::ChunkRanges;
use iroh_blobs::{Hash, HashAndFormat};
use octet_node::control::PublicKey;
use octet_node::limits::{ClientLimit, Permit};
use octet_node::say;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::counters::CacheCounters;
use crate::limits::CacheLimits;
use crate::neighbours::{LIAR_PAUSE, Neighbours};
use crate::objects::{ObjectError, Objects, SMALL};
use crate::peers::{self, PeerNode};
use crate::policy::{Claim, ObjectKind, cost};
use crate::private::PrivatePath;
use flight::{FetchProgress, Flight};
use giver::{Giver, GiverConnection};
use piece::PeerFault;
use plan::{FetchPlan, missing_chunks};
use queue::{BUSY_PAUSE, GiverQueue};
use schedule::{GiverSpeed, by_speed};

/// The maximum number of nodes per fetch: the buffers of all fetches have to fit into the unit's
/// memory.
const MAX_SOURCES: usize = 3;

#[derive(Debug)]
pub struct Fetcher {
    objects: Arc<Objects>,
    counters: Arc<CacheCounters>,
    limits: CacheLimits,
    endpoint: watch::Receiver<Option<Endpoint>>,
    peers: watch::Receiver<Vec<PeerNode>>,
    neighbours: Arc<Neighbours>,
    flights: Mutex<HashMap<Hash, Arc<Flight>>>,
    /// What nodes of the map and of `[[neighbour]]` lines were measured at.
    speeds: Mutex<BTreeMap<PublicKey, GiverSpeed>>,
    client_limit: ClientLimit,
}

impl Fetcher {
    /// Fetches through `endpoint` from `peers`, which may include this node, and from `neighbours`.
    pub fn new(
        objects: Arc<Objects>,
        counters: Arc<CacheCounters>,
        limits: CacheLimits,
        endpoint: watch::Receiver<Option<Endpoint>>,
        peers: watch::Receiver<Vec<PeerNode>>,
        neighbours: Arc<Neighbours>,
    ) -> Arc<Self> {
        let client_limit = ClientLimit::new(limits.client_fetches, limits.fetches_per_client);
        let (flights, speeds) = Default::default();
        Arc::new(Self {
            objects,
            counters,
            limits,
            endpoint,
            peers,
            neighbours,
            flights,
            speeds,
            client_limit,
        })
    }

    /// The nodes of this box that can be asked.
    pub fn peers(&self) -> Vec<PeerNode> {
        let own = self.endpoint.borrow().as_ref().map(|it| PublicKey::new(*it.id().as_bytes()));
        let all = self.peers.borrow().clone();
        all.into_iter().filter(|peer| own != Some(peer.key) && !peer.addresses.is_empty()).collect()
    }

    /// Waits until the object is on this node. After a timeout the fetch continues in the
    /// background.
    ///
    /// # Errors
    /// The object is unavailable, or not complete yet.
    pub async fn fetch(self: &Arc<Self>, hash: Hash) -> Result<(), Missing> {
        self.fetch_at_most(hash, None, u64::MAX).await
    }

    /// Like [`fetch`](Self::fetch), but nothing arrives of an object of more than `max` bytes. The fetch counts for the
    /// address `client`, if there is one.
    ///
    /// # Errors
    /// The object is unavailable, not complete yet, or larger.
    pub async fn fetch_at_most(
        self: &Arc<Self>,
        hash: Hash,
        client: Option<IpAddr>,
        max: u64,
    ) -> Result<(), Missing> {
        let flight = self.join(hash, client, max, None)?;
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
        let flight = self.join(hash, Some(client), u64::MAX, None)?;
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

    /// The running fetch of the object, or a new one, which counts for `client`, and which goes by `private` if that
    /// is given; it takes no part in another one then.
    fn join(
        self: &Arc<Self>,
        hash: Hash,
        client: Option<IpAddr>,
        max: u64,
        private: Option<PrivatePath>,
    ) -> Result<Arc<Flight>, Missing> {
        let mut flights = self.flights();
        // An operator may fetch a removed object again; clients may not.
        if client.is_some() && self.objects.policy().was_removed(&hash) {
            return Err(Missing::Removed);
        }
        if let Some(flight) = flights.get(&hash) {
            if private.is_some() {
                return Err(Missing::OnItsWay);
            }
            return Ok(Arc::clone(flight));
        }
        // Clients get fewer than all fetches: the rest is reserved for operators.
        let is_full = client.is_some() && self.client_limit.in_all() >= self.limits.client_fetches;
        if is_full || flights.len() >= self.limits.fetches {
            return Err(Missing::Busy);
        }
        let permit = client.map(|client| self.permit(client)).transpose()?;
        let flight = Arc::new(Flight::new(hash, max));
        flights.insert(hash, Arc::clone(&flight));
        let (fetcher, begun) = (Arc::clone(self), Arc::clone(&flight));
        tokio::spawn(async move {
            let outcome = fetcher.run(&begun, private).await;
            drop(permit);
            // Later requests find the object, or start another fetch.
            fetcher.flights().remove(&hash);
            begun.finish(outcome);
        });
        Ok(flight)
    }

    /// A permit of the client for a fetch, unless its limit is reached.
    pub fn permit(&self, client: IpAddr) -> Result<Permit<IpAddr>, Missing> {
        self.client_limit.take(client).ok_or(Missing::BusyForOne)
    }

    async fn run(&self, flight: &Flight, private: Option<PrivatePath>) -> Result<(), Missing> {
        let hash = flight.hash;
        // Another fetch may have ended in the meantime.
        if self.objects.size(hash).is_some() {
            return Ok(());
        }
        if self.objects.policy().is_damaged(&hash) {
            // Other nodes are asked for what it lacks.
            if private.is_some() {
                return Err(Missing::Damaged);
            }
            return tokio::select! {
                repaired = self.repair(hash) => repaired,
                () = flight.cancelled() => Err(Missing::Removed),
            };
        }
        let givers = match private {
            Some(path) => vec![Giver::Private(Arc::new(path))],
            None => self.givers(hash.as_bytes()[0]),
        };
        let is_private = matches!(givers[..], [Giver::Private(_)]);
        let endpoint = self.endpoint.borrow().clone();
        if endpoint.is_none() && !is_private {
            // No node can be asked before this service's key is certified.
            return Err(match givers.len() {
                0 => Missing::Nowhere,
                count => Missing::Silent(count),
            });
        }
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
            outcome = self.fetch_from_all(endpoint.as_ref(), givers, flight, &claim) => outcome,
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

    /// The nodes that can be asked for the object whose hash begins with `first`. Each object starts with another one,
    /// unless that is much slower.
    fn givers(&self, first: u8) -> Vec<Giver> {
        let boards = peers::rotate(self.peers(), first).into_iter().map(Giver::Board);
        let neighbours =
            peers::rotate(self.neighbours.givers(), first).into_iter().map(Giver::Neighbour);
        let mut givers: Vec<_> = boards.chain(neighbours).collect();
        let speeds = self.speeds().clone();
        by_speed(&mut givers, |giver| speeds.get(&giver.node()).copied().unwrap_or_default());
        givers
    }

    fn speeds(&self) -> MutexGuard<'_, BTreeMap<PublicKey, GiverSpeed>> {
        self.speeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks nodes one after the other for the size, and then several at once for the missing
    /// pieces; a node that fails is replaced by another one.
    async fn fetch_from_all(
        &self,
        endpoint: Option<&Endpoint>,
        givers: Vec<Giver>,
        flight: &Flight,
        claim: &tokio::sync::Mutex<Claim>,
    ) -> Result<(), Missing> {
        let (mut queue, mut asked) = (GiverQueue::new(givers), FuturesUnordered::new());
        let (mut silent, mut limited) = (0, 0);
        let mut progress = flight.watch();
        while !flight.is_done() {
            // A small object comes from one node.
            let most = MAX_SOURCES.min(asked.len() + flight.pending()).max(1);
            while asked.len() < most
                && let Some(giver) = queue.next(Instant::now())
            {
                asked.push(async {
                    let came = AtomicU64::new(0);
                    let fault = self.fetch_from(endpoint, &giver, flight, claim, &came).await;
                    if let Some(speed) = flight.leave(&giver.node()) {
                        self.speeds().insert(giver.node(), speed);
                    }
                    (giver, fault, came.into_inner() > 0)
                });
            }
            let (is_sized, wakes) = (flight.size().is_some(), queue.wakes());
            let ended = tokio::select! {
                ended = asked.next(), if !asked.is_empty() => ended,
                // Other nodes can be asked from now on.
                _ = progress.wait_for(|it| it.size.is_some()), if !is_sized && !asked.is_empty() => continue,
                () = sleep_until(wakes.unwrap_or_else(Instant::now).into()), if wakes.is_some() => continue,
                else => None,
            };
            let Some((giver, fault, gave)) = ended else {
                return Err(match (silent, limited) {
                    (0, 0) => Missing::Nowhere,
                    (0, limited) => Missing::Limited(limited),
                    (silent, _) => Missing::Silent(silent),
                });
            };
            queue.ended(&giver);
            let Err(fault) = fault else { continue };
            let (node, now) = (giver.node(), Instant::now());
            match fault {
                PeerFault::Missing => {
                    self.counters.record_outcome(node, |it| it.missing += 1);
                    self.prepare(&queue);
                }
                PeerFault::Busy if queue.put_off(giver.clone(), gave, BUSY_PAUSE, now) => {}
                PeerFault::Silent | PeerFault::Busy => {
                    silent += 1;
                    self.counters.record_outcome(node, |it| it.timeouts += 1);
                }
                PeerFault::Wrong => {
                    say!("{} sent something else than {}", giver.name(), flight.hash);
                    self.counters.record_outcome(node, |it| it.invalid += 1);
                    if !giver.is_board() {
                        self.neighbours.pause(node, LIAR_PAUSE);
                    }
                }
                PeerFault::OverLimit => {
                    let is_asked_again = queue.put_off(giver, gave, self.limits.limit_pause, now);
                    limited += usize::from(!is_asked_again);
                }
                PeerFault::Store(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Connects to the neighbours that are asked if the last board does not have the object either:
    /// it may take a path.
    fn prepare(&self, queue: &GiverQueue) {
        for giver in queue.next_neighbours().take(MAX_SOURCES) {
            let Giver::Neighbour(to) = giver.clone() else { continue };
            let neighbours = Arc::clone(&self.neighbours);
            tokio::spawn(async move {
                // Whoever asks it for the object gets the error.
                let _ = neighbours.connect(&to).await;
            });
        }
    }

    /// Requests pieces from one node until all have arrived, and adds what it gives to `came`.
    async fn fetch_from(
        &self,
        endpoint: Option<&Endpoint>,
        giver: &Giver,
        flight: &Flight,
        claim: &tokio::sync::Mutex<Claim>,
        came: &AtomicU64,
    ) -> Result<(), PeerFault> {
        let connecting = giver.connect(endpoint, &self.neighbours, self.limits.connect_timeout);
        let connection = connecting.await?;
        let fetched = self.fetch_over(&connection, giver, flight, claim, came).await;
        match fetched {
            Err(PeerFault::Silent) if connection.is_busy() => Err(PeerFault::Busy),
            fetched => fetched,
        }
    }

    async fn fetch_over(
        &self,
        connection: &GiverConnection,
        giver: &Giver,
        flight: &Flight,
        claim: &tokio::sync::Mutex<Claim>,
        came: &AtomicU64,
    ) -> Result<(), PeerFault> {
        let (hash, silence, node) = (flight.hash, self.limits.answer_timeout, giver.node());
        let size = match flight.size() {
            Some(size) => size,
            None => {
                let size = piece::fetch_size(connection, hash, silence).await?;
                if size > flight.max {
                    return Err(PeerFault::Store(ObjectError::TooLarge { hash, size }));
                }
                // Nothing is evicted for an object above the quota.
                self.objects.check_fits(size).map_err(PeerFault::Store)?;
                flight.start(FetchPlan::new(size, &self.present_chunks(hash).await?));
                self.make_room(flight, claim).await?;
                size
            }
        };
        // An empty object has no pieces.
        let Some(size) = NonZeroU64::new(size) else { return Ok(()) };
        flight.join(node, self.speeds().get(&node).copied().unwrap_or_default());
        // While the store processes the end of one piece, the next one is in flight.
        let one_by_one = || async {
            while let Some(taken) = flight.take(node).await {
                self.make_room(flight, claim).await?;
                loop {
                    let present = self.present_chunks(hash).await?;
                    let lacks = missing_chunks(taken.number(), size.get(), &present);
                    let (store, mut now) = (self.objects.store(), 0);
                    let fetched = piece::fetch_piece(
                        store,
                        connection,
                        (hash, size, lacks),
                        silence,
                        taken.given_up(),
                        |bytes| {
                            now += bytes;
                            came.fetch_add(bytes, Ordering::Relaxed);
                            taken.came(bytes);
                        },
                    );
                    match fetched.await {
                        // An answer that is counted ends early at a limit, and a request for the rest gets the reason.
                        Err(PeerFault::Missing) if now > 0 && connection.is_counted() => {}
                        // What is under way for the other request is still stored.
                        Err(PeerFault::OverLimit) => return Ok(Err(PeerFault::OverLimit)),
                        Err(fault) => return Err(fault),
                        Ok(true) => {
                            taken.received(node);
                            break;
                        }
                        Ok(false) => break,
                    }
                }
            }
            Ok(Ok(()))
        };
        let (one, other) = tokio::try_join!(one_by_one(), one_by_one())?;
        one.and(other)
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
