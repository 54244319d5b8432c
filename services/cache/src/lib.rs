//! `cache` stores immutable objects under the hash of their content (docs/cache.md).
//!
//! [`objects`] stores them with iroh-blobs, [`policy`] decides which to evict, [`endpoint`] serves
//! them to other nodes, [`fetch`] gets them from other nodes of the box and from its
//! [`neighbours`], [`keep`] has copies on several boards, [`scrub`] verifies what is on the disk, [`names`] refer to them, [`http`] serves them to clients and accepts uploads with a [token](tokens), and [`verbs`] are the
//! operators' interface.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod counters;
mod database;
pub mod endpoint;
pub mod fetch;
pub mod folder;
pub mod folders;
pub mod http;
pub mod keep;
pub mod limits;
pub mod metrics;
pub mod names;
pub mod neighbours;
pub mod objects;
pub mod origin;
pub mod peers;
pub mod policy;
pub mod private;
pub mod scrub;
mod service;
pub mod settings;
mod sys;
pub mod tokens;
pub mod verbs;

pub use service::main;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use octet_node::Callers;
use octet_node::control::notify;
use octet_node::metrics::server;
use octet_node::say;
use octet_node::sub_key;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::counters::CacheCounters;
use crate::endpoint::ServedNode;
use crate::fetch::Fetcher;
use crate::folders::FolderCache;
use crate::http::{CacheState, Gateway};
use crate::keep::ObjectKeeper;
use crate::limits::CacheLimits;
use crate::metrics::Numbers;
use crate::names::NameCache;
use crate::neighbours::Neighbours;
use crate::objects::Objects;
use crate::origin::{OriginBoards, OriginFront};
use crate::peers::{FollowedMap, PORT};
use crate::private::PrivatePaths;
use crate::scrub::Scrubber;
use crate::settings::CacheSettings;
use crate::tokens::Tokens;
use crate::verbs::CacheVerbs;

/// The idle time after which a disk thread ends.
const LINGER: Duration = Duration::from_secs(5);

/// The folder of the store, in the data folder.
const STORE: &str = "store";

/// The socket of the unit that fetches from web origins, in the folder of sockets.
const ORIGIN_SOCKET: &str = "origin.fetch.sock";

/// The socket of the unit that has paths, in the folder of sockets.
const FORWARD_SOCKET: &str = "forward.sock";

/// Why a node without a data folder stores nothing.
pub const NO_DISK: &str = "this node has no disk to keep objects on";

/// The file of names, in the data folder.
const NAMES: &str = "names.db";

/// The configuration of this service.
pub struct CacheConfig {
    pub limits: CacheLimits,
    /// The settings in force, if they are known.
    pub settings: Option<CacheSettings>,
    pub folder: Option<PathBuf>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    pub addresses: Vec<SocketAddr>,
    pub http: TcpListener,
    /// The listener for metrics.
    pub metrics: TcpListener,
    pub control: UnixListener,
    /// The users that may call this service.
    pub callers: Callers,
}

/// Serves until SIGTERM, and then closes its databases. `ready` is called once the socket accepts
/// calls.
///
/// # Errors
/// It cannot start, or its socket failed.
pub fn run(config: CacheConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_keep_alive(LINGER)
        .enable_io()
        .enable_time()
        .build()?;
    let (endpoint, opened) = watch::channel(None);
    let gateway = runtime.block_on(start(&config, endpoint, opened.clone()))?;
    config.http.set_nonblocking(true)?;
    let entered = runtime.enter();
    let mut stop = signal(SignalKind::terminate())?;
    let http = tokio::net::TcpListener::from_std(config.http)?;
    tokio::spawn(http::serve(http, gateway.clone(), config.limits));
    config.metrics.set_nonblocking(true)?;
    let metrics = tokio::net::TcpListener::from_std(config.metrics)?;
    tokio::spawn(server::serve(metrics, Numbers(gateway.clone())));
    drop(entered);
    ready()?;
    if gateway.state.is_none() {
        // `status` shows this text although the unit is ready.
        notify::send(&format!("STATUS={NO_DISK}"))?;
    }
    let state = gateway.state.clone();
    // All nodes listen at the same port.
    let port = config.addresses.first().map_or(PORT, SocketAddr::port);
    let forward = config.sockets.join(FORWARD_SOCKET);
    let desk = CacheVerbs {
        private: PrivatePaths::new(forward, port, private::RENEWAL),
        gateway,
        endpoint: opened,
        runtime: runtime.handle().clone(),
        sockets: config.sockets,
        ahead: Semaphore::new(verbs::MAX_AHEAD),
    };
    let (ended, mut end) = oneshot::channel();
    let (control, callers) = (config.control, config.callers);
    let keep = move || {
        let Err(error) = verbs::listen(&control, &callers, desk);
        let _ = ended.send(error);
    };
    std::thread::Builder::new().name("verbs".into()).spawn(keep)?;
    runtime.block_on(async {
        tokio::select! {
            _ = stop.recv() => {}
            Ok(error) = &mut end => return Err(error),
        }
        if let Some(state) = state {
            state.objects.close().await;
            state.names.store().close();
            state.origins.close();
        }
        Ok(())
    })
}

async fn start(
    config: &CacheConfig,
    endpoint: watch::Sender<Option<iroh::Endpoint>>,
    opened: watch::Receiver<Option<iroh::Endpoint>>,
) -> io::Result<Gateway> {
    let counters = Arc::new(CacheCounters::default());
    let Some(folder) = &config.folder else {
        say!("no objects are stored, fetched or served: {NO_DISK}");
        return Ok(Gateway { state: None, counters });
    };
    let objects = Arc::new(Objects::open(&folder.join(STORE), &config.limits).await?);
    let certified = sub_key::certified(Some(folder.clone()), config.sockets.join("identity.sock"))?;
    let FollowedMap { peers, number } = peers::follow(config.sockets.join("cluster.sock"))?;
    let limits = config.limits;
    let names = NameCache::open(
        &folder.join(NAMES),
        limits,
        certified.clone(),
        opened.clone(),
        peers.clone(),
    );
    let names = names.map_err(io::Error::other)?;
    let puts = Arc::new(Semaphore::new(limits.puts));
    let socket = config.sockets.join(ORIGIN_SOCKET);
    let boards = OriginBoards::new(opened.clone(), peers.clone(), limits);
    let origins =
        OriginFront::open(folder, Arc::clone(&objects), Arc::clone(&counters), socket, boards)?;
    let neighbours = Neighbours::new(certified.clone()).map_err(io::Error::other)?;
    let fetcher = Fetcher::new(
        Arc::clone(&objects),
        Arc::clone(&counters),
        limits,
        opened.clone(),
        peers.clone(),
        Arc::clone(&neighbours),
    );
    let keeper = ObjectKeeper::new(
        Arc::clone(&objects),
        Arc::clone(&fetcher),
        Arc::clone(&names),
        opened,
        peers.clone(),
        limits,
    );
    let scrubber =
        Scrubber::open(folder, Arc::clone(&objects), Arc::clone(&fetcher), config.limits)?;
    let folders = Arc::new(FolderCache::default());
    if let Some(settings) = &config.settings {
        settings.apply(&config.sockets, &origins, &neighbours);
        keeper.set(&settings.keeps);
        folders.set_index(settings.has_folder_index);
    }
    tokio::spawn(settings::follow_number(
        number,
        config.sockets.clone(),
        Arc::clone(&origins),
        Arc::clone(&neighbours),
    ));
    let tokens = Arc::new(Tokens::open(folder.clone())?);
    let served = ServedNode {
        objects: Arc::clone(&objects),
        names: Arc::clone(names.store()),
        origins: Arc::clone(&origins),
        counters: Arc::clone(&counters),
        limits,
        peers,
        neighbours: Arc::clone(&neighbours),
        keeper: Arc::clone(&keeper),
    };
    tokio::spawn(endpoint::run(certified, config.addresses.clone(), served, endpoint));
    tokio::spawn(Arc::clone(&keeper).run());
    tokio::spawn(Arc::clone(&names).renew_forever());
    tokio::spawn(Arc::clone(&scrubber).run());
    Ok(Gateway {
        state: Some(CacheState {
            objects,
            fetcher,
            names,
            tokens,
            puts,
            folders,
            origins,
            neighbours,
            keeper,
            scrubber,
        }),
        counters,
    })
}
