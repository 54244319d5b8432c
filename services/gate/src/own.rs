//! The gate's own verbs, on its socket.

use std::rc::Rc;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::{format_rfc3339_seconds, parse_rfc3339};
use octet_node::Callers;
use octet_node::control::operator::Operator;
use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{
    ArgKind, Arguments, By, Capability, DESCRIBE, Failure, FailureCode, Message, Reply, ReplyBody,
    Request, Verb,
};
use octet_node::frames::{FOR_EVER, Frames, send};
use octet_node::say;
use octet_node::serve::places::{Limits, Places};
use octet_node::settings::{self, Which, section_in};
use serde_json::{Value, json};
use tokio::io::AsyncWrite;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use crate::gate::Gate;
use crate::offer::VERBS;
use crate::relay::RELAY;
use crate::run::RUN;

/// How many connections are served at once.
const LIMITS: Limits = Limits { all: 32, for_operators: 16, of_one: 8 };

/// The largest message that is taken, in bytes (docs/control.md).
const MAX_MESSAGE: usize = 16 << 10;

/// How long an answer may be left unread.
const UNREAD: Duration = Duration::from_secs(60);

/// The pause after the kernel could not give a connection.
const PAUSE: Duration = Duration::from_millis(100);

fn verbs() -> Vec<Verb> {
    use Capability::{Own, Read};

    let own = vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs"),
        Verb::new("show", Read, "Shows who may come in, who is in, and who was turned away"),
        // Whoever may ask anything may ask what that is.
        Verb::new(VERBS, Read, "Lists what you may ask of this box: UNIT VERB NAME=VALUE…")
            .optional("signed", ArgKind::Flag, "Only what a signed command can ask for"),
        // What it needs is in the command.
        Verb::new(RUN, Read, "Runs a command that an operator has signed, at most once").required(
            "command",
            ArgKind::Text,
            "The command, as `octetctl sign` prints it",
        ),
        Verb::new("trust-time", Own, "States the time: until then no signed command is in time")
            .required("time", ArgKind::Text, "UTC, as 2026-01-31T12:00:00Z"),
        // What may be done at the board is for its own gate to say.
        Verb::new(
            RELAY,
            Read,
            "Hands this connection on to the gate of a board: octetctl --board N",
        )
        .required("board", ArgKind::Integer, "The board's number"),
    ];
    own.into_iter().chain(settings::verbs()).collect()
}

/// Serves the `callers` that connect to `listener`, for good.
pub async fn keep(gate: Rc<Gate>, listener: UnixListener, callers: Callers) {
    let (places, callers) = (Places::new(LIMITS), Rc::new(callers));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                say!("no connection could be taken: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(uid) = stream.peer_cred().ok().map(|peer| peer.uid()) else { continue };
        let Some(place) = places.admit(&callers, uid) else { continue };
        let (gate, callers) = (Rc::clone(&gate), Rc::clone(&callers));
        spawn_local(async move {
            // Whoever breaks the connection knows why.
            let _ = converse(&gate, stream, uid, &callers).await;
            drop(place);
        });
    }
}

async fn converse(
    gate: &Gate,
    stream: UnixStream,
    uid: u32,
    callers: &Callers,
) -> std::io::Result<()> {
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
            Ok(()) => answer(gate, uid, request, &mut to).await?,
            Err(failure) => Err(failure),
        };
        let body = answered.map_or_else(ReplyBody::Error, ReplyBody::End);
        say(&mut to, id, body).await?;
    }
    Ok(())
}

/// The answer to `request`, or its end.
async fn answer(
    gate: &Gate,
    uid: u32,
    request: Request,
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<Result<Value, Failure>> {
    let (verbs, id, by) = (verbs(), request.id, request.by);
    let verb = Verb::find(&verbs, &request.verb);
    let checked = verb.and_then(|verb| Ok((verb, verb.check(request.args)?)));
    let (verb, args) = match checked {
        Ok(checked) => checked,
        Err(failure) => return Ok(Err(failure)),
    };
    Ok(match verb.name.as_str() {
        RUN => {
            let from = if uid == 0 { "an operator".to_owned() } else { format!("user {uid}") };
            let begun = gate.begin(args.text("command").unwrap_or_default(), &from).await;
            let mut running = match begun {
                Ok(running) => running,
                Err(failure) => return Ok(Err(failure)),
            };
            loop {
                match running.next().await {
                    ReplyBody::End(value) => break Ok(value),
                    ReplyBody::Error(failure) => break Err(failure),
                    ReplyBody::Want(_) => {} // no command with a file is begun
                    item @ ReplyBody::Item(_) => say(to, id, item).await?,
                }
            }
        }
        "show" => Ok(show(gate)),
        VERBS => offer(gate, by, args.flag("signed")).await,
        // Whatever config offers is a list of operators: it has checked that.
        CHECK => operators(gate, Which::Next).await.map(|_| Value::Null),
        APPLY => operators(gate, Which::InForce).await.map(|operators| {
            gate.let_in(operators);
            Value::Null
        }),
        "trust-time" => trust_time(gate, &args),
        // Whoever asks at the gate's own port is answered there.
        RELAY => Err(Failure::new(
            FailureCode::Failed,
            "only a connection to the gate's port can be handed on",
            "say `octetctl --box BOX --board N`",
        )),
        _ => Ok(json!(verbs)), // describe: the list has no other
    })
}

/// What may be asked for by who asks.
async fn offer(gate: &Gate, by: Option<By>, signed: bool) -> Result<Value, Failure> {
    let operator = match by {
        Some(By::Operator(key)) => Some(gate.operator(&key).ok_or_else(|| {
            let message = format!("{key} is no operator of this box");
            Failure::new(FailureCode::Denied, message, "an owner adds it to `[operator] keys`")
        })?),
        _ => None,
    };
    gate.offer(operator.as_ref(), signed).await.map(Value::from)
}

/// The operators, as `config` names them. A thread waits for it, and nobody else does.
async fn operators(gate: &Gate, which: Which) -> Result<Operator, Failure> {
    let sockets = gate.sockets.clone();
    let read = spawn_blocking(move || section_in(&sockets, "operator", which));
    match read.await {
        Ok(operators) => operators.map_err(Failure::from),
        Err(error) => {
            let help = "ask again";
            Err(Failure::new(FailureCode::Failed, format!("nobody has read it: {error}"), help))
        }
    }
}

async fn say(to: &mut (impl AsyncWrite + Unpin), id: u64, body: ReplyBody) -> std::io::Result<()> {
    let sent = timeout(UNREAD, send(to, &Reply { id, body })).await;
    sent.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

fn show(gate: &Gate) -> Value {
    let named = gate.operators.borrow();
    let operators = named.keys.iter().map(|operator| {
        let connected = gate.sessions.of(&operator.key);
        json!({
            "name": operator.name,
            "may": operator.may,
            "connected": connected,
            "key": operator.key,
        })
    });
    let counts = &gate.counts;
    // Who holds it waits for the disk; then what it holds is not shown.
    let ids = gate.ids.try_lock().ok();
    json!({
        "node": gate.node.get(),
        "time": gate.trusted.borrow().now().map(date),
        "signed commands": {
            "remembered": ids.as_ref().map(|ids| ids.count()),
            "trouble": ids.as_ref().and_then(|ids| ids.trouble()),
        },
        "turned away": {
            "too often": counts.limited.get(),
            "without key": counts.keyless.get(),
            "strangers": counts.strangers.get(),
            "refused": counts.refused.get(),
        },
        "commands": counts.commands.get(),
        "handed on to boards": gate.relays.all(),
        "operators": operators.collect::<Vec<_>>(),
    })
}

fn trust_time(gate: &Gate, args: &Arguments) -> Result<Value, Failure> {
    let text = args.text("time").unwrap_or_default();
    let time = parse_rfc3339(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let Some(time) = time.map(|time| time.as_secs()) else {
        let message = format!("`{text}` is no time");
        let help = "write a date (UTC) as 2026-01-31T12:00:00Z";
        return Err(Failure::new(FailureCode::BadArgument, message, help));
    };
    let floor = gate.ids.lock().unwrap_or_else(PoisonError::into_inner).floor();
    if time < floor {
        let message =
            format!("it is later than {}: commands until then have been run", date(floor));
        let help = "state the time that it is now";
        return Err(Failure::new(FailureCode::Denied, message, help));
    }
    gate.trusted.borrow_mut().state(time).map_err(|error| {
        let message = format!("the time cannot be kept: {error}");
        Failure::new(
            FailureCode::Failed,
            message,
            "`octetctl boot` tells how the data partition is",
        )
    })?;
    say!("the time was stated: {}", date(time));
    Ok(Value::Null)
}

fn date(seconds: u64) -> String {
    format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}
