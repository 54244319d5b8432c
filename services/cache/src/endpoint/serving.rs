//! Serves other nodes: connections, handshakes and requests are limited in number, size and time
//! before they cost anything. iroh-blobs would read requests of up to 1 MiB without a timeout, so
//! requests are read here, and iroh-blobs answers them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iroh::Endpoint;
use iroh::endpoint::{Connection, Incoming, RecvStream, SendStream, VarInt};
use iroh_blobs::ALPN;
use iroh_blobs::api::Store;
use iroh_blobs::protocol::{ERR_LIMIT, ERR_PERMISSION, GetRequest};
use iroh_blobs::provider::events::{ClientConnected, ConnectionClosed, EventSender};
use iroh_blobs::provider::{StreamPair, handle_get};
use octet_node::control::PublicKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::counters::CacheCounters;
use crate::keep::{self, ObjectKeeper};
use crate::limits::CacheLimits;
use crate::names::{self, NameResponder};
use crate::neighbours::{CACHE_ALPN, MAX_CERTIFICATE, Neighbours, Taker};
use crate::origin::{self, OriginFront};
use crate::peers::PeerNode;

use super::ServedNode;
use super::metered::MeteredStream;
use super::transfers::transfer_events;

/// The maximum size of a request, in bytes: a hash, and the ranges of the object. Those of this
/// service have less than 50.
const LONGEST_REQUEST: usize = 4 << 10;

/// The number of `Get` among iroh-blobs' requests.
const GET: u8 = 0;

/// The error code for a full server; any number serves.
pub const BUSY: u32 = 1;

/// The error code for an idle connection.
const IDLE: u32 = 2;

/// The error code for a node that is no neighbour, or proves to be none.
const NOT_A_NEIGHBOUR: u32 = 3;

/// The error code for a connection that a newer one of the same neighbour replaces.
const REPLACED: u32 = 4;

/// How long a neighbour's connection is kept without a request: a new one may need a new path.
const NEIGHBOUR_IDLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Serving {
    pub store: Store,
    pub events: EventSender,
    pub names: NameResponder,
    pub origins: Arc<OriginFront>,
    pub counters: Arc<CacheCounters>,
    pub limits: CacheLimits,
    pub peers: watch::Receiver<Vec<PeerNode>>,
    pub neighbours: Arc<Neighbours>,
    pub keeper: Arc<ObjectKeeper>,
    handshakes: Arc<Semaphore>,
    connections: Semaphore,
    /// The part of them that neighbours may have, and that of all other nodes: the rest is for the nodes of this box.
    for_neighbours: Semaphore,
    for_others: Semaphore,
    /// Permits for connections that have not shown a certificate yet.
    introductions: Semaphore,
    /// The connection of each neighbour.
    takers: Mutex<BTreeMap<PublicKey, Connection>>,
}

impl Serving {
    pub fn new(served: ServedNode) -> Self {
        let ServedNode { objects, names, origins, counters, limits, peers, neighbours, keeper } =
            served;
        let events = transfer_events(Arc::clone(objects.policy()));
        let names = NameResponder::new(names, limits);
        let store = objects.store().clone().into();
        let part = |of: usize| Semaphore::new((limits.peers * of / 4).max(1));
        Self {
            store,
            events,
            names,
            origins,
            counters,
            limits,
            peers,
            neighbours,
            keeper,
            handshakes: part(4).into(),
            connections: part(4),
            for_neighbours: part(2),
            for_others: part(3),
            introductions: part(1),
            takers: Mutex::default(),
        }
    }

    /// Serves connections of `endpoint`, until it is closed.
    pub async fn serve(self, endpoint: Endpoint) {
        endpoint.set_alpns(
            [ALPN, names::ALPN, CACHE_ALPN, origin::ALPN, keep::ALPN].map(<[u8]>::to_vec).into(),
        );
        let (serving, mut tasks) = (Arc::new(self), JoinSet::new());
        loop {
            let incoming = tokio::select! {
                incoming = endpoint.accept() => incoming,
                Some(_) = tasks.join_next() => continue,
            };
            let Some(incoming) = incoming else { return };
            let Some((incoming, place)) = serving.admit(incoming) else { continue };
            let serving = Arc::clone(&serving);
            tasks.spawn(async move {
                // The error concerns the peer only.
                let _ = serving.connect(incoming, place).await;
            });
        }
    }

    /// A permit for a handshake. Peers whose address is not validated get at most the first half of
    /// them; for the others the client must first prove its address (RFC 9000, section 8.1.2).
    fn admit(&self, incoming: Incoming) -> Option<(Incoming, OwnedSemaphorePermit)> {
        let is_busy = self.handshakes.available_permits() <= self.limits.peers / 2;
        if is_busy && !incoming.remote_addr_validated() {
            // It fails only for validated addresses.
            let _ = incoming.retry();
            return None;
        }
        match Arc::clone(&self.handshakes).try_acquire_owned() {
            Ok(place) => Some((incoming, place)),
            Err(_) => {
                self.counters.peers_refused.add(1);
                incoming.refuse();
                None
            }
        }
    }

    async fn connect(&self, incoming: Incoming, permit: OwnedSemaphorePermit) -> Option<()> {
        let handshake = incoming.accept().ok()?;
        let connection = timeout(self.limits.request_timeout, handshake).await.ok()?.ok()?;
        drop(permit);
        if connection.alpn() == names::ALPN {
            self.names.serve(&connection).await;
            return Some(());
        }
        if connection.alpn() == origin::ALPN {
            self.origins.serve_board(&connection).await;
            return Some(());
        }
        if connection.alpn() == keep::ALPN {
            self.keeper.serve(&connection).await;
            return Some(());
        }
        let busy = || {
            self.counters.peers_refused.add(1);
            connection.close(BUSY.into(), b"too many are served");
        };
        let mut neighbour = None;
        if connection.alpn() == CACHE_ALPN {
            // Whoever has not shown a certificate takes no place of neighbours.
            let Ok(_introduction) = self.introductions.try_acquire() else {
                busy();
                return None;
            };
            let introduced = timeout(self.limits.request_timeout, self.introduce(&connection));
            neighbour = Some(introduced.await.ok()??);
        }
        let Some(_places) = self.places(&connection, neighbour) else {
            busy();
            return None;
        };
        self.counters.peers_served.add(1);
        let Some(node) = neighbour else {
            self.serve_requests(&connection, None).await;
            return Some(());
        };
        let known = connection.clone();
        let previous = lock(&self.takers).insert(node, known);
        if let Some(previous) = previous {
            previous.close(REPLACED.into(), b"there is a newer connection");
        }
        self.serve_requests(&connection, Some(node)).await;
        let mut takers = lock(&self.takers);
        if takers.get(&node).is_some_and(|it| it.stable_id() == connection.stable_id()) {
            takers.remove(&node);
        }
        Some(())
    }

    /// The permits for a connection. Nodes of this box may have all of them.
    fn places(
        &self,
        connection: &Connection,
        neighbour: Option<PublicKey>,
    ) -> Option<(SemaphorePermit<'_>, Option<SemaphorePermit<'_>>)> {
        let part = match self.taker(connection, neighbour) {
            Taker::Neighbour(_) => Some(&self.for_neighbours),
            Taker::Board => None,
            Taker::Other => Some(&self.for_others),
        };
        let part = part.map(Semaphore::try_acquire).transpose().ok()?;
        Some((self.connections.try_acquire().ok()?, part))
    }

    /// Whom answers on this connection are for.
    fn taker(&self, connection: &Connection, neighbour: Option<PublicKey>) -> Taker {
        let key = PublicKey::new(*connection.remote_id().as_bytes());
        match neighbour {
            Some(node) => Taker::Neighbour(node),
            None if self.peers.borrow().iter().any(|peer| peer.key == key) => Taker::Board,
            None => Taker::Other,
        }
    }

    /// Exchanges certificates with the other node, and returns which neighbour it is.
    async fn introduce(&self, connection: &Connection) -> Option<PublicKey> {
        let (mut to, mut from) = connection.accept_bi().await.ok()?;
        let theirs = from.read_to_end(MAX_CERTIFICATE).await.ok()?;
        let key = PublicKey::new(*connection.remote_id().as_bytes());
        let node = match self.neighbours.check(&theirs, &key) {
            Ok(node) => node,
            Err(refused) => {
                self.counters.peers_refused.add(1);
                connection.close(NOT_A_NEIGHBOUR.into(), refused.to_string().as_bytes());
                return None;
            }
        };
        to.write_all(&self.neighbours.own_certificate()?).await.ok()?;
        to.finish().ok()?;
        Some(node)
    }

    /// Answers requests until the connection ends or is idle for too long. The requests of a neighbour count for its
    /// node.
    async fn serve_requests(&self, connection: &Connection, neighbour: Option<PublicKey>) {
        let idle = if neighbour.is_some() { NEIGHBOUR_IDLE } else { self.limits.request_timeout };
        let connection_id = connection.stable_id() as u64;
        let endpoint_id = Some(connection.remote_id());
        let connected = || ClientConnected { connection_id, endpoint_id };
        if self.events.client_connected(connected).await.is_err() {
            return;
        }
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                stream = connection.accept_bi() => {
                    let Ok((to, mut from)) = stream else { break };
                    if neighbour.is_some_and(|node| !self.neighbours.has(&node)) {
                        connection.close(NOT_A_NEIGHBOUR.into(), b"no [[neighbour]] any more");
                        break;
                    }
                    let taker = self.taker(connection, neighbour);
                    let neighbours = Arc::clone(&self.neighbours);
                    let (store, events) = (self.store.clone(), self.events.clone());
                    let limit = self.limits.request_timeout;
                    streams.spawn(async move {
                        match timeout(limit, request(&mut from)).await.unwrap_or(Err(ERR_LIMIT)) {
                            Ok(request) => {
                                let to = MeteredStream::new(to, neighbours, taker);
                                let pair = StreamPair::new(connection_id, from, to, events);
                                // The error concerns the peer only.
                                let _ = handle_get(pair, store, request).await;
                            }
                            Err(code) => refuse(to, from, code),
                        }
                    });
                }
                Some(_) = streams.join_next() => {}
                () = sleep(idle), if streams.is_empty() => {
                    connection.close(IDLE.into(), b"nothing was asked");
                    break;
                }
            }
        }
        // Transfers are recorded before the connection is reported as closed.
        while streams.join_next().await.is_some() {}
        let _ = self.events.connection_closed(|| ConnectionClosed { connection_id }).await;
    }
}

/// Reads the request of `from`, or returns the error code of the refusal: only ranges of one object
/// are allowed. In other programs an object can be a list of others, which the store would have to
/// read.
async fn request(from: &mut RecvStream) -> Result<GetRequest, VarInt> {
    let mut kind = [0];
    from.read_exact(&mut kind).await.map_err(|_| ERR_LIMIT)?;
    if kind != [GET] {
        return Err(ERR_PERMISSION);
    }
    let request = from.read_to_end(LONGEST_REQUEST).await.map_err(|_| ERR_LIMIT)?;
    let request: Result<GetRequest, _> = postcard::from_bytes(&request);
    request.ok().filter(|it| it.ranges.is_blob()).ok_or(ERR_PERMISSION)
}

fn lock<T>(it: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refuse(mut to: SendStream, mut from: RecvStream, code: VarInt) {
    // The connection may have ended.
    let _ = to.reset(code);
    let _ = from.stop(code);
}
