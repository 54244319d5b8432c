//! What this unit can be asked.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{
    ArgKind, Arguments, Capability, ColumnKind, DESCRIBE, Failure, FailureCode, Request, SOCKETS,
    Verb,
};
use octet_node::say;
use octet_node::serve::threads::{Limits, serve};
use octet_node::settings::{self, Which};
use octet_node::{Callers, PID_1};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::daemon::News;
use crate::settings::Settings;

/// How many clients there may be, how many of them are kept for operators, and how many one user may be.
const LIMITS: Limits = Limits { all: 16, for_operators: 8, of_one: 4 };

/// A question of a client's, and where the answer goes.
#[derive(Debug)]
pub struct Question {
    /// The verb.
    pub verb: String,
    /// What goes with it.
    pub args: Arguments,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Value, Failure>>,
}

/// How long `ping`, `trace` and `path-add` wait.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// All of them.
pub fn verbs() -> Vec<Verb> {
    use Capability::{Operate, Read};
    let path = |verb: Verb| verb.required("path", ArgKind::Integer, "The path's number");
    let own = vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs"),
        Verb::new(
            "status",
            Read,
            "Shows this node's address and name, how much is going on, and who leaves by which node",
        ),
        Verb::new("card", Read, "Shows this node's card, for the [[neighbour]] line of another box"),
        Verb::new("links", Read, "Shows the links to neighbours"),
        Verb::new("paths", Read, "Shows the paths that begin here"),
        Verb::new(
            "labels",
            Read,
            "Shows what has come from each neighbour and gone to it, by label",
        )
        .shown(ColumnKind::Bytes, &["bytes"]),
        Verb::new("records", Read, "Shows what each path through this node has carried")
            .optional("after", ArgKind::Integer, "Of those that have ended, only later ones")
            .shown(ColumnKind::Bytes, &["bytes"]),
        Verb::new("path-add", Operate, "Sets a path up")
            .required(
                "to",
                ArgKind::Text,
                "The node at its end: its name, its address, the board's number, or what a [[neighbour]] line calls it",
            )
            .optional(
                "via",
                ArgKind::Option,
                "The nodes between, in order, with commas; otherwise the shortest way",
            )
            .optional("avoid", ArgKind::Option, "Nodes that it does not pass, with commas")
            .optional(
                "most-milliseconds",
                ArgKind::Integer,
                "What there and back over its links may take at most, as they are announced",
            )
            .optional(
                "least-kilobits",
                ArgKind::Integer,
                "What each of its links carries at least, in kbit/s, as it is announced",
            )
            .optional(
                "most-price",
                ArgKind::Integer,
                "What each relay may ask at most for 2^30 bytes, in millionths of the unit of account",
            )
            .optional("hops", ArgKind::Integer, "How many relays it has at least")
            .optional("rate", ArgKind::Integer, "What it may carry at most each way, in kbit/s")
            .optional(
                "alone",
                ArgKind::Flag,
                "This path only: none to fall back on, and no other where it is dead",
            ),
        path(Verb::new("trace", Read, "Shows a path hop by hop, and asks its other end")),
        path(Verb::new("ping", Read, "Asks the other end of a path whether it is there")),
        path(Verb::new("rate", Operate, "Changes what a path may carry at most, and its way"))
            .required("rate", ArgKind::Integer, "What that is each way, in kbit/s; 0: no bound"),
        path(Verb::new("drop", Operate, "Tears a path down, and the one to fall back on")),
    ];
    own.into_iter().chain(settings::verbs()).collect()
}

/// Serves the `callers` that connect to `listener`, with threads.
///
/// # Errors
/// There are no threads to be had.
pub fn keep(
    listener: UnixListener,
    callers: Callers,
    news: UnboundedSender<News>,
) -> io::Result<()> {
    let answer = move |request: Request| {
        let verbs = verbs();
        let verb = Verb::find(&verbs, &request.verb)?;
        let args = verb.check(request.args)?;
        let gone = || {
            let help = "it is started again by itself: ask once more";
            Failure::new(FailureCode::Failed, "forward has ended", help)
        };
        let read = |which| Settings::read(Path::new(SOCKETS), which);
        match verb.name.as_str() {
            DESCRIBE => return Ok(json!(verbs)),
            CHECK => return Ok(read(Which::Next).map(|_| Value::Null)?),
            APPLY => {
                let settings = read(Which::InForce)?;
                let told = news.send(News::Settings(settings));
                return told.map(|()| Value::Null).map_err(|_| gone());
            }
            _ => {}
        }
        let (answer, answered) = oneshot::channel();
        let question = Question { verb: verb.name.clone(), args, answer };
        news.send(News::Asked(question)).map_err(|_| gone())?;
        answered.blocking_recv().map_err(|_| gone())?
    };
    let run = move || {
        let Err(error) = serve(&listener, &callers, LIMITS, PID_1, move |_, _, it| answer(it));
        say!("the socket is gone: {error}");
    };
    std::thread::Builder::new().name("verbs".into()).spawn(run).map(drop)
}
