//! What this unit can be asked.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use octet_node::Callers;
use octet_node::control::{Capability, ColumnKind, Failure, FailureCode, SOCKETS, Verb};
use octet_node::say;
use octet_node::serve::threads::{Call, Limits, Verbs, serve};
use octet_node::serve::verbs::{Takes, flag, integer, nothing, option, optional_integer, text};
use octet_node::settings::Which;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::constraints::Wanted;
use crate::daemon::{News, rate};
use crate::engine::PathNumber;
use crate::settings::{Settings, UnknownSettings};

/// How many clients there may be, how many of them are kept for operators, and how many one user may be.
const LIMITS: Limits = Limits { all: 16, for_operators: 8, of_one: 4 };

/// A question of a client's, and where the answer goes.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub asked: Asked,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Value, Failure>>,
}

/// What the daemon is asked, a verb each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// `status`
    Status,
    /// `card`
    Card,
    /// `links`
    Links,
    /// `paths`
    Paths,
    /// `labels`
    Labels,
    /// `records`; of those that have ended, only later ones.
    Records {
        /// Than this.
        after: u64,
    },
    /// `path-add`
    Add(Box<Wanted>),
    /// `trace`
    Trace(PathNumber),
    /// `ping`
    Ping(PathNumber),
    /// `rate`, in kbit/s; 0 is no bound.
    Rate(PathNumber, u32),
    /// `drop`
    Drop(PathNumber),
}

/// How long `ping`, `trace` and `path-add` wait.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// Where questions go.
type Desk = UnboundedSender<News>;

/// All of them.
pub fn verbs() -> Verbs<Desk> {
    use Capability::{Operate, Read};

    let path = || integer("path", "The path's number").parse(path_number);
    let show = |asked: Asked| move |desk: &Desk, _: &mut Call<'_>, ()| ask(desk, asked.clone());
    Verbs::default()
        .with(
            Verb::new(
                "status",
                Read,
                "Shows this node's address and name, how much is going on, and who leaves by which node",
            ),
            nothing(),
            show(Asked::Status),
        )
        .with(
            Verb::new(
                "card",
                Read,
                "Shows this node's card, for the [[neighbour]] line of another box",
            ),
            nothing(),
            show(Asked::Card),
        )
        .with(
            Verb::new("links", Read, "Shows the links to neighbours"),
            nothing(),
            show(Asked::Links),
        )
        .with(
            Verb::new("paths", Read, "Shows the paths that begin here"),
            nothing(),
            show(Asked::Paths),
        )
        .with(
            Verb::new(
                "labels",
                Read,
                "Shows what has come from each neighbour and gone to it, by label",
            )
            .shown(ColumnKind::Bytes, &["bytes"]),
            nothing(),
            show(Asked::Labels),
        )
        .with(
            Verb::new("records", Read, "Shows what each path through this node has carried")
                .shown(ColumnKind::Bytes, &["bytes"]),
            optional_integer("after", "Of those that have ended, only later ones"),
            |desk, _, after| ask(desk, Asked::Records { after: after.unwrap_or_default() }),
        )
        .with(Verb::new("path-add", Operate, "Sets a path up"), wanted(), |desk, _, wanted| {
            ask(desk, Asked::Add(Box::new(wanted)))
        })
        .with(
            Verb::new("trace", Read, "Shows a path hop by hop, and asks its other end"),
            path(),
            |desk, _, path| ask(desk, Asked::Trace(path)),
        )
        .with(
            Verb::new("ping", Read, "Asks the other end of a path whether it is there"),
            path(),
            |desk, _, path| ask(desk, Asked::Ping(path)),
        )
        .with(
            Verb::new("rate", Operate, "Changes what a path may carry at most, and its way"),
            path().and(
                integer("rate", "What that is each way, in kbit/s; 0: no bound").parse(rate),
            ),
            |desk, _, (path, rate)| ask(desk, Asked::Rate(path, rate)),
        )
        .with(
            Verb::new("drop", Operate, "Tears a path down, and the one to fall back on"),
            path(),
            |desk, _, path| ask(desk, Asked::Drop(path)),
        )
        .with_metrics(|desk| {
            let (answer, answered) = oneshot::channel();
            desk.send(News::Collected(answer)).ok()?;
            answered.blocking_recv().ok()?
        })
        .with_settings(
            |_| Ok(settings(Which::Next).map(drop)?),
            |desk| {
                let settings = settings(Which::InForce)?;
                desk.send(News::Settings(settings)).map_err(|_| gone())
            },
        )
}

/// What `path-add` takes.
fn wanted() -> Takes<Wanted> {
    let to = text(
        "to",
        "The node at its end: its name, its address, the board's number, or what a [[neighbour]] line calls it",
    );
    let via = option("via", "The nodes between, in order, with commas; otherwise the shortest way");
    let avoid = option("avoid", "Nodes that it does not pass, with commas");
    let milliseconds = optional_integer(
        "most-milliseconds",
        "What there and back over its links may take at most, as they are announced",
    );
    let kilobits = optional_integer(
        "least-kilobits",
        "What each of its links carries at least, in kbit/s, as it is announced",
    );
    let price = optional_integer(
        "most-price",
        "What each relay may ask at most for 2^30 bytes, in millionths of the unit of account",
    );
    let hops = optional_integer("hops", "How many relays it has at least");
    let most = optional_integer("rate", "What it may carry at most each way, in kbit/s")
        .parse(|asked| asked.map_or(Ok(0), rate));
    let alone =
        flag("alone", "This path only: none to fall back on, and no other where it is dead");
    let nodes = to.and(via).and(avoid);
    let limits = milliseconds.and(kilobits).and(price).and(hops);
    nodes.and(limits).and(most.and(alone)).parse(|((nodes, limits), (rate, alone))| {
        let ((to, via), avoid) = nodes;
        let (((milliseconds, kilobits), price), hops) = limits;
        Ok(Wanted { to, via, avoid, milliseconds, kilobits, price, hops, rate, alone })
    })
}

fn path_number(number: u64) -> Result<PathNumber, Failure> {
    u16::try_from(number).map(PathNumber).map_err(|_| {
        let help = "`forward paths` lists them";
        Failure::new(FailureCode::BadArgument, format!("no path has the number {number}"), help)
    })
}

fn settings(which: Which) -> Result<Settings, UnknownSettings> {
    Settings::read(Path::new(SOCKETS), which)
}

/// The daemon's answer.
fn ask(desk: &Desk, asked: Asked) -> Result<Value, Failure> {
    let (answer, answered) = oneshot::channel();
    desk.send(News::Asked(Question { asked, answer })).map_err(|_| gone())?;
    answered.blocking_recv().map_err(|_| gone())?
}

fn gone() -> Failure {
    let help = "it is started again by itself: ask once more";
    Failure::new(FailureCode::Failed, "forward has ended", help)
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
    let run = move || {
        let Err(error) = serve(&listener, &callers, LIMITS, verbs(), news);
        say!("the socket is gone: {error}");
    };
    std::thread::Builder::new().name("verbs".into()).spawn(run).map(drop)
}
