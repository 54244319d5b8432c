//! The daemon: connects sockets, timers and the kernel to the pure engine.

mod accounting;
mod actions;
mod announce;
mod answer;
mod exit;
mod inner;
mod lan_exit;
mod links;
mod metrics;
mod mtu;
mod neighbour_links;
mod path_ends;
mod exit_clients;
mod rates;
mod requests;
mod routes;
mod on_demand;
mod failover;

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
use crate::kernel::nflog::DesiredState;
use crate::state_folder::StateFolder;
use crate::onion::OnionSecret;
use crate::probe::FIRST;
use crate::settings::Settings;
use crate::stamped::StampedDatagram;
use crate::verbs::PendingRequest;
use accounting::Accounting;
use announce::Announcements;
use exit::Exit;
use neighbour_links::{LinkBeat, NeighbourLinks};
use octet_node::address::NodeAddress;
use path_ends::PathEnds;
use routes::Routes;

/// The interval of link probes and of timers.
const BEAT: Duration = Duration::from_secs(1);

/// The interval of path probes.
const WATCH: Duration = Duration::from_millis(150);

/// Events from other units.
#[derive(Debug)]
pub enum DaemonEvent {
    /// The certificate of this service's key has arrived.
    Certified(Box<Certified>),
    /// The membership map has changed.
    Map(Option<Map>),
    /// The forwarding settings have changed.
    Settings(Settings),
    Asked(PendingRequest),
    /// A metrics request.
    Collected(oneshot::Sender<Option<String>>),
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
    wanted: DesiredState,
    heard: UnboundedReceiver<DaemonEvent>,
    own: Option<Certified>,
    map: Option<Map>,
    settings: Settings,
    onion: OnionSecret,
    engine: Engine,
    links: NeighbourLinks,
    announcements: Announcements,
    memory: StateFolder,
    accounting: Accounting,
    ends: PathEnds,
    routes: Routes,
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
        heard: UnboundedReceiver<DaemonEvent>,
        memory: StateFolder,
        settings: Settings,
    ) -> io::Result<Self> {
        let kernel = ForwardKernel::connect().await.map_err(io::Error::other)?;
        let wanted = DesiredState::open().await.map_err(io::Error::other)?;
        Ok(Self {
            kernel,
            wanted,
            heard,
            own: None,
            map: None,
            settings,
            onion: OnionSecret::new(&random().map_err(io::Error::other)?)
                .ok_or_else(|| io::Error::other("no onion key can be made"))?,
            engine: Engine::default(),
            links: NeighbourLinks::new(neighbours)?,
            announcements: Announcements::default(),
            accounting: Accounting::kept(&memory),
            memory,
            ends: PathEnds::new(ends),
            routes: Routes::default(),
            exit: Exit::default(),
        })
    }

    /// Runs forever.
    ///
    /// # Errors
    /// The threads that follow other units have ended.
    pub async fn run(mut self) -> io::Result<()> {
        let (mut beat, mut watch) = (interval(BEAT), interval(WATCH));
        for timer in [&mut beat, &mut watch] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let (mut outer, mut inner) = ([0; LONGEST_PROBE], [0; introduction::LONGEST]);
        loop {
            tokio::select! {
                news = self.heard.recv() => {
                    let gone = || io::Error::other("no other unit is listened to any more");
                    self.learn(news.ok_or_else(gone)?).await;
                }
                Ok(came) = self.links.receive(&mut outer) => {
                    self.outer(&came, &outer[..came.length]).await;
                }
                Ok((length, from)) = self.ends.receive(&mut inner) => {
                    self.inner(from, &inner[..length]).await;
                }
                told = self.wanted.next() => self.want(told),
                _ = beat.tick() => self.beat().await,
                _ = watch.tick(), if !self.routes.desired.ways.is_empty() => self.watch().await,
            }
        }
    }

    async fn learn(&mut self, news: DaemonEvent) {
        match news {
            DaemonEvent::Certified(own) => {
                self.own = Some(*own);
                self.try_link().await;
            }
            DaemonEvent::Map(map) => {
                self.map = map;
                self.forsake_revoked().await;
                self.try_link().await;
            }
            DaemonEvent::Settings(settings) => {
                self.settings = settings;
                self.try_link().await;
            }
            DaemonEvent::Asked(question) => self.answer(question).await,
            DaemonEvent::Collected(answer) => self.collect(answer).await,
        }
    }

    /// Ends all paths to nodes that the map has revoked.
    async fn forsake_revoked(&mut self) {
        let revoked = self.map.iter().flat_map(|map| &map.revoked);
        for node in revoked.map(NodeAddress::of).collect::<Vec<_>>() {
            self.end_way(node).await;
            let actions = self.engine.forsake(node);
            self.act(actions).await;
        }
    }

    /// Configures the links. Failures are retried at the next beat.
    async fn try_link(&mut self) {
        let linked = self.relink().await;
        let why = linked.err().map(|error| error.to_string());
        if let Some(why) = &why
            && self.links.failure.as_ref() != Some(why)
        {
            say!("links are not as they are to be: {why}");
        }
        self.links.failure = why;
    }

    /// The key of this node.
    fn node(&self) -> Option<PublicKey> {
        self.own.as_ref().map(|own| own.certificate.statement().node)
    }

    /// Handles a control message of a neighbour.
    async fn outer(&mut self, came: &StampedDatagram, bytes: &[u8]) {
        let Some((link, message)) = self.links.of(came).zip(LinkMessage::from_bytes(bytes)) else {
            return;
        };
        match message {
            LinkMessage::Probe(number) => {
                self.links.say(link, &LinkMessage::Probed(number)).await;
                if number == FIRST {
                    self.announcements.tell_all(link, &mut self.links).await;
                }
            }
            LinkMessage::Probed(number) => {
                if let Some(open) = self.links.open.get_mut(&link) {
                    open.probes.answered(number, Instant::now());
                }
            }
            LinkMessage::Announcement(bytes) => {
                self.announcements.announced(link, &bytes, &self.links).await;
            }
            LinkMessage::Train { number, place } => {
                let open = self.links.open.get_mut(&link).zip(came.at);
                let fast = open.and_then(|(open, at)| open.trains.came(number, place, at));
                if let Some(kilobits) = fast {
                    self.links.say(link, &LinkMessage::Trained { number, kilobits }).await;
                }
            }
            LinkMessage::MtuProbe(size) => {
                self.links.say(link, &LinkMessage::MtuProbed(size)).await;
            }
            LinkMessage::MtuProbed(size) => {
                if let Some(open) = self.links.open.get_mut(&link) {
                    open.mtu.answered(size);
                }
            }
            LinkMessage::Trained { number, kilobits } => {
                if let Some(open) = self.links.open.get_mut(&link) {
                    open.trains.answered(number, kilobits);
                }
            }
            other => {
                let keys = std::slice::from_ref(&self.onion);
                let actions = self.engine.hear(link, other, keys, seconds(), &mut chance);
                self.act(actions).await;
            }
        }
    }

    async fn beat(&mut self) {
        let (now, at) = (Instant::now(), seconds());
        if self.links.failure.is_some() {
            self.try_link().await;
        }
        let LinkBeat { probes, sizes, trains, risen } = self.links.beat(now);
        for (link, number) in probes {
            self.links.say(link, &LinkMessage::Probe(number)).await;
        }
        for (link, sizes) in sizes {
            self.discover_link(link, sizes).await;
        }
        for (link, train) in trains {
            for message in train {
                self.links.say(link, &message).await;
            }
        }
        // A neighbour whose link comes up has missed earlier announcements.
        for link in risen {
            self.announcements.tell_all(link, &mut self.links).await;
        }
        if let Some(own) = &self.own {
            self.announcements.announce(own, &self.onion, at, &self.links).await;
        }
        self.announcements.tell_in_turn(at, &self.links).await;
        let actions = self.engine.pass(at);
        self.act(actions).await;
        self.introduce_all().await;
        self.discover(now).await;
        self.give_up(now).await;
        self.unwant(now).await;
        self.take_all_due().await;
        self.leave(now).await;
        self.end_places(now).await;
    }
}

/// 32 random bytes. The daemon cannot continue without a random source.
fn chance() -> [u8; 32] {
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
