//! The QUIC endpoint, with this service's own key.

mod metered;
mod serving;
mod transfers;

pub use metered::OVER_LIMIT;
pub use serving::BUSY;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::Endpoint;
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::quic::{self, EndpointError, QuicConfig};
use octet_node::say;
use octet_node::sub_key::Certified;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::counters::CacheCounters;
use crate::keep::ObjectKeeper;
use crate::limits::CacheLimits;
use crate::names::PersistedNames;
use crate::neighbours::Neighbours;
use crate::objects::Objects;
use crate::origin::OriginFront;
use crate::peers::PeerNode;
use serving::Serving;

/// The idle timeout of a connection; keepalives are sent four times within it.
const IDLE: Duration = Duration::from_secs(5);

/// The maximum number of concurrent requests per connection.
const STREAMS: u32 = 16;

/// The send and the receive window of one connection, in bytes: those of all connections fit into
/// the unit's memory.
const WINDOW: u32 = 1 << 20;

/// The pause before binding an address is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Opens an endpoint with the key `key`, listening at `at`.
///
/// # Errors
/// An address is invalid, or taken.
pub async fn open(key: &PrivateKey, at: &[SocketAddr]) -> Result<Endpoint, EndpointError> {
    let config = QuicConfig { alpns: &[], idle: IDLE, streams: STREAMS, window: WINDOW };
    quic::open(key.seed(), at, config).await
}

/// What the endpoint serves, and to whom.
#[derive(Debug, Clone)]
pub struct ServedNode {
    pub objects: Arc<Objects>,
    pub names: Arc<PersistedNames>,
    pub origins: Arc<OriginFront>,
    pub counters: Arc<CacheCounters>,
    pub limits: CacheLimits,
    /// The nodes of this box.
    pub peers: watch::Receiver<Vec<PeerNode>>,
    pub neighbours: Arc<Neighbours>,
    pub keeper: Arc<ObjectKeeper>,
}

/// Serves `served` at `at` with the current key, and passes the endpoint to `opened`; a new key
/// makes a new endpoint. It runs forever.
pub async fn run(
    mut certified: watch::Receiver<Option<Certified>>,
    at: Vec<SocketAddr>,
    served: ServedNode,
    opened: watch::Sender<Option<Endpoint>>,
) {
    let mut problem = String::new();
    loop {
        let Some(own) = certified.borrow_and_update().clone() else {
            if certified.changed().await.is_err() {
                return;
            }
            continue;
        };
        let endpoint = match open(&own.key, &at).await {
            Ok(endpoint) => endpoint,
            Err(error) => {
                // The same problem is logged once.
                let error = error.to_string();
                if error != problem {
                    say!("no objects are exchanged with other nodes yet: {error}");
                    problem = error;
                }
                sleep(RETRY_DELAY).await;
                continue;
            }
        };
        problem.clear();
        let serving = serve(&endpoint, &served);
        opened.send_replace(Some(endpoint.clone()));
        key_changed(&mut certified, own.key.public()).await;
        opened.send_replace(None);
        endpoint.close().await;
        drop(serving);
    }
}

/// Waits until the key differs from `key`.
async fn key_changed(certified: &mut watch::Receiver<Option<Certified>>, key: PublicKey) {
    let is_other = |now: &Option<Certified>| {
        now.as_ref().is_some_and(|certified| certified.key.public() != key)
    };
    if certified.wait_for(is_other).await.is_err() {
        // The thread that keeps the key has ended; the current key stays.
        std::future::pending::<()>().await;
    }
}

/// Serves objects by hash, known names, and origins to other boards, as long as the returned value exists.
pub fn serve(endpoint: &Endpoint, served: &ServedNode) -> JoinSet<()> {
    let serving = Serving::new(served.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(serving.serve(endpoint.clone()));
    tasks
}
