//! The daemon: connects sockets, timers and the kernel to the pure engine.

mod accounting;
mod act;
mod announce;
mod answer;
mod exit;
mod inner;
mod leaving;
mod links;
mod metrics;
mod mtu;
mod places;
mod rates;
mod requests;
mod wanted;
mod ways;

pub use metrics::MetricsClient;
pub use rates::rate;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
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

use crate::capacity::Trains;
use crate::control::{LONGEST_PROBE, LinkMessage, PORT, is_of_forward};
use crate::desired::Desired;
use crate::engine::{Engine, LinkNumber, PathNumber};
use crate::introduction;
use crate::kernel::ForwardKernel;
use crate::kernel::wanted::DesiredState;
use crate::memory::StateFolder;
use crate::mtu::{Discovery, NARROW};
use crate::neighbour::LinkNeighbour;
use crate::onion::OnionSecret;
use crate::probe::{FIRST, Probes};
use crate::settings::Settings;
use crate::stamped::{Stamped, StampedDatagram};
use crate::topology::Topology;
use crate::verbs::PendingRequest;
use accounting::Accounting;
use exit::Exit;
use octet_node::address::NodeAddress;

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

/// The state of a link.
struct Open {
    neighbour: LinkNeighbour,
    probes: Probes,
    trains: Trains,
    /// The MTU discovery; on a plain link the MTU is known.
    mtu: Discovery,
    /// The MTU that is configured in the kernel.
    reach: u16,
    /// Whether the link was up at the last check.
    is_up: bool,
    /// When all known announcements were last sent to the neighbour.
    told: Option<Instant>,
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
    neighbours: Stamped,
    ends: UdpSocket,
    heard: UnboundedReceiver<DaemonEvent>,
    own: Option<Certified>,
    map: Option<Map>,
    settings: Settings,
    onion: OnionSecret,
    engine: Engine,
    /// The known network, once this node's own key is known.
    topology: Option<Topology>,
    /// How many announcements were repeated in turn.
    turns: usize,
    open: BTreeMap<LinkNumber, Open>,
    /// The keys of this node and of its `forward` that the links were made with.
    linked_as: Option<(PublicKey, PublicKey)>,
    /// Why the links could not be configured.
    unlinked: Option<String>,
    memory: StateFolder,
    /// The links of the previous daemon, until its paths are taken over.
    linked_before: BTreeMap<LinkNumber, Vec<u8>>,
    accounting: Accounting,
    /// The interface indices of path ends.
    devices: BTreeMap<PathNumber, u32>,
    /// Path ends whose peer uses an outdated introduction. The warning is logged once.
    outdated: BTreeSet<PathNumber>,
    /// The pings in flight, by their tokens.
    pings: HashMap<u64, Pinged>,
    /// The routes, and the requests that wait for one.
    desired: Desired<Waiting>,
    /// When the use of routes was last checked.
    looked: Option<Instant>,
    /// The path MTUs, by the local ends.
    mtus: BTreeMap<PathNumber, Discovery>,
    /// The path that packets to each node take.
    uses: BTreeMap<Ipv6Addr, PathNumber>,
    /// The probes of the paths that begin here.
    watched: BTreeMap<PathNumber, Probes>,
    /// When these paths were requested.
    begun: BTreeMap<PathNumber, Instant>,
    /// Relays of failed paths, with the time of the last failure.
    failed: BTreeMap<NodeAddress, Instant>,
    /// When this node last announced its links, which ones, and whether their capacity was known.
    told: Option<(u64, Vec<(LinkNumber, bool)>)>,
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
            neighbours: Stamped::new(neighbours)?,
            ends,
            heard,
            own: None,
            map: None,
            settings,
            onion: OnionSecret::new(&random().map_err(io::Error::other)?)
                .ok_or_else(|| io::Error::other("no onion key can be made"))?,
            engine: Engine::default(),
            topology: None,
            turns: 0,
            open: BTreeMap::new(),
            linked_as: None,
            unlinked: None,
            accounting: Accounting::kept(&memory),
            memory,
            linked_before: BTreeMap::new(),
            devices: BTreeMap::new(),
            outdated: BTreeSet::new(),
            pings: HashMap::new(),
            desired: Desired::default(),
            looked: None,
            mtus: BTreeMap::new(),
            uses: BTreeMap::new(),
            watched: BTreeMap::new(),
            begun: BTreeMap::new(),
            failed: BTreeMap::new(),
            told: None,
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
                Ok(came) = self.neighbours.receive(&mut outer) => {
                    self.outer(&came, &outer[..came.length]).await;
                }
                Ok((length, from)) = self.ends.recv_from(&mut inner) => {
                    self.inner(from, &inner[..length]).await;
                }
                told = self.wanted.next() => self.want(told),
                _ = beat.tick() => self.beat().await,
                _ = watch.tick(), if !self.desired.ways.is_empty() => self.watch().await,
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
            && self.unlinked.as_ref() != Some(why)
        {
            say!("links are not as they are to be: {why}");
        }
        self.unlinked = why;
    }

    /// The key of this node.
    fn node(&self) -> Option<PublicKey> {
        self.own.as_ref().map(|own| own.certificate.statement().node)
    }

    /// Handles a control message of a neighbour.
    async fn outer(&mut self, came: &StampedDatagram, bytes: &[u8]) {
        let is_it = |open: &Open| is_of_forward(open.neighbour.ends.1, came.from);
        let found = self.open.iter().find(|(_, open)| is_it(open));
        let Some((link, message)) =
            found.map(|(link, _)| *link).zip(LinkMessage::from_bytes(bytes))
        else {
            return;
        };
        match message {
            LinkMessage::Probe(number) => {
                self.say(link, &LinkMessage::Probed(number)).await;
                if number == FIRST {
                    self.tell_all(link).await;
                }
            }
            LinkMessage::Probed(number) => {
                if let Some(open) = self.open.get_mut(&link) {
                    open.probes.answered(number, Instant::now());
                }
            }
            LinkMessage::Announcement(bytes) => self.announced(link, &bytes).await,
            LinkMessage::Train { number, place } => {
                let open = self.open.get_mut(&link).zip(came.at);
                let fast = open.and_then(|(open, at)| open.trains.came(number, place, at));
                if let Some(kilobits) = fast {
                    self.say(link, &LinkMessage::Trained { number, kilobits }).await;
                }
            }
            LinkMessage::MtuProbe(size) => self.say(link, &LinkMessage::MtuProbed(size)).await,
            LinkMessage::MtuProbed(size) => {
                if let Some(open) = self.open.get_mut(&link) {
                    open.mtu.answered(size);
                }
            }
            LinkMessage::Trained { number, kilobits } => {
                if let Some(open) = self.open.get_mut(&link) {
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

    async fn say(&self, link: LinkNumber, message: &LinkMessage) {
        let Some(open) = self.open.get(&link) else { return };
        let to = SocketAddr::from((open.neighbour.ends.1, PORT));
        // Lost messages are repeated, or the receiver times out.
        let _ = self.neighbours.send(&message.to_bytes(), to).await;
    }

    async fn beat(&mut self) {
        let (now, at) = (Instant::now(), seconds());
        if self.unlinked.is_some() {
            self.try_link().await;
        }
        let (mut risen, mut trains, mut sizes) = (vec![], vec![], vec![]);
        let probes: Vec<_> = self
            .open
            .iter_mut()
            .map(|(link, open)| {
                let answers = open.probes.quality().is_up;
                if answers && open.neighbour.plain.is_none() {
                    let was_narrow = open.mtu.is_narrow();
                    sizes.push((*link, open.mtu.next(now)));
                    if open.mtu.is_narrow() && !was_narrow {
                        say!("{} carries no paths: {NARROW}", link.device());
                    }
                }
                let is_up = answers && !open.mtu.is_narrow();
                if is_up && !open.is_up {
                    risen.push(*link);
                }
                open.is_up = is_up;
                if is_up {
                    trains.push((*link, open.trains.next(now)));
                }
                (*link, open.probes.next(now))
            })
            .collect();
        for (link, number) in probes {
            self.say(link, &LinkMessage::Probe(number)).await;
        }
        for (link, sizes) in sizes {
            self.discover_link(link, sizes).await;
        }
        for (link, train) in trains {
            for message in train {
                self.say(link, &message).await;
            }
        }
        // A neighbour whose link comes up has missed earlier announcements.
        for link in risen {
            self.tell_all(link).await;
        }
        self.announce(at).await;
        self.tell_in_turn(at).await;
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
