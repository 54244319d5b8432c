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
use super::{Coordinator, Unchanged, now};
use crate::registry::{Candidate, JoinDecision};
use crate::message::{FromBoard, FromCoordinator, Join, LONGEST_REPORT};

/// The maximum size of later messages in bytes: a report, or the maximum number of certificates.
const LONGEST: usize = LONGEST_REPORT;

/// The two directions of a connection.
pub struct SessionStream {
    pub frames: Frames<ReadHalf<TlsStream<TcpStream>>>,
    pub to: WriteHalf<TlsStream<TcpStream>>,
}

/// A board that has identified itself and proved its key.
pub struct Newcomer {
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
    told: Option<JoinDecision>,
    /// When its new keys may be in the map, if the rate limit delays them.
    later: Option<Instant>,
    /// The version of the last sent map.
    sent: Option<MapVersion>,
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("it was refused: {0}")]
    Refused(String),
    #[error("it said nothing for too long")]
    Silent,
    #[error("what it said makes no sense: {0}")]
    Nonsense(String),
    #[error("another connection takes its place")]
    Replaced,
    #[error("it has closed the connection")]
    Closed,
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl CoordinatorSession {
    /// Serves a board until either side ends the connection.
    pub async fn run(coordinator: Rc<Coordinator>, newcomer: Newcomer) {
        let Newcomer { mut stream, number, node, key_epoch, join } = newcomer;
        stream.frames.set_limit(LONGEST);
        let complete = join.certificates.is_some();
        let certificates = join.certificates.into_iter().flatten().chain([join.certificate]);
        let certificates = certificates.collect();
        let claims = join.number;
        let candidate = Candidate { claims, node, key_epoch, certificates, complete };
        // Before it is admitted: a coordinator that has lost its registry recovers its boards here.
        if let Some(signed) = &join.map
            && let Err(problem) = coordinator.learn(signed, number, &candidate).await
        {
            // The board keeps its map and presents it again.
            let refused = FromCoordinator::Refused { reason: problem.to_string() };
            let say = async {
                let _ = send(&mut stream.to, &refused).await;
                stream.to.shutdown().await
            };
            let _ = timeout(coordinator.node.limits.unread, say).await;
            return;
        }
        let connection = Rc::new(Notify::new());
        let guard = Guard {
            coordinator: Rc::clone(&coordinator),
            number,
            connection: Rc::clone(&connection),
        };
        let (told, later, sent) = (None, None, None);
        let mut session =
            Self { coordinator, stream, number, candidate, connection, told, later, sent };
        let Err(ended) = session.serve().await;
        match ended {
            // The refusal is logged on its own.
            Ended::Refused(_) => {}
            ended => say!("board {number}: the connection ends: {ended}"),
        }
        let limit = session.coordinator.node.limits.unread;
        let _ = timeout(limit, session.stream.to.shutdown()).await;
        drop(guard);
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, Ended> {
        let limits = self.coordinator.node.limits;
        let mut turn = self.coordinator.turn.subscribe();
        let mut beat = interval(limits.beat);
        let mut heard = Instant::now();
        self.settle().await?;
        loop {
            let later = self.later;
            tokio::select! {
                payload = self.stream.frames.next(FOR_EVER) => {
                    let payload = payload?.ok_or(Ended::Closed)?;
                    let message = FromBoard::parse(&payload)
                        .map_err(|error| Ended::Nonsense(error.to_string()))?;
                    heard = Instant::now();
                    self.hear(message).await?;
                }
                Ok(()) = turn.changed() => self.settle().await?,
                _ = beat.tick() => self.say(&FromCoordinator::Ping).await?,
                () = sleep_until(later.unwrap_or(heard)), if later.is_some() => {
                    self.join().await?;
                }
                () = sleep_until(heard + limits.silence) => return Err(Ended::Silent),
                () = self.connection.notified() => return Err(Ended::Replaced),
            }
        }
    }

    /// Sends the decision and the map to the board.
    async fn settle(&mut self) -> Result<(), Ended> {
        let (number, node) = (self.number, self.candidate.node);
        let is_member = self.told == Some(JoinDecision::Welcome)
            && self
                .coordinator
                .rules()
                .is_ok_and(|it| self.coordinator.book.borrow().has(number, &node, &it));
        let verdict = match is_member {
            true => JoinDecision::Welcome,
            false => self.join().await?,
        };
        if self.told != Some(verdict) {
            self.enter(verdict);
            match verdict {
                JoinDecision::Welcome => {
                    say!("board {number} is here: {node}");
                    self.say(&FromCoordinator::Welcome { number }).await?;
                }
                JoinDecision::Pending => {
                    say!("{node} waits at board {number}: `cluster approve {number}` takes it");
                    self.say(&FromCoordinator::Pending { number }).await?;
                }
            }
            self.told = Some(verdict);
        }
        if verdict == JoinDecision::Pending {
            return Ok(());
        }
        let map = self.coordinator.node.kept.borrow().map.clone();
        let Some(map) = map.filter(|map| self.sent != Some(map.map().version)) else {
            return Ok(());
        };
        self.sent = Some(map.map().version);
        self.say(&FromCoordinator::Map(Box::new(map))).await
    }

    /// Updates the registry with the board's data.
    async fn join(&mut self) -> Result<JoinDecision, Ended> {
        match self.coordinator.join(self.number, &self.candidate).await {
            Ok((verdict, later)) => {
                self.later = later;
                Ok(verdict)
            }
            Err(problem) => Err(self.refuse(&problem).await),
        }
    }

    fn enter(&self, verdict: JoinDecision) {
        let mut present = self.coordinator.present.borrow_mut();
        present.enter(self.number, &self.connection, &self.candidate, verdict);
        if verdict == JoinDecision::Welcome {
            present.heard(self.number, now(), |_| {});
        }
    }

    async fn refuse(&mut self, problem: &Unchanged) -> Ended {
        let (number, node, reason) = (self.number, self.candidate.node, problem.to_string());
        if let Unchanged::Refused(_) = problem {
            let is_news =
                self.coordinator.present.borrow_mut().refuse(number, node, reason.clone());
            if is_news {
                say!("REFUSED: {node} at the port of board {number}: {reason}");
            }
        } else {
            say!("board {number} is not taken now: {reason}");
        }
        let _ = self.say(&FromCoordinator::Refused { reason: reason.clone() }).await;
        Ended::Refused(reason)
    }

    async fn hear(&mut self, message: FromBoard) -> Result<(), Ended> {
        let (number, is_member) = (self.number, self.told == Some(JoinDecision::Welcome));
        let heard = |hear: &dyn Fn(&mut super::connected::NumberStatus)| {
            if is_member {
                self.coordinator.present.borrow_mut().heard(number, now(), hear);
            }
        };
        match message {
            FromBoard::Have(version) => heard(&|line| line.has = Some(version)),
            FromBoard::Report(report) => heard(&|line| line.report = Some(report.clone())),
            FromBoard::Certificates(certificates) => {
                let shown = self.candidate.certificates.pop();
                // The proved certificate is kept, whatever else the board reports.
                self.candidate.certificates = certificates.into_iter().chain(shown).collect();
                (self.candidate.claims, self.candidate.complete) = (None, true);
                // Changes above the rate limit are merged later, with the latest state.
                if self.later.is_none() {
                    self.join().await?;
                }
            }
        }
        Ok(())
    }

    async fn say(&mut self, message: &FromCoordinator) -> Result<(), Ended> {
        let sent =
            timeout(self.coordinator.node.limits.unread, send(&mut self.stream.to, message)).await;
        Ok(sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
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
        self.coordinator.present.borrow_mut().leave(self.number, &self.connection);
    }
}
