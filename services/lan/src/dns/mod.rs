//! The DNS resolver: it answers the box's own names, never forwards these outside, and asks
//! upstreams about all others (`docs/names.md`).
//!
//! All decisions are made without clock and socket ([`Resolver`](resolver::Resolver) and its
//! parts); [`Dns`] does the I/O. All of it runs on one thread.

pub mod answer;
pub mod box_zone;
pub mod cache;
pub mod counters;
pub mod exchange;
mod fair_queue;
pub mod filter;
mod forward;
mod in_flight;
pub mod inside;
mod nodes;
pub mod prefix;
pub mod query;
mod query_limit;
mod rates;
pub mod resolver;
mod reverse;
mod socket;
mod tcp;
mod udp;
pub mod upstream_path;
pub mod upstreams;
pub mod zones;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use octet_node::control::UnitName;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use box_zone::BoxZone;
use counters::DnsCounters;
use in_flight::InFlightQueries;
use inside::BoxNetworks;
use resolver::Resolver;
use socket::DnsSocket;
use upstream_path::UpstreamPath;
use upstreams::{RefusedUpstream, UpstreamRule, Upstreams};
use zones::{RegisterError, Registered};

/// The pause after the kernel has failed to deliver a message.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The maximum number of TCP connections to upstreams.
const STREAMS: usize = 32;

/// The settings that never change after the start.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether upstreams are nodes of the box and know its names: true on a board, whose upstream
    /// is its router.
    pub forwards_inside: bool,
    /// Whether another program of this node can be an upstream, at another port.
    pub upstreams_on_loopback: bool,
    /// The size of the cache in bytes.
    pub cache: usize,
    /// The timeout of an upstream, after which the next one is asked.
    pub upstream_timeout: Duration,
}

#[derive(Debug)]
pub struct Dns {
    settings: Settings,
    resolver: RefCell<Resolver>,
    upstreams: RefCell<Upstreams>,
    /// The upstreams for clients that use an exit node.
    exits: RefCell<Upstreams>,
    /// Both lists as configured, including refused upstreams.
    configured: RefCell<[Vec<SocketAddr>; 2]>,
    in_flight: InFlightQueries,
    /// Limits the TCP connections to upstreams.
    streams: Semaphore,
    /// Incremented when earlier answers become invalid.
    generation: Cell<u64>,
    port: Cell<u16>,
    start: Instant,
}

impl Default for Settings {
    fn default() -> Self {
        let upstream_timeout = Duration::from_millis(1500);
        Self {
            forwards_inside: false,
            upstreams_on_loopback: false,
            cache: 1 << 20,
            upstream_timeout,
        }
    }
}

impl Dns {
    /// A resolver that serves only the node itself, and has no upstreams.
    pub fn new(settings: Settings) -> Rc<Self> {
        Rc::new(Self {
            settings,
            resolver: Resolver::new(settings.forwards_inside, settings.cache).into(),
            upstreams: RefCell::default(),
            exits: RefCell::default(),
            configured: RefCell::default(),
            in_flight: InFlightQueries::new(),
            streams: Semaphore::new(STREAMS),
            generation: Cell::default(),
            port: 53.into(),
            start: Instant::now(),
        })
    }

    /// Serves at these sockets, for ever. They are dual-stack (bound to `[::]`).
    pub async fn serve(
        self: &Rc<Self>,
        udp: std::net::UdpSocket,
        tcp: std::net::TcpListener,
    ) -> io::Result<Infallible> {
        tcp.set_nonblocking(true)?;
        let (udp, tcp) = (DnsSocket::new(udp)?, TcpListener::from_std(tcp)?);
        self.port.set(udp.port()?);
        self.select_upstreams();
        let tasks = LocalSet::new();
        tasks
            .run_until(async {
                spawn_local(udp::serve(Rc::clone(self), Rc::new(udp)));
                Err(tcp::serve(Rc::clone(self), tcp).await)
            })
            .await
    }

    /// Sets the upstreams for names outside, in order of preference. Returns the refused ones.
    pub fn set_upstreams(&self, upstreams: &[SocketAddr]) -> Vec<RefusedUpstream> {
        let [_, exits] = self.configured.borrow().clone();
        self.configure([upstreams.to_vec(), exits])
    }

    /// Sets the upstreams for clients that use an exit node. Returns the refused ones of both
    /// lists.
    pub fn set_exits(&self, exits: &[SocketAddr]) -> Vec<RefusedUpstream> {
        let [upstreams, _] = self.configured.borrow().clone();
        self.configure([upstreams, exits.to_vec()])
    }

    fn configure(&self, configured: [Vec<SocketAddr>; 2]) -> Vec<RefusedUpstream> {
        if self.configured.replace(configured.clone()) != configured {
            self.clear_cache();
        }
        self.select_upstreams()
    }

    /// The upstreams in use for this path.
    pub fn upstreams(&self, path: UpstreamPath) -> Vec<SocketAddr> {
        self.upstreams_of(path).borrow().addresses().collect()
    }

    fn upstreams_of(&self, path: UpstreamPath) -> &RefCell<Upstreams> {
        match path {
            UpstreamPath::Own | UpstreamPath::Guest => &self.upstreams,
            UpstreamPath::Exit => &self.exits,
        }
    }

    /// Sets the client networks and this node's addresses. Returns the refused upstreams.
    pub fn set_box_networks(&self, box_networks: BoxNetworks) -> Vec<RefusedUpstream> {
        if self.resolver.borrow().box_networks != box_networks {
            self.resolver.borrow_mut().box_networks = box_networks;
            self.clear_cache();
        }
        self.select_upstreams()
    }

    pub fn set_box_zone(&self, zone: BoxZone) {
        self.resolver.borrow_mut().box_zone = zone;
    }

    /// Replaces the names of service `unit` below `octet.`.
    ///
    /// # Errors
    /// The unit may not have these names; it keeps the previous ones.
    pub fn register(
        &self,
        unit: &UnitName,
        names: &[(String, Vec<IpAddr>)],
    ) -> Result<(), RegisterError> {
        self.resolver.borrow_mut().zones.register(unit, names)
    }

    /// Removes the names of `unit`.
    pub fn unregister(&self, unit: &UnitName) {
        self.resolver.borrow_mut().zones.unregister(unit);
    }

    pub fn registered(&self) -> Vec<Registered> {
        self.resolver.borrow().zones.registered().collect()
    }

    pub fn counters(&self) -> DnsCounters {
        self.resolver.borrow().counters.clone()
    }

    /// The memory that the cache uses, in bytes.
    pub fn cached_bytes(&self) -> usize {
        self.resolver.borrow().cache.bytes()
    }

    /// Clears the cache, because upstreams or networks have changed.
    fn clear_cache(&self) {
        self.resolver.borrow_mut().cache.clear();
        self.generation.set(self.generation.get() + 1);
    }

    /// Selects the upstreams in use from the configured ones.
    fn select_upstreams(&self) -> Vec<RefusedUpstream> {
        let resolver = self.resolver.borrow();
        let rule = UpstreamRule {
            box_networks: &resolver.box_networks,
            allow_inside: self.settings.forwards_inside,
            allow_loopback: self.settings.upstreams_on_loopback,
            port: self.port.get(),
        };
        let [upstreams, exits] = &*self.configured.borrow();
        let refused = self.upstreams.borrow_mut().set(upstreams, rule);
        refused.into_iter().chain(self.exits.borrow_mut().set(exits, rule)).collect()
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
