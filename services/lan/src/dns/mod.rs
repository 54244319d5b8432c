//! Names: answers the box's own, keeps them in the box, and asks upstreams for all others
//! (`docs/names.md`).
//!
//! What is decided is decided without clock or socket ([`Resolver`](resolver::Resolver) and what it is
//! made of); [`Dns`] is the edge around it. One thread does all of it.

pub mod answer;
mod ask;
pub mod cache;
pub mod counters;
pub mod exchange;
pub mod filter;
mod flights;
pub mod inside;
mod nodes;
pub mod own;
mod places;
pub mod prefix;
pub mod query;
mod rates;
pub mod resolver;
mod reverse;
mod socket;
mod tcp;
mod turns;
mod udp;
pub mod upstreams;
pub mod way;
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

use counters::DnsCounters;
use flights::Flights;
use inside::Inside;
use own::BoxZone;
use resolver::Resolver;
use socket::DnsSocket;
use upstreams::{RefusedUpstream, UpstreamRule, Upstreams};
use way::UpstreamPath;
use zones::{RegisterError, Registered};

/// The pause after the kernel could not give what has come.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Upstreams that are asked by TCP at once.
const STREAMS: usize = 32;

/// What stays as it is from the start on.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether upstreams are of the box and know its names: on a board, whose upstream is its router.
    pub forwards_inside: bool,
    /// Whether another program of this node may be an upstream, at another port.
    pub upstreams_on_loopback: bool,
    /// What the cache holds, in bytes.
    pub cache: usize,
    /// How long an upstream is waited for before another one is asked.
    pub patience: Duration,
}

/// The resolver of a node.
#[derive(Debug)]
pub struct Dns {
    settings: Settings,
    resolver: RefCell<Resolver>,
    upstreams: RefCell<Upstreams>,
    /// Those of clients that leave by another node.
    exits: RefCell<Upstreams>,
    /// Both as they were told, whether they may be asked or not.
    wanted: RefCell<[Vec<SocketAddr>; 2]>,
    flights: Flights,
    /// Room for answers of upstreams by TCP.
    streams: Semaphore,
    /// Grows when what was learned so far counts no more.
    generation: Cell<u64>,
    port: Cell<u16>,
    start: Instant,
}

impl Default for Settings {
    fn default() -> Self {
        let patience = Duration::from_millis(1500);
        Self { forwards_inside: false, upstreams_on_loopback: false, cache: 1 << 20, patience }
    }
}

impl Dns {
    /// Nobody but the node itself may ask, and there is nobody to be asked.
    pub fn new(settings: Settings) -> Rc<Self> {
        Rc::new(Self {
            settings,
            resolver: Resolver::new(settings.forwards_inside, settings.cache).into(),
            upstreams: RefCell::default(),
            exits: RefCell::default(),
            wanted: RefCell::default(),
            flights: Flights::new(),
            streams: Semaphore::new(STREAMS),
            generation: Cell::default(),
            port: 53.into(),
            start: Instant::now(),
        })
    }

    /// Answers at these sockets, for good. They are for both versions of IP (bound to `[::]`).
    pub async fn serve(
        self: &Rc<Self>,
        udp: std::net::UdpSocket,
        tcp: std::net::TcpListener,
    ) -> io::Result<Infallible> {
        tcp.set_nonblocking(true)?;
        let (udp, tcp) = (DnsSocket::new(udp)?, TcpListener::from_std(tcp)?);
        self.port.set(udp.port()?);
        self.choose();
        let tasks = LocalSet::new();
        tasks
            .run_until(async {
                spawn_local(udp::keep(Rc::clone(self), Rc::new(udp)));
                Err(tcp::keep(Rc::clone(self), tcp).await)
            })
            .await
    }

    /// Who is asked for names from outside, the best first. Says which of them are not.
    pub fn set_upstreams(&self, upstreams: &[SocketAddr]) -> Vec<RefusedUpstream> {
        let [_, exits] = self.wanted.borrow().clone();
        self.set([upstreams.to_vec(), exits])
    }

    /// Who is asked for them by clients that leave by another node. Says which of all are not asked.
    pub fn set_exits(&self, exits: &[SocketAddr]) -> Vec<RefusedUpstream> {
        let [upstreams, _] = self.wanted.borrow().clone();
        self.set([upstreams, exits.to_vec()])
    }

    fn set(&self, wanted: [Vec<SocketAddr>; 2]) -> Vec<RefusedUpstream> {
        if self.wanted.replace(wanted.clone()) != wanted {
            self.forget_answers();
        }
        self.choose()
    }

    /// Who is asked now by this way.
    pub fn upstreams(&self, way: UpstreamPath) -> Vec<SocketAddr> {
        self.asked(way).borrow().addresses().collect()
    }

    fn asked(&self, way: UpstreamPath) -> &RefCell<Upstreams> {
        match way {
            UpstreamPath::Own | UpstreamPath::Guest => &self.upstreams,
            UpstreamPath::Exit => &self.exits,
        }
    }

    /// The networks whose hosts may ask, and this node in them. Says which upstreams are not asked.
    pub fn set_inside(&self, inside: Inside) -> Vec<RefusedUpstream> {
        if self.resolver.borrow().inside != inside {
            self.resolver.borrow_mut().inside = inside;
            self.forget_answers();
        }
        self.choose()
    }

    pub fn set_own(&self, own: BoxZone) {
        self.resolver.borrow_mut().own = own;
    }

    /// Gives the service `unit` these names below `octet.`, instead of those that it has.
    ///
    /// # Errors
    /// It may not have them, and keeps those that it has.
    pub fn register(
        &self,
        unit: &UnitName,
        names: &[(String, Vec<IpAddr>)],
    ) -> Result<(), RegisterError> {
        self.resolver.borrow_mut().zones.register(unit, names)
    }

    /// Takes back the names of `unit`.
    pub fn forget(&self, unit: &UnitName) {
        self.resolver.borrow_mut().zones.forget(unit);
    }

    pub fn registered(&self) -> Vec<Registered> {
        self.resolver.borrow().zones.registered().collect()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> DnsCounters {
        self.resolver.borrow().counters.clone()
    }

    /// What the cache holds, in bytes.
    pub fn cached_bytes(&self) -> usize {
        self.resolver.borrow().cache.bytes()
    }

    /// What others have said is not what these say, nor about these networks.
    fn forget_answers(&self) {
        self.resolver.borrow_mut().cache.clear();
        self.generation.set(self.generation.get() + 1);
    }

    /// Sees who of those that are wanted may be asked.
    fn choose(&self) -> Vec<RefusedUpstream> {
        let resolver = self.resolver.borrow();
        let rule = UpstreamRule {
            inside: &resolver.inside,
            in_the_box: self.settings.forwards_inside,
            on_loopback: self.settings.upstreams_on_loopback,
            port: self.port.get(),
        };
        let [upstreams, exits] = &*self.wanted.borrow();
        let refused = self.upstreams.borrow_mut().set(upstreams, rule);
        refused.into_iter().chain(self.exits.borrow_mut().set(exits, rule)).collect()
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
