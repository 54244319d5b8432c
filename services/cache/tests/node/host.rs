//! Nodes, each with a store, an endpoint and a gateway of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use iroh::{Endpoint, EndpointAddr, TransportAddr};
use iroh_blobs::Hash;
use octet_cache::counters::CacheCounters;
use octet_cache::endpoint::{self, ServedNode};
use octet_cache::fetch::Fetcher;
use octet_cache::http::{self, CacheState, Gateway};
use octet_cache::keep::ObjectKeeper;
use octet_cache::limits::CacheLimits;
use octet_cache::names::NameCache;
use octet_cache::neighbours::{NeighbourNode, Neighbours};
use octet_cache::objects::{ListedObject, ObjectError, Objects};
use octet_cache::origin::{OriginBoards, OriginFront};
use octet_cache::peers::PeerNode;
use octet_cache::policy::ObjectKind;
use octet_cache::scrub::Scrubber;
use octet_cache::tokens::Tokens;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::request::TIMEOUT;

/// Any port on loopback.
pub const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The limits of nodes in tests: timeouts are long enough for a busy machine.
pub fn limits() -> CacheLimits {
    let default = CacheLimits::default();
    CacheLimits {
        connect_timeout: TIMEOUT,
        answer_timeout: TIMEOUT,
        read_timeout: TIMEOUT,
        board_retry: TIMEOUT,
        ..default
    }
}

/// The same for many connections of one address.
pub fn limits_for_many() -> CacheLimits {
    CacheLimits { http_per_client: 100, ..limits() }
}

/// A runtime for all nodes of a test.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// `length` incompressible bytes, the same for the same `seed`.
pub fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut all = Vec::with_capacity(length + 8);
    while all.len() < length {
        all.extend_from_slice(&next());
    }
    all.truncate(length);
    all
}

pub struct Node {
    pub objects: Arc<Objects>,
    pub counters: Arc<CacheCounters>,
    pub endpoint: Endpoint,
    pub http: SocketAddr,
    pub peers: watch::Sender<Vec<PeerNode>>,
    key: PublicKey,
    pub node: PublicKey,
    pub names: Arc<NameCache>,
    pub tokens: Arc<Tokens>,
    pub gateway: Gateway,
    pub neighbours: Arc<Neighbours>,
    pub keeper: Arc<ObjectKeeper>,
    pub scrubber: Arc<Scrubber>,
    /// The key of the node, which certifies that of its `cache`.
    pub owner: PrivateKey,
    /// What it shows neighbours.
    pub certified: watch::Sender<Option<Certified>>,
    _serving: JoinSet<()>,
    _opened: watch::Sender<Option<Endpoint>>,
    pub folder: TempDir,
}

impl Node {
    /// Starts a node that knows no other node.
    pub async fn start(limits: CacheLimits) -> Self {
        Self::start_in(TempDir::new().unwrap(), limits).await
    }

    /// Starts a node with the data in `folder`.
    pub async fn start_in(folder: TempDir, limits: CacheLimits) -> Self {
        let objects = Arc::new(Objects::open(&folder.path().join("store"), &limits).await.unwrap());
        let counters = Arc::new(CacheCounters::default());
        let key = PrivateKey::generate().unwrap();
        let key_of_cache = PrivateKey::from_seed(*key.seed()).unwrap();
        let endpoint = endpoint::open(&key, &[LOOPBACK]).await.unwrap();
        let (opened, watched) = watch::channel(Some(endpoint.clone()));
        let (peers, known) = watch::channel(vec![]);
        let owner = PrivateKey::generate().unwrap();
        let (key, node) = (key.public(), owner.public());
        let (certified, shown) = watch::channel(Some(certified(key_of_cache, &owner, 1)));
        let neighbours = Neighbours::new(shown.clone()).unwrap();
        let file = folder.path().join("names.db");
        let names = NameCache::open(&file, limits, shown, watched.clone(), known.clone()).unwrap();
        let boards = OriginBoards::new(watched.clone(), known.clone(), limits);
        let fetcher = Fetcher::new(
            Arc::clone(&objects),
            Arc::clone(&counters),
            limits,
            watched.clone(),
            known.clone(),
            Arc::clone(&neighbours),
        );
        let keeper = ObjectKeeper::new(
            Arc::clone(&objects),
            Arc::clone(&fetcher),
            Arc::clone(&names),
            watched,
            known.clone(),
            limits,
        );
        let tokens = Arc::new(Tokens::open(folder.path().to_owned()).unwrap());
        let origins = OriginFront::open(
            folder.path(),
            Arc::clone(&objects),
            Arc::clone(&counters),
            folder.path().join("fetch.sock"),
            boards,
        )
        .unwrap();
        let scrubber =
            Scrubber::open(folder.path(), Arc::clone(&objects), Arc::clone(&fetcher), limits)
                .unwrap();
        let served = ServedNode {
            objects: Arc::clone(&objects),
            names: Arc::clone(names.store()),
            origins: Arc::clone(&origins),
            counters: Arc::clone(&counters),
            limits,
            peers: known,
            neighbours: Arc::clone(&neighbours),
            keeper: Arc::clone(&keeper),
        };
        let mut serving = endpoint::serve(&endpoint, &served);
        let running = Arc::clone(&keeper);
        serving.spawn(async move { match running.run().await {} });
        let running = Arc::clone(&names);
        serving.spawn(async move { match running.renew_forever().await {} });
        let running = Arc::clone(&scrubber);
        serving.spawn(async move { match running.run().await {} });
        let here = CacheState {
            objects: Arc::clone(&objects),
            fetcher,
            names: Arc::clone(&names),
            tokens: Arc::clone(&tokens),
            puts: Arc::new(Semaphore::new(limits.puts)),
            folders: Arc::default(),
            origins,
            neighbours: Arc::clone(&neighbours),
            keeper: Arc::clone(&keeper),
            scrubber: Arc::clone(&scrubber),
        };
        let gateway = Gateway { state: Some(here), counters: Arc::clone(&counters) };
        let listener = tokio::net::TcpListener::bind(LOOPBACK).await.unwrap();
        let http = listener.local_addr().unwrap();
        tokio::spawn(http::serve(listener, gateway.clone(), limits));
        Self {
            objects,
            counters,
            endpoint,
            http,
            peers,
            key,
            node,
            names,
            tokens,
            gateway,
            neighbours,
            keeper,
            scrubber,
            owner,
            certified,
            _serving: serving,
            _opened: opened,
            folder,
        }
    }

    /// Its entry in the membership map, as board `number`.
    pub fn as_peer(&self, number: u8) -> PeerNode {
        peer(number, self.key, self.endpoint.bound_sockets())
    }

    pub fn address(&self) -> EndpointAddr {
        address(&self.endpoint)
    }

    /// What a node of another box knows of it.
    pub fn as_neighbour(&self, name: &str) -> NeighbourNode {
        let address = self.endpoint.bound_sockets()[0];
        NeighbourNode { name: name.to_owned(), node: self.node, address }
    }

    /// A copy of the data that would be on disk if the node was killed now.
    pub async fn killed(&self) -> TempDir {
        self.objects.store().sync_db().await.unwrap();
        let copy = TempDir::new().unwrap();
        for folder in ["store", "store/data"] {
            fs::create_dir(copy.path().join(folder)).unwrap();
            for entry in fs::read_dir(self.folder.path().join(folder)).unwrap() {
                let from = entry.unwrap().path();
                if from.is_file() {
                    let to = copy.path().join(folder).join(from.file_name().unwrap());
                    fs::copy(&from, to).unwrap();
                }
            }
        }
        copy
    }

    /// Stores `bytes` as a pinned object.
    pub async fn add(&self, bytes: &[u8]) -> ListedObject {
        let listed = add(&self.objects, bytes, ObjectKind::Pinned).await.unwrap();
        assert_eq!(listed, ListedObject { hash: Hash::new(bytes), size: bytes.len() as u64 });
        listed
    }
}

/// Stores `bytes`, which arrive in two parts.
pub async fn add(
    objects: &Arc<Objects>,
    bytes: &[u8],
    kind: ObjectKind,
) -> Result<ListedObject, ObjectError> {
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let parts = [first, rest].map(|part| Ok(Bytes::copy_from_slice(part)));
    objects.add(Some(bytes.len() as u64), stream::iter(parts), kind).await
}

/// A key of `cache` that the node `owner` has certified with the epoch `epoch`, as `identity`
/// returns it.
pub fn certified(key: PrivateKey, owner: &PrivateKey, epoch: u64) -> Certified {
    let unit = "cache".parse().unwrap();
    let statement =
        KeyStatement { node: owner.public(), unit, key: key.public(), epoch, issued: 1 };
    let certificate = Certificate::sign(statement, owner).unwrap();
    Certified { key: Arc::new(key), certificate }
}

/// A node's entry in the membership map.
pub fn peer(number: u8, key: PublicKey, addresses: Vec<SocketAddr>) -> PeerNode {
    PeerNode { number, node: PublicKey::new([number; 32]), key, addresses, is_drained: false }
}

/// The address on which `endpoint` listens.
pub fn address(endpoint: &Endpoint) -> EndpointAddr {
    let addrs = endpoint.bound_sockets().into_iter().map(TransportAddr::Ip).collect();
    EndpointAddr { id: endpoint.id(), addrs }
}

pub fn path(hash: Hash) -> String {
    format!("/b/{}", hash.to_hex())
}

/// Waits until `wanted` is true.
pub async fn until(what: &str, mut wanted: impl FnMut() -> bool) {
    let waiting = async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, waiting).await.unwrap_or_else(|_| panic!("late: {what}"));
}
