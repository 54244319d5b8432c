//! This unit's socket.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use octet_node::Callers;
use octet_node::control::{Failure, FailureCode, Message, Reply, ReplyBody, Request, Verb};
use octet_node::frames::{FOR_EVER, Frames, send};
use octet_node::map::MAP;
use octet_node::say;
use serde_json::json;
use tokio::io::AsyncWrite;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::node::Node;
use crate::verbs::{answer, verbs};

/// How many connections are served at once.
const MOST: usize = 48;

/// How many of them are kept for PID 1, which asks for operators.
const FOR_ROOT: usize = 16;

/// How many one other user may have.
const MOST_OF_ONE: usize = 4;

/// The largest message that is taken, in bytes (docs/control.md).
const MAX_MESSAGE: usize = 16 << 10;

/// How long an answer may be left unread.
const UNREAD: Duration = Duration::from_secs(60);

/// The pause after the kernel could not give a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// How often each user is connected.
type Connected = Rc<RefCell<HashMap<u32, usize>>>;

/// Serves the `callers` that connect to `listener`, for good.
pub async fn keep(node: Rc<Node>, listener: UnixListener, callers: Callers) {
    let (connected, callers) = (Connected::default(), Rc::new(callers));
    let mut tasks = JoinSet::new();
    loop {
        let stream = tokio::select! {
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    say!("no connection could be taken: {error}");
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let Some(uid) = stream.peer_cred().ok().map(|peer| peer.uid()) else { continue };
        let Some(place) = callers.knows(uid).then(|| Place::take(&connected, uid)).flatten() else {
            continue;
        };
        let (node, callers) = (Rc::clone(&node), Rc::clone(&callers));
        tasks.spawn_local(async move {
            let _place = place;
            // Whoever breaks the connection knows why.
            let _ = converse(&node, stream, uid, &callers).await;
        });
    }
}

async fn converse(node: &Node, stream: UnixStream, uid: u32, callers: &Callers) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut frames = Frames::new(from, MAX_MESSAGE);
    while let Ok(Some(payload)) = frames.next(FOR_EVER).await {
        let request = match serde_json::from_slice(&payload) {
            Ok(Message::Request(request)) => request,
            Ok(Message::Piece(_)) => continue,
            Err(error) => {
                let help = "send frames of JSON as docs/control.md describes";
                let failure = Failure::new(FailureCode::BadRequest, error.to_string(), help);
                return say(&mut to, 0, ReplyBody::Error(failure)).await;
            }
        };
        let id = request.id;
        let answered = match callers.check(uid, &request.verb) {
            Ok(()) => judge(node, request, id, &mut frames, &mut to).await?,
            Err(failure) => Err(failure),
        };
        say(&mut to, id, answered.map_or_else(ReplyBody::Error, ReplyBody::End)).await?;
    }
    Ok(())
}

async fn judge(
    node: &Node,
    request: Request,
    id: u64,
    frames: &mut Frames<OwnedReadHalf>,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Result<serde_json::Value, Failure>> {
    let verbs = verbs();
    let verb = Verb::find(&verbs, &request.verb);
    let checked = verb.and_then(|verb| Ok((verb, verb.check(request.args)?)));
    match checked {
        Ok((verb, _)) if verb.name == MAP => follow(node, id, frames, to).await.map(Ok),
        Ok((verb, args)) => Ok(answer(node, &verb.name, &args).await),
        Err(failure) => Ok(Err(failure)),
    }
}

/// Gives the map at once, and whenever there is a newer one, until the client is gone or says something.
async fn follow(
    node: &Node,
    id: u64,
    frames: &mut Frames<OwnedReadHalf>,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<serde_json::Value> {
    let mut update = node.update.subscribe();
    loop {
        let item = json!(&*update.borrow_and_update());
        say(to, id, ReplyBody::Item(item)).await?;
        tokio::select! {
            changed = update.changed() => changed.map_err(io::Error::other)?,
            ended = frames.next(FOR_EVER) => {
                // What it says further is not asked on this connection.
                ended.map_err(io::Error::other)?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

async fn say(to: &mut (impl AsyncWrite + Unpin), id: u64, body: ReplyBody) -> io::Result<()> {
    let sent = timeout(UNREAD, send(to, &Reply { id, body })).await;
    sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// One of those who are connected.
struct Place {
    of: Connected,
    uid: u32,
}

impl Place {
    fn take(of: &Connected, uid: u32) -> Option<Self> {
        let mut users = of.borrow_mut();
        let all: usize = users.values().sum();
        let own = users.entry(uid).or_default();
        let room = if uid == 0 { all < MOST } else { all < MOST - FOR_ROOT && *own < MOST_OF_ONE };
        *own += usize::from(room);
        room.then(|| Self { of: Rc::clone(of), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(count) = self.of.borrow_mut().get_mut(&self.uid) {
            *count -= 1;
        }
    }
}
