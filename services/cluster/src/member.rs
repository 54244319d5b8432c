//! A board's side: it connects to the coordinator, identifies itself, and stores the map.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use octet_node::control::PublicKey;
use octet_node::digest::sha256;
use octet_node::frames::{FOR_EVER, Frames, Patience, send};
use octet_node::map::SignedMap;
use octet_node::say;
use octet_node::sub_key::Certified;
use octet_node::tls::{self, AlpnProtocol};
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, ReadHalf, WriteHalf, split};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::message::{CoordinatorHello, FromBoard, FromCoordinator, Have, Join, LONGEST};
use crate::node::ClusterNode;
use crate::pin::{CoordinatorProof, MapUpdate, Pin};
use crate::status_row::{SeenByCoordinator, with_report};

pub struct MemberConnection {
    node: Rc<ClusterNode>,
    number: u8,
    coordinator: SocketAddr,
    state: RefCell<State>,
}

/// The state of the connection to the coordinator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    /// Not connected, with the reason of the last failure.
    #[default]
    Disconnected,
    Broken(String),
    Pending,
    Enrolled,
}

/// A connection to the trusted coordinator.
struct CoordinatorLink {
    frames: Frames<ReadHalf<TlsStream<TcpStream>>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    pin: Pin,
}

impl MemberConnection {
    /// Board `number`, with the coordinator at `coordinator`.
    pub fn new(node: Rc<ClusterNode>, number: u8, coordinator: SocketAddr) -> Rc<Self> {
        Rc::new(Self { node, number, coordinator, state: RefCell::default() })
    }

    /// Stays connected to the coordinator, forever.
    pub async fn run(&self) {
        let limits = self.node.limits;
        let (mut retry_delay, mut problem) = (limits.retry_delay, String::new());
        loop {
            let Err(why) = self.run_session().await;
            let was_there = matches!(
                self.state.replace(State::Broken(why.clone())),
                State::Enrolled | State::Pending
            );
            // The same problem is logged once.
            if why != problem {
                say!("no connection to the coordinator at {}: {why}", self.coordinator);
                problem = why;
            }
            if was_there {
                retry_delay = limits.retry_delay;
                problem.clear();
            }
            sleep(retry_delay).await;
            retry_delay = (retry_delay * 2).min(limits.max_retry_delay);
        }
    }

    /// Connects, and serves the connection until it breaks.
    async fn run_session(&self) -> Result<std::convert::Infallible, String> {
        let mut own = self.node.identity.certified.clone();
        let certified =
            own.borrow_and_update().clone().ok_or("this node has no certified key yet")?;
        let limit = self.node.limits.handshake_timeout;
        let mut certificates = self.node.identity.certificates.clone();
        // Later changes are sent once it is connected.
        certificates.mark_unchanged();
        let linked = timeout(limit, self.connect(&certified)).await;
        let mut link = linked.map_err(|_| "it took too long to say who it is".to_owned())??;
        let limits = self.node.limits;
        let mut reports = self.node.report.clone();
        let (mut ping, mut last_received) = (interval(limits.ping_interval), Instant::now());
        loop {
            tokio::select! {
                payload = link.frames.next(FOR_EVER) => {
                    let payload = payload.map_err(|error| error.to_string())?;
                    let payload = payload.ok_or("it has closed the connection")?;
                    let message = FromCoordinator::parse(&payload).map_err(|error| error.to_string())?;
                    last_received = Instant::now();
                    self.handle(message, &mut link).await?;
                }
                _ = ping.tick() => {
                    let report = reports.borrow_and_update().to_json();
                    self.send(&mut link.writer, &FromBoard::Report(report)).await?;
                }
                Ok(()) = reports.changed() => ping.reset_immediately(),
                Ok(()) = certificates.changed() => {
                    let Some(all) = certificates.borrow_and_update().clone() else { continue };
                    self.send(&mut link.writer, &FromBoard::Certificates(all)).await?;
                }
                Ok(()) = own.changed() => {
                    // Another key needs another connection; a new certificate of the same key does
                    // not.
                    let other = own.borrow_and_update().as_ref().map(|it| it.key.public());
                    if other != Some(certified.key.public()) {
                        return Err("this node shows another key".to_owned());
                    }
                }
                () = sleep_until(last_received + limits.idle_timeout) => {
                    return Err("it timed out".to_owned());
                }
            }
        }
    }

    async fn connect(&self, certified: &Certified) -> Result<CoordinatorLink, String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let stream = self.tcp().await.map_err(|error| words(&error))?;
        let config =
            tls::client(&certified.key, AlpnProtocol::Cluster).map_err(|error| words(&error))?;
        let connected = TlsConnector::from(config).connect(tls::any_name(), stream).await;
        let stream = connected.map_err(|error| words(&error))?;
        let key = tls::peer_key(stream.get_ref().1.peer_certificates());
        let key = key.ok_or("its key is no ed25519 key")?;
        let (from, mut to) = split(stream);
        let mut frames = Frames::new(from, LONGEST);
        let patience = Patience { first: None, rest: None };
        let payload = frames.next(patience).await.map_err(|error| words(&error))?;
        let payload = payload.ok_or("it said nothing")?;
        let hello = CoordinatorHello::parse(&payload).map_err(|error| words(&error))?;
        let (pin, node) = self.verify(&hello, key)?;
        let join = self.join(certified, &hello, node);
        self.send(&mut to, &join).await?;
        Ok(CoordinatorLink { frames, writer: to, pin })
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let source: Option<IpAddr> = (self.node.addressing.source_of)(self.number);
        let stream = match source {
            None => TcpStream::connect(self.coordinator).await?,
            Some(source) => {
                let socket =
                    if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
                socket.bind(SocketAddr::new(source, 0))?;
                socket.connect(self.coordinator).await?
            }
        };
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Checks that the sender of `hello`, with the proved `key`, is the coordinator.
    fn verify(&self, hello: &CoordinatorHello, key: PublicKey) -> Result<(Pin, PublicKey), String> {
        let (node, key_epoch) = hello.node(key).map_err(|error| error.to_string())?;
        let (epoch, statement) = (hello.version.epoch, hello.statement);
        let shown = CoordinatorProof { node, key_epoch, epoch, statement };
        let persisted = self.node.persisted.borrow();
        if let Some(trouble) = &self.node.trouble
            && persisted.pin.is_none()
            && statement.is_none()
        {
            return Err(format!(
                "{trouble}: only a coordinator that an owner has stated is believed"
            ));
        }
        let judged = persisted.verify(&shown, &self.node.settings.borrow().owners);
        let pin = judged.map_err(|error| format!("REFUSED: {error}"))?;
        Ok((pin, node))
    }

    fn join(
        &self,
        certified: &Certified,
        hello: &CoordinatorHello,
        coordinator: PublicKey,
    ) -> Join {
        let persisted = self.node.persisted.borrow();
        let have = persisted
            .map
            .as_ref()
            .map(|it| Have { coordinator: it.map().coordinator, version: it.map().version });
        // The map is sent if the coordinator may lack it; even one with the same number may differ
        // after a restore.
        let digest = persisted.map.as_ref().map(|it| sha256(it.text().as_bytes()));
        let unknown =
            have.is_some_and(|have| have.coordinator != coordinator) || digest != hello.digest;
        Join {
            certificate: certified.certificate.clone(),
            number: Some(self.number),
            certificates: self.node.identity.certificates.borrow().clone(),
            have,
            map: persisted.map.clone().filter(|_| unknown),
        }
    }

    async fn handle(
        &self,
        message: FromCoordinator,
        link: &mut CoordinatorLink,
    ) -> Result<(), String> {
        match message {
            FromCoordinator::Ping => {}
            FromCoordinator::Pending { .. } => {
                self.state.replace(State::Pending);
            }
            FromCoordinator::Welcome { number } if number == self.number => {
                self.state.replace(State::Enrolled);
            }
            FromCoordinator::Welcome { number } => {
                return Err(format!(
                    "it says that this is board {number}, and this is {}",
                    self.number
                ));
            }
            FromCoordinator::Refused { reason } => {
                return Err(format!("it refuses this node: {reason}"));
            }
            FromCoordinator::Map(signed) => {
                let pin = Pin { key_epoch: link.pin.key_epoch.max(signed.key_epoch()), ..link.pin };
                let persisted = self.node.persisted.borrow().clone();
                let news = persisted.accept(&link.pin, &signed);
                let news = news.map_err(|error| format!("REFUSED: {error}"))?;
                let version = signed.map().version;
                let mut next = persisted.clone();
                (next.pin, next.number) = (Some(pin), Some(self.number));
                if news == MapUpdate::New {
                    next.map = Some(*signed);
                }
                if next != persisted {
                    let persisted = self.node.persist(next).await;
                    persisted.map_err(|error| format!("the map cannot be kept: {error}"))?;
                    say!("map {} of epoch {}", version.sequence, version.epoch);
                }
                link.pin = pin;
                self.send(&mut link.writer, &FromBoard::Have(version)).await?;
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        message: &impl serde::Serialize,
    ) -> Result<(), String> {
        match timeout(self.node.limits.send_timeout, send(to, message)).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err("it does not read".to_owned()),
        }
    }

    /// The members of the box, as far as a board knows.
    pub fn status(&self) -> Value {
        let persisted = self.node.persisted.borrow();
        let map = persisted.map.as_ref().map(SignedMap::map);
        let report = self.node.report.borrow();
        let own = |row| with_report(row, &report, &SeenByCoordinator::default());
        let members = map.iter().flat_map(|map| {
            map.members.iter().map(|member| {
                let state = match () {
                    () if member.drained => "drained",
                    () if member.node == map.coordinator => "coordinator",
                    () => "enrolled",
                };
                let row = json!({ "number": member.number, "state": state, "node": member.node });
                if member.number == self.number { own(row) } else { row }
            })
        });
        let mut nodes: Vec<Value> = members.collect();
        if !nodes.iter().any(|row| row["number"] == self.number) {
            nodes.push(own(json!({ "number": self.number, "state": "not enrolled" })));
        }
        json!({
            "role": "board",
            "number": self.number,
            "more": format!("the coordinator knows how each is: `octetctl --box {} status --box`", self.coordinator.ip()),
            "nodes": nodes,
        })
    }

    pub fn show(&self) -> Value {
        let persisted = self.node.persisted.borrow();
        let state = match &*self.state.borrow() {
            State::Disconnected => "not connected yet".to_owned(),
            State::Broken(why) => format!("not connected: {why}"),
            State::Pending => {
                "an owner has to approve it: `cluster approve` on the coordinator".to_owned()
            }
            State::Enrolled => "enrolled".to_owned(),
        };
        let version = persisted.version();
        json!({
            "role": "board",
            "number": self.number,
            "state": state,
            "coordinator": persisted.pin.map(|pin| pin.coordinator),
            "at": self.coordinator,
            "epoch": version.map(|version| version.epoch),
            "sequence": version.map(|version| version.sequence),
        })
    }
}
