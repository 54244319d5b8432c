//! One operator's connection: what it asks goes to PID 1 if it may, what PID 1 answers comes back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use octet_node::control::operator::OperatorKey;
use octet_node::control::{
    By, Failure, FailureCode, INIT, Message, Reply, ReplyBody, Request, UnitName,
};
use octet_node::frames::{Broken, Frames, Patience, send};
use octet_node::hello::GATE;
use octet_node::say;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use crate::gate::{Gate, Who, count, shown};
use crate::init::{Link, elsewhere};
use crate::relay::{RELAY, Relay};

/// The largest message that is taken, in bytes (docs/control.md).
const MAX_MESSAGE: usize = 16 << 10;

/// A request that was handed on.
struct Asked {
    unit: UnitName,
    verb: String,
    args: String,
}

/// Requests without the end of an answer, by their number.
type Open = Rc<RefCell<HashMap<u64, Asked>>>;

/// Serves `operator`, who is connected by `stream` from `from`, until one of the two ends it.
///
/// # Errors
/// Why it ended, if not by the operator's will.
pub async fn serve<S: AsyncRead + AsyncWrite + 'static>(
    gate: Rc<Gate>,
    stream: S,
    operator: OperatorKey,
    from: String,
) -> Result<(), Broken> {
    let (requests, answers) = tokio::io::split(stream);
    let mut client =
        Client { gate: Rc::clone(&gate), to: Rc::new(Mutex::new(answers)), operator, from };
    let link = match gate.init.connect().await {
        Ok(link) => link,
        Err(failure) => return client.reply(0, failure).await.map_err(Broken::Io),
    };
    let open = Open::default();
    let Link { mut answers, mut asks } = link;
    let back = {
        let (client, open) = (client.clone(), Rc::clone(&open));
        spawn_local(async move {
            client.hand_back(&mut answers, &open).await;
            // PID 1 says nothing more, or the operator reads nothing more.
            let _ = client.to.lock().await.shutdown().await;
        })
    };
    let back = EndsWith(back.abort_handle());
    let mut requests = Frames::new(requests, MAX_MESSAGE);
    let result = client.hand_on(&mut requests, &mut asks, &open).await;
    let relay = match result {
        Ok(Some(relay)) => relay,
        result => {
            drop(back);
            for asked in open.borrow().values() {
                client.audit(asked, "broken off");
            }
            return result.map(drop);
        }
    };
    // Nobody else writes any more: whoever holds this is not in the middle of an answer.
    let mut to = client.to.lock().await;
    drop(back);
    let (id, relay) = relay;
    send(&mut *to, &Reply { id, body: ReplyBody::End(relay.entry.clone()) }).await?;
    match requests.into_inner() {
        Some(from) => Ok(relay.run(from, &mut *to).await?),
        // What was sent before the answer was not for the board.
        None => Ok(()),
    }
}

/// A connection that is to be handed on, and the number of the request for it.
type Wanted = (u64, Relay);

/// A task that ends when this is dropped: also when whoever waits for it is ended.
struct EndsWith(AbortHandle);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Client<S> {
    gate: Rc<Gate>,
    to: Rc<Mutex<WriteHalf<S>>>,
    operator: OperatorKey,
    from: String,
}

impl<S> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self {
            gate: Rc::clone(&self.gate),
            to: Rc::clone(&self.to),
            operator: self.operator.clone(),
            from: self.from.clone(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite> Client<S> {
    /// Hands on what the operator asks, one after the other: PID 1's socket and the operator's own
    /// are all the room there is for what is under way.
    async fn hand_on(
        &mut self,
        requests: &mut Frames<ReadHalf<S>>,
        asks: &mut tokio::net::unix::OwnedWriteHalf,
        open: &Open,
    ) -> Result<Option<Wanted>, Broken> {
        let limits = self.gate.limits;
        loop {
            let waits = !open.borrow().is_empty();
            let first = if waits { None } else { Some(limits.idle_time) };
            let patience = Patience { first, rest: Some(limits.frame_time) };
            let payload = match requests.next(patience).await {
                Ok(None) => return Ok(None),
                Ok(Some(payload)) => payload,
                Err(broken) => {
                    self.refuse_bytes(&broken.to_string()).await;
                    return Err(broken);
                }
            };
            let message = match serde_json::from_slice::<Message>(&payload) {
                Ok(message) => message,
                Err(error) => {
                    self.refuse_bytes(&error.to_string()).await;
                    return Err(io::Error::from(error).into());
                }
            };
            let message = match message {
                // A piece of a request that has its answer may have crossed it on the way.
                Message::Piece(piece) if !open.borrow().contains_key(&piece.id) => continue,
                Message::Piece(piece) => Message::Piece(piece),
                Message::Request(request) if is_relay(&request) => {
                    let id = request.id;
                    match self.reach(request, open).await {
                        Ok(relay) => return Ok(Some((id, relay))),
                        Err(failure) => self.reply(id, failure).await?,
                    }
                    continue;
                }
                Message::Request(request) => match self.judge(request, open).await {
                    Ok(request) => Message::Request(request),
                    Err((id, failure)) => {
                        self.reply(id, failure).await?;
                        continue;
                    }
                },
            };
            send(asks, &message).await?;
        }
    }

    /// What was sent is no request.
    async fn refuse_bytes(&self, problem: &str) {
        count(&self.gate.counts.refused);
        say!("{} {} from {}: refused: {problem}", self.operator.name, self.operator.key, self.from);
        let help = "send frames of JSON as docs/control.md describes";
        let failure = Failure::new(FailureCode::BadRequest, problem, help);
        // It may have gone.
        let _ = self.reply(0, failure).await;
    }

    /// The request as PID 1 is to get it, if the operator may.
    async fn judge(&self, request: Request, open: &Open) -> Result<Request, (u64, Failure)> {
        let Request { id, unit, verb, args, .. } = request;
        let unit = unit.or_else(|| INIT.parse().ok()).ok_or_else(|| (id, no_room()))?;
        let asked = Asked { unit: unit.clone(), verb: verb.clone(), args: shown(&args) };
        let allowed =
            if open.borrow().len() >= self.gate.limits.open || open.borrow().contains_key(&id) {
                Err(no_room())
            } else {
                self.gate.allow(&self.operator, &unit, &verb).await
            };
        if let Err(failure) = allowed {
            count(&self.gate.counts.refused);
            self.audit(&asked, &format!("refused: {failure}"));
            return Err((id, failure));
        }
        count(&self.gate.counts.commands);
        self.audit(&asked, "allowed");
        open.borrow_mut().insert(id, asked);
        let by = Some(By::Operator(self.operator.key));
        Ok(Request { id, unit: elsewhere(&unit), verb, args, by })
    }

    /// Connects to the board that the operator asks for, if nothing else is under way here.
    async fn reach(&self, request: Request, open: &Open) -> Result<Relay, Failure> {
        if !open.borrow().is_empty() {
            let message =
                "this connection still waits for other answers, so it cannot be handed on";
            let help = "open another connection";
            return Err(Failure::new(FailureCode::Busy, message, help));
        }
        let request = self.judge(request, open).await.map_err(|(_, failure)| failure)?;
        let asked = open.borrow_mut().remove(&request.id);
        let reached = async {
            let unit = request.unit.as_ref().ok_or_else(no_room)?;
            let args = self.gate.init.verb(unit, RELAY).await?.check(request.args.clone())?;
            self.gate.reach(&self.operator, &self.from, &args, &shown(&request.args)).await
        };
        let reached = reached.await;
        if let (Err(failure), Some(asked)) = (&reached, &asked) {
            self.audit(asked, &format!("failed: {failure}"));
        }
        reached
    }

    /// Hands back what PID 1 answers, for as long as it does.
    async fn hand_back(&self, answers: &mut Frames<tokio::net::unix::OwnedReadHalf>, open: &Open) {
        while let Ok(Some(payload)) = answers.next(octet_node::frames::FOR_EVER).await {
            let Ok(reply) = octet_node::frames::reply(&payload) else { return };
            let outcome = match &reply.body {
                ReplyBody::End(_) => Some("done".to_owned()),
                ReplyBody::Error(failure) => Some(format!("failed: {failure}")),
                _ => None,
            };
            if let Some(outcome) = outcome {
                let asked = open.borrow_mut().remove(&reply.id);
                if let Some(asked) = asked {
                    self.audit(&asked, &outcome);
                }
            }
            if self.send(&reply).await.is_err() {
                return;
            }
        }
    }

    async fn reply(&self, id: u64, failure: Failure) -> io::Result<()> {
        self.send(&Reply { id, body: ReplyBody::Error(failure) }).await
    }

    async fn send(&self, reply: &Reply) -> io::Result<()> {
        let write = async { send(&mut *self.to.lock().await, reply).await };
        timeout(self.gate.limits.unread_time, write).await.unwrap_or_else(|_| {
            say!(
                "{} from {}: leaves its answers unread, and is cut off",
                self.operator.name,
                self.from
            );
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    fn audit(&self, asked: &Asked, outcome: &str) {
        let who = Who { operator: &self.operator, from: &self.from };
        who.audit(&asked.unit, &asked.verb, &asked.args, outcome);
    }
}

fn is_relay(request: &Request) -> bool {
    request.verb == RELAY && request.unit.as_ref().is_some_and(|unit| unit.as_str() == GATE)
}

fn no_room() -> Failure {
    Failure::new(
        FailureCode::Busy,
        "too many requests of this connection wait for an answer, or this one has a number that does",
        "wait for an answer, or open another connection",
    )
}
