//! One board's connection after its identification.

use std::io;
use std::rc::Rc;

use octet_node::control::PublicKey;
use octet_node::frames::{Broken, FOR_EVER, Frames, send};
use octet_node::map::MapVersion;
use octet_node::say;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::connected::NodeConnection;
use super::{Coordinator, CoordinatorError, now};
use crate::message::{FromBoard, FromCoordinator, Join, LONGEST_REPORT};
use crate::registry::{Candidate, JoinDecision};

/// The maximum size of later messages in bytes: a report, or the maximum number of certificates.
const LONGEST: usize = LONGEST_REPORT;

/// The two directions of a connection.
pub struct SessionStream {
    pub frames: Frames<ReadHalf<TlsStream<TcpStream>>>,
    pub writer: WriteHalf<TlsStream<TcpStream>>,
}

/// A board that has identified itself and proved its key.
pub struct JoiningNode {
    pub stream: SessionStream,
    /// The number of its port.
    pub number: u8,
    pub node: PublicKey,
    /// The epoch of its `cluster` key.
    pub key_epoch: u64,
    pub join: Join,
}

pub struct CoordinatorSession {
    coordinator: Rc<Coordinator>,
    stream: SessionStream,
    number: u8,
    candidate: Candidate,
    connection: NodeConnection,
    /// The decision that was sent to the board.
    decision: Option<JoinDecision>,
    /// When its new keys may be in the map, if the rate limit delays them.
    retry_at: Option<Instant>,
    /// The version of the last sent map.
    sent_version: Option<MapVersion>,
}

#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("it was refused: {0}")]
    Refused(String),
    #[error("it timed out")]
    TimedOut,
    #[error("its message is invalid: {0}")]
    Malformed(String),
    #[error("another connection replaces it")]
    Replaced,
    #[error("it has closed the connection")]
    Closed,
}

impl From<io::Error> for SessionEnd {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl CoordinatorSession {
    /// Serves a board until either side ends the connection.
    pub async fn run(coordinator: Rc<Coordinator>, joining: JoiningNode) {
        let JoiningNode { mut stream, number, node, key_epoch, join } = joining;
        stream.frames.set_limit(LONGEST);
        let complete = join.certificates.is_some();
        let certificates = join.certificates.into_iter().flatten().chain([join.certificate]);
        let certificates = certificates.collect();
        let claims = join.number;
        let candidate = Candidate { claims, node, key_epoch, certificates, complete };
        // Before it is admitted: a coordinator that has lost its registry recovers its boards here.
        if let Some(signed) = &join.map
            && let Err(problem) = coordinator.recover(signed, number, &candidate).await
        {
            // The board keeps its map and presents it again.
            let refused = FromCoordinator::Refused { reason: problem.to_string() };
            let say = async {
                let _ = send(&mut stream.writer, &refused).await;
                stream.writer.shutdown().await
            };
            let _ = timeout(coordinator.node.limits.send_timeout, say).await;
            return;
        }
        let connection = Rc::new(Notify::new());
        let guard = Guard {
            coordinator: Rc::clone(&coordinator),
            number,
            connection: Rc::clone(&connection),
        };
        let (decision, later, sent_version) = (None, None, None);
        let mut session = Self {
            coordinator,
            stream,
            number,
            candidate,
            connection,
            decision,
            retry_at: later,
            sent_version,
        };
        let Err(ended) = session.serve().await;
        match ended {
            // The refusal is logged on its own.
            SessionEnd::Refused(_) => {}
            ended => say!("board {number}: the connection ends: {ended}"),
        }
        let limit = session.coordinator.node.limits.send_timeout;
        let _ = timeout(limit, session.stream.writer.shutdown()).await;
        drop(guard);
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, SessionEnd> {
        let limits = self.coordinator.node.limits;
        let mut turn = self.coordinator.turn.subscribe();
        let mut beat = interval(limits.ping_interval);
        let mut heard = Instant::now();
        self.send_update().await?;
        loop {
            let later = self.retry_at;
            tokio::select! {
                payload = self.stream.frames.next(FOR_EVER) => {
                    let payload = payload?.ok_or(SessionEnd::Closed)?;
                    let message = FromBoard::parse(&payload)
                        .map_err(|error| SessionEnd::Malformed(error.to_string()))?;
                    heard = Instant::now();
                    self.handle(message).await?;
                }
                Ok(()) = turn.changed() => self.send_update().await?,
                _ = beat.tick() => self.send(&FromCoordinator::Ping).await?,
                () = sleep_until(later.unwrap_or(heard)), if later.is_some() => {
                    self.join().await?;
                }
                () = sleep_until(heard + limits.idle_timeout) => return Err(SessionEnd::TimedOut),
                () = self.connection.notified() => return Err(SessionEnd::Replaced),
            }
        }
    }

    /// Sends the decision and the map to the board.
    async fn send_update(&mut self) -> Result<(), SessionEnd> {
        let (number, node) = (self.number, self.candidate.node);
        let is_member = self.decision == Some(JoinDecision::Welcome)
            && self
                .coordinator
                .rules()
                .is_ok_and(|it| self.coordinator.registry.borrow().has_key(number, &node, &it));
        let new_decision = match is_member {
            true => JoinDecision::Welcome,
            false => self.join().await?,
        };
        if self.decision != Some(new_decision) {
            self.register(new_decision);
            match new_decision {
                JoinDecision::Welcome => {
                    say!("board {number} is connected: {node}");
                    self.send(&FromCoordinator::Welcome { number }).await?;
                }
                JoinDecision::Pending => {
                    say!("{node} waits at board {number}: `cluster approve {number}` takes it");
                    self.send(&FromCoordinator::Pending { number }).await?;
                }
            }
            self.decision = Some(new_decision);
        }
        if new_decision == JoinDecision::Pending {
            return Ok(());
        }
        let map = self.coordinator.node.persisted.borrow().map.clone();
        let Some(map) = map.filter(|map| self.sent_version != Some(map.map().version)) else {
            return Ok(());
        };
        self.sent_version = Some(map.map().version);
        self.send(&FromCoordinator::Map(Box::new(map))).await
    }

    /// Updates the registry with the board's data.
    async fn join(&mut self) -> Result<JoinDecision, SessionEnd> {
        match self.coordinator.join(self.number, &self.candidate).await {
            Ok((new_decision, later)) => {
                self.retry_at = later;
                Ok(new_decision)
            }
            Err(problem) => Err(self.refuse(&problem).await),
        }
    }

    fn register(&self, new_decision: JoinDecision) {
        let mut connections = self.coordinator.connected.borrow_mut();
        connections.connect(self.number, &self.connection, &self.candidate, new_decision);
        if new_decision == JoinDecision::Welcome {
            connections.record_message(self.number, now(), |_| {});
        }
    }

    async fn refuse(&mut self, problem: &CoordinatorError) -> SessionEnd {
        let (number, node, reason) = (self.number, self.candidate.node, problem.to_string());
        if let CoordinatorError::Refused(_) = problem {
            let is_news = self.coordinator.connected.borrow_mut().record_refusal(
                number,
                node,
                reason.clone(),
            );
            if is_news {
                say!("REFUSED: {node} at the port of board {number}: {reason}");
            }
        } else {
            say!("board {number} cannot be enrolled now: {reason}");
        }
        let _ = self.send(&FromCoordinator::Refused { reason: reason.clone() }).await;
        SessionEnd::Refused(reason)
    }

    async fn handle(&mut self, message: FromBoard) -> Result<(), SessionEnd> {
        let (number, is_member) = (self.number, self.decision == Some(JoinDecision::Welcome));
        let heard = |hear: &dyn Fn(&mut super::connected::NumberStatus)| {
            if is_member {
                self.coordinator.connected.borrow_mut().record_message(number, now(), hear);
            }
        };
        match message {
            FromBoard::Have(version) => heard(&|line| line.map_version = Some(version)),
            FromBoard::Report(report) => heard(&|line| line.report = Some(report.clone())),
            FromBoard::Certificates(certificates) => {
                let shown = self.candidate.certificates.pop();
                // The proved certificate is kept, whatever else the board reports.
                self.candidate.certificates = certificates.into_iter().chain(shown).collect();
                (self.candidate.claims, self.candidate.complete) = (None, true);
                // Changes above the rate limit are merged later, with the latest state.
                if self.retry_at.is_none() {
                    self.join().await?;
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, message: &FromCoordinator) -> Result<(), SessionEnd> {
        let result = timeout(
            self.coordinator.node.limits.send_timeout,
            send(&mut self.stream.writer, message),
        )
        .await;
        Ok(result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
    }
}

/// Unregisters the connection when it is dropped, also if the task is aborted.
struct Guard {
    coordinator: Rc<Coordinator>,
    number: u8,
    connection: NodeConnection,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.coordinator.connected.borrow_mut().disconnect(self.number, &self.connection);
    }
}
