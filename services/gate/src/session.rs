//! One operator's connection: requests are authorized and forwarded to units, and answers are
//! returned.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use octet_node::control::operator::OperatorKey;
use octet_node::control::{
    ClientMessage, Failure, FailureCode, FilePiece, Reply, ReplyBody, Request, UnitName,
};
use octet_node::frames::{Broken, Frames, Patience, send};
use octet_node::hello::GATE;
use octet_node::say;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::select;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::gate::{CallerName, Gate, count, shown};
use crate::relay::{RELAY, Relay};
use crate::units::{Answers, Pieces};

/// The maximum size of a message, in bytes (docs/control.md).
const MAX_MESSAGE: usize = 16 << 10;

/// A forwarded request.
struct ForwardedRequest {
    unit: UnitName,
    verb: String,
    args: String,
    /// The channel for file pieces to the unit, and the task that returns its answers; `None` until
    /// the request is sent.
    forwarding: Option<(Rc<Pieces>, AbortHandle)>,
}

/// The pending requests, by their number.
type OpenRequests = Rc<RefCell<HashMap<u64, ForwardedRequest>>>;

/// Serves `operator` on `stream` from address `from`, until either side ends the connection.
///
/// # Errors
/// Why the connection ended, unless the operator closed it.
pub async fn serve<S: AsyncRead + AsyncWrite + 'static>(
    gate: Rc<Gate>,
    stream: S,
    operator: OperatorKey,
    from: String,
) -> Result<(), Broken> {
    let (requests, answers) = tokio::io::split(stream);
    let client = Client { gate, writer: Rc::new(Mutex::new(answers)), operator, from };
    let open = OpenRequests::default();
    // These tasks end with this future, also if it is aborted.
    let mut answered = JoinSet::new();
    let mut requests = Frames::new(requests, MAX_MESSAGE);
    let relay = match client.forward_requests(&mut requests, &open, &mut answered).await {
        Ok(Some(relay)) => relay,
        result => {
            drop(answered);
            for asked in open.borrow().values() {
                client.audit(asked, "broken off");
            }
            return result.map(drop);
        }
    };
    // While this lock is held, no answer is half written.
    let mut to = client.writer.lock().await;
    drop(answered);
    let (id, relay) = relay;
    send(&mut *to, &Reply { id, body: ReplyBody::End(relay.entry.clone()) }).await?;
    match requests.into_inner() {
        Some(from) => Ok(relay.run(from, &mut *to).await?),
        // Bytes that were sent before the answer were not for the board.
        None => Ok(()),
    }
}

/// A relay to start, and the number of the request for it.
type Wanted = (u64, Relay);

struct Client<S> {
    gate: Rc<Gate>,
    writer: Rc<Mutex<WriteHalf<S>>>,
    operator: OperatorKey,
    from: String,
}

impl<S> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self {
            gate: Rc::clone(&self.gate),
            writer: Rc::clone(&self.writer),
            operator: self.operator.clone(),
            from: self.from.clone(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + 'static> Client<S> {
    /// Processes the operator's requests one after the other. File data that a unit has asked for
    /// waits in [`Pieces`]; everything else in flight is in socket buffers.
    async fn forward_requests(
        &self,
        requests: &mut Frames<ReadHalf<S>>,
        open: &OpenRequests,
        answered: &mut JoinSet<()>,
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
            let message = match serde_json::from_slice::<ClientMessage>(&payload) {
                Ok(message) => message,
                Err(error) => {
                    self.refuse_bytes(&error.to_string()).await;
                    return Err(io::Error::from(error).into());
                }
            };
            match message {
                ClientMessage::Piece(piece) => {
                    let id = piece.id;
                    if let Err(failure) = forward_piece(open, piece) {
                        self.end(open, id, ReplyBody::Error(failure)).await?;
                    }
                }
                ClientMessage::Request(request) if is_relay(&request) => {
                    let id = request.id;
                    match self.open_relay(request, open).await {
                        Ok(relay) => return Ok(Some((id, relay))),
                        Err(failure) => self.reply(id, failure).await?,
                    }
                }
                ClientMessage::Request(request) => {
                    self.forward(request, open, answered).await?;
                }
            }
        }
    }

    /// Forwards an authorized request to its unit; one of the tasks `answered` returns the answer.
    async fn forward(
        &self,
        request: Request,
        open: &OpenRequests,
        answered: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let id = request.id;
        let request = match self.authorize(request, open).await {
            Ok(request) => request,
            Err(failure) => return self.reply(id, failure).await,
        };
        let asked = match self.gate.units.request(&self.operator, request).await {
            Ok(asked) => asked,
            Err(failure) => return self.end(open, id, ReplyBody::Error(failure)).await,
        };
        // Reap ended tasks.
        while answered.try_join_next().is_some() {}
        let (client, of, pieces) = (self.clone(), Rc::clone(open), Rc::clone(&asked.pieces));
        let both_ways = async move {
            select! {
                () = client.return_answers(id, asked.answers, &of) => {}
                () = pieces.forward() => {}
            }
        };
        let task = answered.spawn_local(both_ways);
        if let Some(known) = open.borrow_mut().get_mut(&id) {
            known.forwarding = Some((asked.pieces, task));
        }
        Ok(())
    }

    /// Answers malformed bytes.
    async fn refuse_bytes(&self, problem: &str) {
        count(&self.gate.counts.refused);
        say!("{} {} from {}: refused: {problem}", self.operator.name, self.operator.key, self.from);
        let help = "send frames of JSON as docs/control.md describes";
        let failure = Failure::new(FailureCode::BadRequest, problem, help);
        // The operator may have disconnected.
        let _ = self.reply(0, failure).await;
    }

    /// The request in the form for the unit, if the operator is authorized.
    async fn authorize(&self, request: Request, open: &OpenRequests) -> Result<Request, Failure> {
        let Request { id, unit, verb, args, .. } = request;
        let unit = unit.unwrap_or_else(|| self.gate.units.init.clone());
        let asked = ForwardedRequest {
            unit: unit.clone(),
            verb: verb.clone(),
            args: shown(&args),
            forwarding: None,
        };
        let allowed =
            if open.borrow().len() >= self.gate.limits.open || open.borrow().contains_key(&id) {
                Err(no_room())
            } else {
                self.gate.authorize(&self.operator, &unit, &verb).await
            };
        if let Err(failure) = allowed {
            count(&self.gate.counts.refused);
            self.audit(&asked, &format!("refused: {failure}"));
            return Err(failure);
        }
        count(&self.gate.counts.commands);
        self.audit(&asked, "allowed");
        open.borrow_mut().insert(id, asked);
        Ok(Request { id, unit: Some(unit), verb, args, by: None })
    }

    /// Connects to the requested board, unless other requests are pending here.
    async fn open_relay(&self, request: Request, open: &OpenRequests) -> Result<Relay, Failure> {
        if !open.borrow().is_empty() {
            let message =
                "this connection still waits for other answers, so it cannot be handed on";
            let help = "open another connection";
            return Err(Failure::new(FailureCode::Busy, message, help));
        }
        let request = self.authorize(request, open).await?;
        let asked = open.borrow_mut().remove(&request.id);
        let reached = async {
            let unit = request.unit.as_ref().ok_or_else(no_room)?;
            let args = self.gate.units.verb(unit, RELAY).await?.check(request.args.clone())?;
            self.gate.connect(&self.operator, &self.from, &args, &shown(&request.args)).await
        };
        let reached = reached.await;
        if let (Err(failure), Some(asked)) = (&reached, &asked) {
            self.audit(asked, &format!("failed: {failure}"));
        }
        reached
    }

    /// Returns a unit's answers to request `id`, up to the last.
    async fn return_answers(&self, id: u64, mut answers: Answers, open: &OpenRequests) {
        loop {
            let body = answers.next().await;
            let is_last = body.is_last();
            let sent = match is_last {
                true => self.end(open, id, body).await,
                false => self.send(&Reply { id, body }).await,
            };
            if sent.is_err() {
                // The operator does not read any more.
                let _ = self.writer.lock().await.shutdown().await;
                return;
            }
            if is_last {
                return;
            }
        }
    }

    /// Ends the answer to request `id`, unless it has ended.
    async fn end(&self, open: &OpenRequests, id: u64, body: ReplyBody) -> io::Result<()> {
        let Some(asked) = open.borrow_mut().remove(&id) else { return Ok(()) };
        match &body {
            ReplyBody::Error(failure) => self.audit(&asked, &format!("failed: {failure}")),
            _ => self.audit(&asked, "done"),
        }
        self.send(&Reply { id, body }).await
    }

    async fn reply(&self, id: u64, failure: Failure) -> io::Result<()> {
        self.send(&Reply { id, body: ReplyBody::Error(failure) }).await
    }

    async fn send(&self, reply: &Reply) -> io::Result<()> {
        let write = async { send(&mut *self.writer.lock().await, reply).await };
        timeout(self.gate.limits.unread_time, write).await.unwrap_or_else(|_| {
            say!(
                "{} from {}: disconnected, it does not read its answers",
                self.operator.name,
                self.from
            );
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    fn audit(&self, asked: &ForwardedRequest, outcome: &str) {
        let who = CallerName { operator: &self.operator, from: &self.from };
        who.audit(&asked.unit, &asked.verb, &asked.args, outcome);
    }
}

/// Passes a piece of a file to the unit that has asked for it. Pieces for an ended request are
/// ignored: they may have crossed the answer.
///
/// # Errors
/// The unit cannot receive it; its further answers are ignored.
fn forward_piece(open: &OpenRequests, piece: FilePiece) -> Result<(), Failure> {
    let open = open.borrow();
    let under_way = open.get(&piece.id).and_then(|asked| asked.forwarding.as_ref());
    let Some((pieces, task)) = under_way else { return Ok(()) };
    pieces.take(piece).inspect_err(|_| task.abort())
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
