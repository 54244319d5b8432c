//! Serves other nodes: connections, handshakes and requests are limited in number, size and time
//! before they cost anything. iroh-blobs would read requests of up to 1 MiB without a timeout, so
//! requests are read here, and iroh-blobs answers them.

use std::sync::Arc;

use iroh::Endpoint;
use iroh::endpoint::{Connection, Incoming, RecvStream, SendStream, VarInt};
use iroh_blobs::ALPN;
use iroh_blobs::api::Store;
use iroh_blobs::protocol::{ERR_LIMIT, ERR_PERMISSION, GetRequest};
use iroh_blobs::provider::events::{ClientConnected, ConnectionClosed, EventSender};
use iroh_blobs::provider::{StreamPair, handle_get};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::counters::CacheCounters;
use crate::limits::CacheLimits;
use crate::names::{self, NameResponder};
use crate::origin::{self, OriginFront};

/// The maximum size of a request, in bytes: a hash, and the ranges of the object. Those of this
/// service have less than 50.
const LONGEST_REQUEST: usize = 4 << 10;

/// The number of `Get` among iroh-blobs' requests.
const GET: u8 = 0;

/// The error code for a full server; any number serves.
const BUSY: u32 = 1;

/// The error code for an idle connection.
const IDLE: u32 = 2;

#[derive(Debug)]
pub struct Serving {
    pub store: Store,
    pub events: EventSender,
    pub names: NameResponder,
    pub origins: Arc<OriginFront>,
    pub counters: Arc<CacheCounters>,
    pub limits: CacheLimits,
    handshakes: Arc<Semaphore>,
    connections: Semaphore,
}

impl Serving {
    pub fn new(
        store: Store,
        events: EventSender,
        names: NameResponder,
        origins: Arc<OriginFront>,
        counters: Arc<CacheCounters>,
        limits: CacheLimits,
    ) -> Self {
        let (handshakes, connections) =
            (Semaphore::new(limits.peers), Semaphore::new(limits.peers));
        let handshakes = handshakes.into();
        Self { store, events, names, origins, counters, limits, handshakes, connections }
    }

    /// Serves connections of `endpoint`, until it is closed.
    pub async fn serve(self, endpoint: Endpoint) {
        endpoint.set_alpns([ALPN, names::ALPN, origin::ALPN].map(<[u8]>::to_vec).into());
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
        let Ok(_place) = self.connections.try_acquire() else {
            self.counters.peers_refused.add(1);
            connection.close(BUSY.into(), b"too many are served");
            return Some(());
        };
        self.counters.peers_served.add(1);
        self.serve_requests(&connection).await;
        Some(())
    }

    /// Answers requests until the connection ends or is idle for too long.
    async fn serve_requests(&self, connection: &Connection) {
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
                    let (store, events) = (self.store.clone(), self.events.clone());
                    let limit = self.limits.request_timeout;
                    streams.spawn(async move {
                        match timeout(limit, request(&mut from)).await.unwrap_or(Err(ERR_LIMIT)) {
                            Ok(request) => {
                                let pair = StreamPair::new(connection_id, from, to, events);
                                // The error concerns the peer only.
                                let _ = handle_get(pair, store, request).await;
                            }
                            Err(code) => refuse(to, from, code),
                        }
                    });
                }
                Some(_) = streams.join_next() => {}
                () = sleep(self.limits.request_timeout), if streams.is_empty() => {
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

fn refuse(mut to: SendStream, mut from: RecvStream, code: VarInt) {
    // The connection may have ended.
    let _ = to.reset(code);
    let _ = from.stop(code);
}
