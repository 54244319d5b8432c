//! The daemon: connects sockets, timers and the kernel to the pure engine.

mod account;
mod accounting;
mod actions;
mod announce;
mod answer;
mod exit;
mod exit_clients;
mod failover;
mod inner;
mod lan_exit;
mod links;
mod metrics;
mod mtu;
mod neighbour_links;
mod on_demand;
mod path_ends;
mod private;
mod rates;
mod requests;
mod routes;

pub use metrics::MetricsClient;
pub use rates::rate;

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use octet_node::control::{Failure, PublicKey};
use octet_node::key::random;
use octet_node::map::Map;
use octet_node::say;
use octet_node::sub_key::Certified;
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use crate::control::{LONGEST_PROBE, LinkMessage};
use crate::engine::Engine;
use crate::introduction;
use crate::kernel::ForwardKernel;
use crate::kernel::nflog::NflogSocket;
use crate::onion::OnionSecret;
use crate::probe::FIRST;
use crate::settings::Settings;
use crate::stamped::StampedDatagram;
use crate::state_folder::StateFolder;
use crate::verbs::PendingRequest;
use account::AccountMessages;
use accounting::Accounting;
use announce::Announcements;
use exit::Exit;
use neighbour_links::{LinkBeat, NeighbourLinks};
use octet_node::address::NodeAddress;
use path_ends::PathEnds;
use private::PrivateLeases;
use routes::Routes;

/// The interval of link probes and of timers.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// The interval of path probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(150);

/// Events from other units.
#[derive(Debug)]
pub enum DaemonEvent {
    /// The certificate of this service's key has arrived.
    Certified(Box<Certified>),
    /// The membership map has changed.
    Map(Option<Map>),
    /// The forwarding settings have changed.
    Settings(Settings),
    Request(PendingRequest),
    /// A metrics request.
    CollectMetrics(oneshot::Sender<Option<String>>),
}

/// A request that waits for an answer from another node.
struct Waiting {
    answer: oneshot::Sender<Result<Value, Failure>>,
    since: Instant,
}

/// A ping in flight.
struct Pinged {
    waiting: Waiting,
    /// The hops to print with the result, for `trace`.
    hops: Option<Vec<Value>>,
}

pub struct Daemon {
    kernel: ForwardKernel,
    /// Reports the destinations of packets without a route.
    nflog: NflogSocket,
    events: UnboundedReceiver<DaemonEvent>,
    identity: Option<Certified>,
    map: Option<Map>,
    settings: Settings,
    onion_secret: OnionSecret,
    engine: Engine,
    links: NeighbourLinks,
    announcements: Announcements,
    state: StateFolder,
    accounting: Accounting,
    account_messages: AccountMessages,
    path_ends: PathEnds,
    routes: Routes,
    private_leases: PrivateLeases,
    exit: Exit,
}

impl Daemon {
    /// Prepares the kernel.
    ///
    /// # Errors
    /// The kernel refuses, or provides no random bytes.
    pub async fn open(
        neighbours: UdpSocket,
        ends: UdpSocket,
        events: UnboundedReceiver<DaemonEvent>,
        state: StateFolder,
        settings: Settings,
    ) -> io::Result<Self> {
        let kernel = ForwardKernel::connect().await.map_err(io::Error::other)?;
        let nflog = NflogSocket::open().await.map_err(io::Error::other)?;
        Ok(Self {
            kernel,
            nflog,
            events,
            identity: None,
            map: None,
            settings,
            onion_secret: OnionSecret::new(&random().map_err(io::Error::other)?)
                .ok_or_else(|| io::Error::other("no onion key can be made"))?,
            engine: Engine::default(),
            links: NeighbourLinks::new(neighbours)?,
            announcements: Announcements::default(),
            accounting: Accounting::load(&state)?,
            account_messages: AccountMessages::default(),
            state,
            path_ends: PathEnds::new(ends),
            routes: Routes::default(),
            private_leases: PrivateLeases::default(),
            exit: Exit::default(),
        })
    }

    /// Runs forever.
    ///
    /// # Errors
    /// The threads that follow other units have ended.
    pub async fn run(mut self) -> io::Result<()> {
        let (mut beat, mut watch) = (interval(TICK_INTERVAL), interval(PROBE_INTERVAL));
        for timer in [&mut beat, &mut watch] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let (mut outer, mut inner) = ([0; LONGEST_PROBE], [0; introduction::LONGEST]);
        loop {
            tokio::select! {
                news = self.events.recv() => {
                    let gone = || io::Error::other("no other unit is listened to any more");
                    self.handle_event(news.ok_or_else(gone)?).await;
                }
                Ok(datagram) = self.links.receive(&mut outer) => {
                    self.handle_link_message(&datagram, &outer[..datagram.length]).await;
                }
                Ok((length, from)) = self.path_ends.receive(&mut inner) => {
                    self.handle_path_message(from, &inner[..length]).await;
                }
                destinations = self.nflog.next() => self.start_on_demand(destinations),
                _ = beat.tick() => self.tick().await,
                _ = watch.tick(), if !self.routes.desired.routes.is_empty() => self.probe_routes().await,
            }
        }
    }

    async fn handle_event(&mut self, event: DaemonEvent) {
        match event {
            DaemonEvent::Certified(own) => {
                self.identity = Some(*own);
                self.configure_links().await;
            }
            DaemonEvent::Map(map) => {
                self.map = map;
                self.end_revoked_paths().await;
                self.configure_links().await;
            }
            DaemonEvent::Settings(settings) => {
                self.settings = settings;
                self.configure_links().await;
            }
            DaemonEvent::Request(question) => self.handle_request(question).await,
            DaemonEvent::CollectMetrics(answer) => self.collect(answer).await,
        }
    }

    /// Ends all paths to nodes that the map has revoked.
    async fn end_revoked_paths(&mut self) {
        let revoked = self.map.iter().flat_map(|map| &map.revoked);
        for node in revoked.map(NodeAddress::of).collect::<Vec<_>>() {
            self.end_route(node).await;
            let actions = self.engine.revoke_node(node);
            self.apply(actions).await;
        }
    }

    /// Configures the links. Failures are retried at the next beat.
    async fn configure_links(&mut self) {
        let linked = self.reconcile_links().await;
        let why = linked.err().map(|error| error.to_string());
        if let Some(why) = &why
            && self.links.failure.as_ref() != Some(why)
        {
            say!("the links are not as configured: {why}");
        }
        self.links.failure = why;
    }

    /// The key of this node.
    fn node(&self) -> Option<PublicKey> {
        self.identity.as_ref().map(|own| own.certificate.body().node)
    }

    /// Handles a control message of a neighbour.
    async fn handle_link_message(&mut self, datagram: &StampedDatagram, bytes: &[u8]) {
        let Some((link, message)) =
            self.links.link_of(datagram).zip(LinkMessage::from_bytes(bytes))
        else {
            return;
        };
        match message {
            LinkMessage::Probe(number) => {
                self.links.send(link, &LinkMessage::ProbeReply(number)).await;
                if number == FIRST {
                    self.announcements.send_all(link, &mut self.links).await;
                }
            }
            LinkMessage::ProbeReply(number) => {
                if let Some(open) = self.links.open.get_mut(&link) {
                    open.probes.handle_reply(number, Instant::now());
                }
            }
            LinkMessage::Announcement(bytes) => {
                self.announcements.handle_announcement(link, &bytes, &self.links).await;
            }
            LinkMessage::Train { number, position } => {
                let open = self.links.open.get_mut(&link).zip(datagram.at);
                let fast = open.and_then(|(open, at)| open.trains.receive(number, position, at));
                if let Some(kilobits) = fast {
                    self.links.send(link, &LinkMessage::TrainReply { number, kilobits }).await;
                }
            }
            LinkMessage::MtuProbe(size) => {
                self.links.send(link, &LinkMessage::MtuProbeReply(size)).await;
            }
            LinkMessage::MtuProbeReply(size) => {
                if let Some(open) = self.links.open.get_mut(&link) {
                    open.mtu.handle_reply(size);
                }
            }
            LinkMessage::Account(bytes) => self.receive_account_message(link, bytes),
            LinkMessage::TrainReply { number, kilobits } => {
                if let Some(open) = self.links.open.get_mut(&link) {
                    open.trains.handle_result(number, kilobits);
                }
            }
            other => {
                let keys = std::slice::from_ref(&self.onion_secret);
                let actions =
                    self.engine.handle_message(link, other, keys, seconds(), &mut random_bytes);
                self.apply(actions).await;
            }
        }
    }

    async fn tick(&mut self) {
        let (now, at) = (Instant::now(), seconds());
        if self.links.failure.is_some() {
            self.configure_links().await;
        }
        let LinkBeat { probes, sizes, trains, came_up } = self.links.beat(now);
        for (link, number) in probes {
            self.links.send(link, &LinkMessage::Probe(number)).await;
        }
        for (link, sizes) in sizes {
            self.discover_link(link, sizes).await;
        }
        for (link, train) in trains {
            for message in train {
                self.links.send(link, &message).await;
            }
        }
        // A neighbour whose link comes up has missed earlier announcements.
        for link in came_up {
            self.announcements.send_all(link, &mut self.links).await;
        }
        if let Some(own) = &self.identity {
            self.announcements.announce(own, &self.onion_secret, at, &self.links).await;
        }
        self.announcements.send_next(at, &self.links).await;
        let actions = self.engine.tick(at);
        self.apply(actions).await;
        self.repeat_introductions().await;
        self.discover(now).await;
        self.time_out_requests(now).await;
        self.end_unused(now).await;
        self.end_unrenewed(now).await;
        self.reroute_all().await;
        self.maintain_exit(now).await;
        self.expire_slots(now).await;
    }
}

/// 32 random bytes. The daemon cannot continue without a random source.
fn random_bytes() -> [u8; 32] {
    loop {
        if let Ok(bytes) = random() {
            return bytes;
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds() -> u64 {
    since_1970().as_secs()
}

fn milliseconds() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}
