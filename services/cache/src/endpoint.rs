//! The endpoint of iroh: QUIC with this service's own key, and nothing else of what iroh could reach. No relay, no
//! lookup of addresses elsewhere, no request to a router for a port: all that leaves are datagrams to whom it was told.

mod given;
mod serving;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{BindError, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, RelayMode, SecretKey};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::say;
use octet_node::sub_key::Certified;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::counters::CacheCounters;
use crate::limits::CacheLimits;
use crate::names::{Answering, PersistedNames};
use crate::objects::Objects;
use given::noting;
use serving::Serving;

/// After how long of silence a connection ends; four times in it, it is said that one is still there.
const IDLE: Duration = Duration::from_secs(5);

/// How many objects one connection may ask for at the same time.
const STREAMS: u32 = 16;

/// What is sent and not yet taken by one connection, and received and not yet read, in bytes each: for all of them
/// it fits into the unit's memory.
const WINDOW: u32 = 1 << 20;

/// The pause before an address is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// An endpoint that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// An address makes no sense.
    #[error("{0}")]
    Address(String),
    /// The kernel does not give it.
    #[error("{0}")]
    Bind(#[from] BindError),
}

/// An endpoint that has the key `key` and listens at `at`.
pub async fn open(key: &PrivateKey, at: &[SocketAddr]) -> Result<Endpoint, EndpointError> {
    let idle = VarInt::from_u32(IDLE.as_millis() as u32).into();
    let transport = QuicTransportConfig::builder()
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(IDLE / 4)
        .default_path_keep_alive_interval(IDLE / 4)
        .default_path_max_idle_timeout(IDLE)
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(0u32.into())
        .receive_window(WINDOW.into())
        .stream_receive_window(WINDOW.into())
        .send_window(WINDOW.into())
        .build();
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(secret(key))
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .transport_config(transport)
        .clear_ip_transports();
    for address in at {
        let bound = builder.bind_addr(*address);
        builder = bound.map_err(|error| EndpointError::Address(error.to_string()))?;
    }
    Ok(builder.bind().await?)
}

/// The same key as iroh has it.
fn secret(key: &PrivateKey) -> SecretKey {
    let mut seed = [0; 32];
    // The end of the encoding is the seed (RFC 8410, section 7).
    let encoded = key.to_pkcs8();
    seed.copy_from_slice(&encoded[encoded.len() - 32..]);
    SecretKey::from_bytes(&seed)
}

/// Serves the objects at `at` with the key that counts, and hands the endpoint to `opened`; with another key it is
/// another endpoint. For good.
pub async fn keep(
    mut certified: watch::Receiver<Option<Certified>>,
    at: Vec<SocketAddr>,
    objects: Arc<Objects>,
    names: Arc<PersistedNames>,
    counters: Arc<CacheCounters>,
    limits: CacheLimits,
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
                // The same again is not said again.
                let error = error.to_string();
                if error != problem {
                    say!("no node is served and none asked yet: {error}");
                    problem = error;
                }
                sleep(RETRY_DELAY).await;
                continue;
            }
        };
        problem.clear();
        let serving = serve(&endpoint, &objects, &names, &counters, limits);
        opened.send_replace(Some(endpoint.clone()));
        until_other(&mut certified, own.key.public()).await;
        opened.send_replace(None);
        endpoint.close().await;
        drop(serving);
    }
}

/// Waits until another key counts than `key`.
async fn until_other(certified: &mut watch::Receiver<Option<Certified>>, key: PublicKey) {
    let is_other = |now: &Option<Certified>| {
        now.as_ref().is_some_and(|certified| certified.key.public() != key)
    };
    if certified.wait_for(is_other).await.is_err() {
        // The thread that keeps the key is gone, and this one goes on.
        std::future::pending::<()>().await;
    }
}

/// Serves objects to whoever knows their hashes, and what is known of names, as long as what is returned is there.
pub fn serve(
    endpoint: &Endpoint,
    objects: &Objects,
    names: &Arc<PersistedNames>,
    counters: &Arc<CacheCounters>,
    limits: CacheLimits,
) -> JoinSet<()> {
    let events = noting(Arc::clone(objects.policy()));
    let names = Answering::new(Arc::clone(names), limits);
    let store = objects.store().clone();
    let serving = Serving::new(store.into(), events, names, Arc::clone(counters), limits);
    let mut tasks = JoinSet::new();
    tasks.spawn(serving.serve(endpoint.clone()));
    tasks
}
