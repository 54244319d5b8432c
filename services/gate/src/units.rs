//! Connections to the units, PID 1 included. The gate calls each unit at its own socket and may
//! impersonate operators.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use octet_node::control::file::Relayed;
use octet_node::control::operator::OperatorKey;
use octet_node::control::{
    By, ClientMessage, DESCRIBE, Failure, FailureCode, FilePiece, INIT, MAX_PAYLOAD, PublicKey,
    Reply, ReplyBody, Request, STATUS, UnitName, Verb, connect_failure, encode, no_answer,
};
use octet_node::frames::{FOR_EVER, Frames, reply};
use octet_node::limits::{Permit, Permits};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::places::SessionLimits;

/// The timeout for a unit to describe itself, or to accept a connection or a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before connecting again to a unit whose backlog is full.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// The maximum number of operators' requests per unit: below the connection limit of any unit.
const TO_UNIT: SessionLimits = SessionLimits { all: 7, for_own: 3, of_one: 3, of_one_own: 3 };

/// The same for PID 1, which reserves half of its connections for operators.
const TO_INIT: SessionLimits = SessionLimits { all: 28, for_own: 8, of_one: 8, of_one_own: 16 };

/// The units, and their cached verbs.
pub struct UnitVerbs {
    /// PID 1's unit name.
    pub init: UnitName,
    sockets: PathBuf,
    verbs: RefCell<HashMap<UnitName, Rc<Vec<Verb>>>>,
    places: RefCell<HashMap<UnitName, Permits<PublicKey>>>,
    /// The number of buffered file bytes for units.
    held: Arc<AtomicUsize>,
}

/// The part of PID 1's answer that is needed.
#[derive(Deserialize)]
struct Status {
    units: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: UnitName,
}

/// A request at a unit.
pub struct UnitRequest {
    /// The channel for file pieces.
    pub pieces: Rc<Pieces>,
    pub answers: Answers,
}

/// The buffered pieces of a request's file. Data that the unit has asked for but does not read yet
/// waits here, because the operator's connection carries other requests, too, and must not block on
/// one unit.
pub struct Pieces {
    unit: UnitName,
    to: OwnedWriteHalf,
    relayed: RefCell<Relayed>,
    filled: Notify,
}

/// A unit's answers to a request.
pub struct Answers {
    unit: UnitName,
    id: u64,
    from: Frames<OwnedReadHalf>,
    pieces: Rc<Pieces>,
    _place: Option<Permit<PublicKey>>,
}

impl UnitVerbs {
    /// The units with sockets in the folder `sockets`.
    pub fn new(sockets: &Path) -> io::Result<Self> {
        let init = INIT.parse().map_err(io::Error::other)?;
        let (sockets, (verbs, places, held)) = (sockets.to_owned(), Default::default());
        Ok(Self { init, sockets, verbs, places, held })
    }

    /// Calls a unit on behalf of `operator`. Each request has its own connection, so that none
    /// blocks another.
    ///
    /// # Errors
    /// The limit is reached, there is no such unit, or it does not accept the request.
    pub async fn request(
        &self,
        operator: &OperatorKey,
        request: Request,
    ) -> Result<UnitRequest, Failure> {
        let mut request = Request { by: Some(By::Operator(operator.key)), ..request };
        let unit = request.take_unit().unwrap_or_else(|| self.init.clone());
        let places = self.places.borrow_mut().entry(unit.clone()).or_default().clone();
        let room = if unit.as_str() == INIT { TO_INIT } else { TO_UNIT };
        let place = room.admit(&places, operator).ok_or_else(|| {
            let message = format!("too many operators wait for `{unit}`, or this one too often");
            let help = "end another request, or try again later";
            Failure::new(FailureCode::Busy, message, help)
        })?;
        self.send(unit, request, Some(place)).await
    }

    async fn send(
        &self,
        unit: UnitName,
        request: Request,
        place: Option<Permit<PublicKey>>,
    ) -> Result<UnitRequest, Failure> {
        let stream = match connect(&self.sockets.join(format!("{unit}.sock"))).await {
            Ok(stream) => stream,
            Err(error) if unit.as_str() == INIT => {
                return Err(no_answer(unit.as_str(), &error.to_string()));
            }
            Err(error) => {
                let status = Box::pin(self.query(&self.init, STATUS)).await?;
                return Err(connect_failure(unit.as_str(), &status, &error.to_string()));
            }
        };
        let (from, to) = stream.into_split();
        let from = Frames::new(from, MAX_PAYLOAD);
        let relayed = Relayed::new(&self.held).into();
        let pieces = Rc::new(Pieces { unit: unit.clone(), to, relayed, filled: Notify::new() });
        let (id, of) = (request.id, Rc::clone(&pieces));
        let answers = Answers { unit, id, from, pieces: of, _place: place };
        // A new connection that is writable has room for a whole frame.
        let ready = timeout(TIMEOUT, pieces.to.writable()).await;
        if !matches!(ready, Ok(Ok(()))) {
            return Err(no_answer(pieces.unit.as_str(), "it does not take a request"));
        }
        pieces.write(request)?;
        Ok(UnitRequest { pieces, answers })
    }

    /// The verb `name` of `unit`, by the unit's description. Descriptions do not change while the
    /// box runs, so they are cached.
    ///
    /// # Errors
    /// The unit does not exist, or does not answer, or has no such verb.
    pub async fn verb(&self, unit: &UnitName, name: &str) -> Result<Verb, Failure> {
        Verb::find(&self.verbs(unit).await?, name).cloned()
    }

    /// All verbs of `unit`, cached in the same way.
    ///
    /// # Errors
    /// The unit does not exist, or does not answer.
    pub async fn verbs(&self, unit: &UnitName) -> Result<Rc<Vec<Verb>>, Failure> {
        // The capabilities that PID 1's verbs require depend on whether the slot is on trial.
        let is_kept = unit.as_str() != INIT;
        if is_kept && let Some(verbs) = self.verbs.borrow().get(unit) {
            return Ok(Rc::clone(verbs));
        }
        let verbs: Rc<Vec<Verb>> = Rc::new(self.query(unit, DESCRIBE).await?);
        self.verbs.borrow_mut().insert(unit.clone(), Rc::clone(&verbs));
        Ok(verbs)
    }

    pub async fn names(&self) -> Result<Vec<UnitName>, Failure> {
        let status: Status = self.query(&self.init, STATUS).await?;
        Ok(status.units.into_iter().map(|unit| unit.name).collect())
    }

    /// Calls a verb without arguments for the gate itself, whose answer is one item.
    async fn query<T: DeserializeOwned>(&self, unit: &UnitName, verb: &str) -> Result<T, Failure> {
        let asked = async {
            let (verb, args) = (verb.to_owned(), Map::new());
            let request = Request { id: 1, unit: None, verb, args, by: None };
            let mut asked = self.send(unit.clone(), request, None).await?;
            match asked.answers.next().await {
                ReplyBody::Error(failure) => Err(failure),
                ReplyBody::End(end) => serde_json::from_value(end)
                    .map_err(|error| no_answer(unit.as_str(), &error.to_string())),
                _ => Err(no_answer(unit.as_str(), "it answers in pieces")),
            }
        };
        let answered = timeout(TIMEOUT, asked).await;
        answered.unwrap_or_else(|_| Err(no_answer(unit.as_str(), "it takes too long")))
    }
}

impl Pieces {
    /// Writes the request at once and whole.
    ///
    /// # Errors
    /// The unit does not accept it.
    fn write(&self, request: Request) -> Result<(), Failure> {
        let mut frame = Vec::new();
        let json = serde_json::to_vec(&ClientMessage::Request(request)).ok();
        if json.is_none_or(|json| encode(&json, &mut frame).is_err()) {
            return Err(no_answer(self.unit.as_str(), "the request does not fit a frame"));
        }
        match self.to.try_write(&frame) {
            Ok(count) if count == frame.len() => Ok(()),
            _ => Err(no_answer(self.unit.as_str(), "it does not read its requests")),
        }
    }

    /// Buffers a piece; [`forward`](Self::forward) sends it to the unit.
    ///
    /// # Errors
    /// The unit has not asked for it, or the buffer is full.
    pub fn take(&self, piece: FilePiece) -> Result<(), Failure> {
        self.relayed.borrow_mut().take(piece)?;
        self.filled.notify_one();
        Ok(())
    }

    /// Forwards pieces as long as it is polled. A unit that stops reading is detected by the reader
    /// of its answers.
    pub async fn forward(&self) {
        while self.to.writable().await.is_ok() {
            match self.send() {
                Ok(true) => {}
                // A piece that is buffered before this waits ends the wait at once.
                Ok(false) => self.filled.notified().await,
                Err(_) => break,
            }
        }
        pending::<()>().await;
    }

    /// Sends as much as the unit accepts now. Returns whether something remains.
    fn send(&self) -> io::Result<bool> {
        let mut relayed = self.relayed.borrow_mut();
        while let Some(next) = relayed.pending() {
            match self.to.try_write(next) {
                Ok(count) => relayed.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

impl Answers {
    /// The unit's next answer; a failure if the unit ends the connection early.
    pub async fn next(&mut self) -> ReplyBody {
        loop {
            let why = match self.from.next(FOR_EVER).await {
                Ok(Some(payload)) => match reply(&payload) {
                    // Answers to other requests are ignored.
                    Ok(Reply { id, .. }) if id != self.id => continue,
                    Ok(Reply { body: ReplyBody::Want(want), .. }) => {
                        let added = self.pieces.relayed.borrow_mut().want(want);
                        return added.map_or_else(ReplyBody::Error, |()| ReplyBody::Want(want));
                    }
                    Ok(Reply { body, .. }) => return body,
                    Err(_) => "it does not speak the control protocol".to_owned(),
                },
                Ok(None) => "it closed the connection".to_owned(),
                Err(error) => error.to_string(),
            };
            return ReplyBody::Error(no_answer(self.unit.as_str(), &why));
        }
    }
}

/// Connects to the socket at `path`. If the backlog is full, it retries.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let end = Instant::now() + TIMEOUT;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                sleep(RETRY_DELAY).await;
            }
            connected => return connected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    use std::os::unix::net::UnixListener;
    use tokio::task::{LocalSet, spawn_local};

    #[test]
    fn who_finds_others_waiting_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unit.sock");
        let unit = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&unit, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&unit, 0).unwrap();
        let unit = UnixListener::from(unit);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let mut waiting = vec![];
            while let Ok(stream) = UnixStream::connect(&path).await {
                waiting.push(stream);
            }
            assert!(!waiting.is_empty());
            let task = spawn_local(async move { connect(&path).await.map(drop) });
            sleep(RETRY_DELAY * 3).await;
            assert!(!task.is_finished());
            unit.accept().unwrap();
            task.await.unwrap().unwrap();
        });
    }
}
