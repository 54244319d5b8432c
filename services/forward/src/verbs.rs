//! The verbs of this unit.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use octet_node::Callers;
use octet_node::control::{ColumnKind, Failure, FailureCode, Permission, PublicKey, SOCKETS, Verb};
use octet_node::say;
use octet_node::serve::threads::{Call, ConnectionLimits, Verbs, serve};
use octet_node::serve::verbs::{VerbArgs, flag, integer, nothing, option, optional_integer, text};
use octet_node::settings::Which;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::constraints::PathRequest;
use crate::control::MAX_ACCOUNT_MESSAGE;
use crate::daemon::{DaemonEvent, rate};
use crate::engine::PathNumber;
use crate::settings::{Settings, UnknownSettings};

/// The maximum number of clients, the number reserved for operators, and the maximum per user.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 16, for_operators: 8, of_one: 4 };

/// A client's request, and where the answer is sent.
#[derive(Debug)]
pub struct PendingRequest {
    pub request: DaemonRequest,
    pub answer: oneshot::Sender<Result<Value, Failure>>,
}

/// A request to the daemon, one variant per verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonRequest {
    Status,
    Descriptor,
    Links,
    Paths,
    Labels,
    /// `records`; of ended paths, only those with higher numbers.
    Records {
        after: u64,
    },
    /// `traffic` of neighbours of other boxes.
    Traffic,
    /// `account-limit`: how far `served` of this neighbour may grow; `None`: without limit.
    AccountLimit(PublicKey, Option<u64>),
    /// `account-send`: a message to the neighbour's `accounts`.
    AccountSend(PublicKey, Vec<u8>),
    /// `account-receive`: the messages of neighbours' `accounts` since the last call.
    AccountReceive,
    Add(Box<PathRequest>),
    /// `private-path`: a private path that ends unless its unit renews it.
    PrivatePath(Box<PathRequest>),
    /// `private-renew`
    PrivateRenew(PathNumber),
    /// `private-end`
    PrivateEnd(PathNumber),
    Trace(PathNumber),
    Ping(PathTarget),
    /// `rate`, in kbit/s; 0 means unlimited.
    Rate(PathNumber, u32),
    Drop(PathTarget),
}

/// A path by its number, or the route to a node, which may be without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathTarget {
    /// `--path`
    Path(PathNumber),
    /// `--to`: the node's display name.
    To(String),
}

/// The timeout of `ping`, `trace` and `path-add`.
pub const TIMEOUT: Duration = Duration::from_secs(25);

type Desk = UnboundedSender<DaemonEvent>;

pub fn verbs() -> Verbs<Desk> {
    use Permission::{Operate, Own, Read};

    let path = || integer("path", "The path's number").parse(path_number);
    let show =
        |asked: DaemonRequest| move |desk: &Desk, _: &mut Call<'_>, ()| ask(desk, asked.clone());
    Verbs::default()
        .with(
            Verb::new(
                "status",
                Read,
                "Shows this node's address, numbers of links, routes and paths, and the VPN exit",
            ),
            nothing(),
            show(DaemonRequest::Status),
        )
        .with(
            Verb::new(
                "descriptor",
                Read,
                "Prints this node's peer descriptor, for [[neighbour]] in another box's appliance.toml",
            ),
            nothing(),
            show(DaemonRequest::Descriptor),
        )
        .with(
            Verb::new("links", Read, "Shows the links to neighbours"),
            nothing(),
            show(DaemonRequest::Links),
        )
        .with(
            Verb::new("paths", Read, "Shows the routes of this node and their paths"),
            nothing(),
            show(DaemonRequest::Paths),
        )
        .with(
            Verb::new(
                "labels",
                Read,
                "Shows packets and bytes for each label of each link",
            )
            .columns(ColumnKind::Bytes, &["bytes"]),
            nothing(),
            show(DaemonRequest::Labels),
        )
        .with(
            Verb::new("records", Read, "Shows the accounting records of the paths through this node")
                .columns(ColumnKind::Bytes, &["bytes"])
                .columns(ColumnKind::Date, &["since", "until"]),
            optional_integer("after", "Only records of ended paths after this number"),
            |desk, _, after| ask(desk, DaemonRequest::Records { after: after.unwrap_or_default() }),
        )
        .with(
            Verb::new("traffic", Read, "Shows the bytes of each neighbour of another box: of paths that it was asked for, and that it asked for")
                .columns(ColumnKind::Bytes, &["bought", "served", "limit"]),
            nothing(),
            show(DaemonRequest::Traffic),
        )
        .with(
            Verb::new("account-limit", Own, "Sets how far the bytes served to a neighbour may grow").internal(),
            node_key().and(optional_integer("served", "In bytes; default: without limit")),
            |desk, _, (node, limit)| ask(desk, DaemonRequest::AccountLimit(node, limit)),
        )
        .with(
            Verb::new("account-send", Own, "Sends a message to the unit `accounts` of a neighbour").internal(),
            node_key().and(text("message", "In base64").parse(message)),
            |desk, _, (node, message)| ask(desk, DaemonRequest::AccountSend(node, message)),
        )
        .with(
            Verb::new("account-receive", Own, "Returns the messages of neighbours' `accounts` since the last call").internal(),
            nothing(),
            show(DaemonRequest::AccountReceive),
        )
        .with(Verb::new("path-add", Operate, "Sets up a path and keeps a route to its end"), path_request(), |desk, _, wanted| {
            ask(desk, DaemonRequest::Add(Box::new(wanted)))
        })
        .with(
            Verb::new("private-path", Own, "Sets up a private path, which ends unless `private-renew` is called within a minute").internal(),
            text("to", "The node at its end, as for `path-add`").and(option("via", "The relays, as for `path-add`")),
            |desk, _, (to, via)| {
                let wanted = PathRequest { to, via, private: true, ..PathRequest::default() };
                ask(desk, DaemonRequest::PrivatePath(Box::new(wanted)))
            },
        )
        .with(
            Verb::new("private-renew", Own, "Keeps a path of `private-path` for another minute").internal(),
            path(),
            |desk, _, path| ask(desk, DaemonRequest::PrivateRenew(path)),
        )
        .with(
            Verb::new("private-end", Own, "Ends a path of `private-path`").internal(),
            path(),
            |desk, _, path| ask(desk, DaemonRequest::PrivateEnd(path)),
        )
        .with(
            Verb::new("trace", Read, "Shows the hops of a path, and measures the round trip"),
            path(),
            |desk, _, path| ask(desk, DaemonRequest::Trace(path)),
        )
        .with(
            Verb::new("ping", Read, "Measures the round trip of a path"),
            target(),
            |desk, _, target| ask(desk, DaemonRequest::Ping(target)),
        )
        .with(
            Verb::new("rate", Operate, "Changes the rate limit of a path"),
            path().and(
                integer("rate", "The limit for each direction in kbit/s; 0: none").parse(rate),
            ),
            |desk, _, (path, rate)| ask(desk, DaemonRequest::Rate(path, rate)),
        )
        .with(
            Verb::new("drop", Operate, "Tears a path down and removes its route"),
            target(),
            |desk, _, target| ask(desk, DaemonRequest::Drop(target)),
        )
        .with_metrics(|desk| {
            let (answer, answered) = oneshot::channel();
            desk.send(DaemonEvent::CollectMetrics(answer)).ok()?;
            answered.blocking_recv().ok()?
        })
        .with_settings(
            |_| Ok(settings(Which::Next).map(drop)?),
            |desk| {
                let settings = settings(Which::InForce)?;
                desk.send(DaemonEvent::Settings(settings)).map_err(|_| stopped())
            },
        )
}

/// The arguments of `path-add`.
fn path_request() -> VerbArgs<PathRequest> {
    let to = text(
        "to",
        "The node at its end: public key, address, board number, or the name of a [[neighbour]]",
    );
    let via = option("via", "The relays in order, separated by commas; default: the best known");
    let avoid = option("avoid", "Nodes that it must not pass, separated by commas");
    let milliseconds = optional_integer(
        "max-latency-ms",
        "The highest round-trip time of its links in milliseconds, as announced",
    );
    let kilobits = optional_integer(
        "min-bandwidth-kbps",
        "The lowest capacity of each of its links in kbit/s, as announced",
    );
    let price = optional_integer(
        "max-price",
        "The highest price of each relay for 1 GiB, in millionths of the unit of account",
    );
    let hops = optional_integer("hops", "The least number of relays");
    let most =
        optional_integer("rate", "The rate limit for each direction in kbit/s; default none")
            .parse(|asked| asked.map_or(Ok(0), rate));
    let alone =
        flag("alone", "Keep this path only: no backup path, and no replacement if it fails");
    let replace = flag("replace", "Replace the present route to the node");
    let private = flag(
        "private",
        "Show the end a key and an address for this path alone, which programs can send from; over 2 relays or more unless --hops or --via says otherwise",
    );
    let nodes = to.and(via).and(avoid);
    let limits = milliseconds.and(kilobits).and(price).and(hops);
    let flags = alone.and(replace).and(private);
    nodes.and(limits).and(most.and(flags)).parse(|((nodes, limits), (rate, flags))| {
        let ((to, via), avoid) = nodes;
        let (((milliseconds, kilobits), price), hops) = limits;
        let ((alone, replace), private) = flags;
        Ok(PathRequest {
            to,
            via,
            avoid,
            milliseconds,
            kilobits,
            price,
            hops,
            rate,
            alone,
            replace,
            private,
        })
    })
}

/// The node key of a `[[neighbour]]`.
fn node_key() -> VerbArgs<PublicKey> {
    text("node", "The neighbour's key (a did:key)").parse(|key| {
        key.parse().map_err(|_| {
            let help = "`forward traffic` shows the keys of neighbours";
            Failure::new(FailureCode::BadArgument, format!("`{key}` is not a public key"), help)
        })
    })
}

fn message(text: String) -> Result<Vec<u8>, Failure> {
    let bytes = BASE64.decode(text.as_bytes()).ok();
    bytes.filter(|bytes| bytes.len() <= MAX_ACCOUNT_MESSAGE).ok_or_else(|| {
        let message = format!("this is not base64 of at most {MAX_ACCOUNT_MESSAGE} bytes");
        Failure::new(FailureCode::BadArgument, message, "the unit `accounts` makes these messages")
    })
}

/// The argument of `ping` and `drop`: a path or a node.
fn target() -> VerbArgs<PathTarget> {
    let path = optional_integer("path", "The path's number");
    let to = option("to", "The node at the end of a route");
    path.and(to).parse(|given| match given {
        (Some(number), None) => path_number(number).map(PathTarget::Path),
        (None, Some(node)) => Ok(PathTarget::To(node)),
        _ => {
            let help = "give the number of a path, or the node; `forward paths` lists both";
            let message = "exactly one of `path` and `to` is needed";
            Err(Failure::new(FailureCode::BadArgument, message, help))
        }
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

fn ask(desk: &Desk, request: DaemonRequest) -> Result<Value, Failure> {
    let (answer, answered) = oneshot::channel();
    desk.send(DaemonEvent::Request(PendingRequest { request, answer })).map_err(|_| stopped())?;
    answered.blocking_recv().map_err(|_| stopped())?
}

fn stopped() -> Failure {
    let help = "it is started again by itself: ask once more";
    Failure::new(FailureCode::Failed, "forward has ended", help)
}

/// Serves `callers` on `listener`, in threads.
///
/// # Errors
/// No thread can be started.
pub fn listen(
    listener: UnixListener,
    callers: Callers,
    news: UnboundedSender<DaemonEvent>,
) -> io::Result<()> {
    let run = move || {
        let Err(error) = serve(&listener, &callers, LIMITS, verbs(), news);
        say!("the control socket is closed: {error}");
    };
    std::thread::Builder::new().name("verbs".into()).spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::Peer;
    use octet_node::control::Request;
    use serde_json::json;
    use std::os::unix::net::UnixStream;
    use tokio::sync::mpsc::unbounded_channel;

    /// Parses a request to the daemon.
    fn asked(verb: &str, args: Value) -> Result<DaemonRequest, Failure> {
        let (desk, mut news) = unbounded_channel();
        let daemon = std::thread::spawn(move || match news.blocking_recv() {
            Some(DaemonEvent::Request(PendingRequest { request, answer })) => {
                answer.send(Ok(Value::Null)).unwrap();
                Some(request)
            }
            _ => None,
        });
        let args = serde_json::from_value(args).unwrap();
        let request = Request { id: 1, unit: None, verb: verb.to_owned(), args, by: None };
        let mut peer = Peer::new(UnixStream::pair().unwrap().0);
        let answer = verbs().answer(&desk, &mut peer, 901, request);
        drop(desk);
        let request = daemon.join().unwrap();
        answer.map(|_| request.unwrap())
    }

    /// A route without a path has no number: it is addressed by its node.
    #[test]
    fn a_path_or_a_node_is_named() {
        let node = || PathTarget::To("board-4".to_owned());
        let path = || PathTarget::Path(PathNumber(7));
        assert_eq!(asked("drop", json!({ "to": "board-4" })), Ok(DaemonRequest::Drop(node())));
        assert_eq!(asked("drop", json!({ "path": 7 })), Ok(DaemonRequest::Drop(path())));
        assert_eq!(asked("ping", json!({ "to": "board-4" })), Ok(DaemonRequest::Ping(node())));
        assert_eq!(asked("ping", json!({ "path": 7 })), Ok(DaemonRequest::Ping(path())));
        for args in [json!({}), json!({ "path": 7, "to": "board-4" })] {
            let refused = asked("drop", args).unwrap_err();
            assert!(refused.message.contains("exactly one"), "{refused:?}");
        }
        assert!(asked("drop", json!({ "path": 65_536 })).is_err());
    }

    #[test]
    fn a_route_is_replaced_if_that_is_said() {
        for replace in [false, true] {
            let args = json!({ "to": "4", "via": "3", "replace": replace });
            let wanted = PathRequest {
                to: "4".to_owned(),
                via: Some("3".to_owned()),
                replace,
                ..PathRequest::default()
            };
            assert_eq!(asked("path-add", args), Ok(DaemonRequest::Add(Box::new(wanted))));
        }
        let private =
            || Box::new(PathRequest { to: "4".into(), private: true, ..PathRequest::default() });
        let args = json!({ "to": "4", "private": true });
        assert_eq!(asked("path-add", args), Ok(DaemonRequest::Add(private())));
        let of_unit = asked("private-path", json!({ "to": "4" }));
        assert_eq!(of_unit, Ok(DaemonRequest::PrivatePath(private())));
    }
}
