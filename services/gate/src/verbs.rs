//! The gate's own verbs, on its local socket.

use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::{format_rfc3339_seconds, parse_rfc3339};
use octet_node::PID_1;
use octet_node::control::operator::Operator;
use octet_node::control::{By, Failure, FailureCode, Permission, PublicKey, ReplyBody, Verb};
use octet_node::say;
use octet_node::serve::tasks::{Call, ConnectionLimits, Verbs};
use octet_node::serve::verbs::{flag, integer, nothing, text};
use octet_node::settings::{Settings, Which};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::gate::Gate;
use crate::offer::VERBS;
use crate::relay::RELAY;
use crate::run::RUN;

/// Remote operators use the TLS listener instead.
pub const LIMITS: ConnectionLimits = ConnectionLimits { all: 32, for_operators: 16, of_one: 8 };

pub fn verbs() -> Verbs<Gate> {
    use Permission::{Own, Read};

    Verbs::default()
        .with(
            Verb::new("show", Read, "Shows the operators, their connections, and how many attempts were rejected"),
            nothing(),
            async |gate: &Gate, _, ()| Ok(show(gate)),
        )
        .with(
            // Every caller may list its verbs.
            Verb::new(VERBS, Read, "Lists the verbs that you are permitted to call: UNIT VERB NAME=VALUE…"),
            flag("signed", "Only those that a signed command can call"),
            async |gate, call, signed| offer(gate, call.by, signed).await,
        )
        .with(
            // The command itself contains the signer's authorization.
            Verb::new(RUN, Read, "Runs a command that an operator has signed; each command runs at most once"),
            text("command", "The command, as `octetctl sign` prints it"),
            async |gate, call, command| run(gate, call, &command).await,
        )
        .with(
            // Services that relay commands check a key before they spend resources on it; `show`
            // lists all keys.
            Verb::new("check-key", Read, "Shows whether a key is an operator's"),
            text("key", "The key: did:key:z6Mk…").parse(key),
            async |gate, _, key| Ok(check_key(gate, &key)),
        )
        .with(
            Verb::new(
                "trust-time",
                Own,
                "Confirms the time; signed commands are rejected as long as the time is not trusted",
            ),
            text("time", "UTC, as 2026-01-31T12:00:00Z").parse(time),
            async |gate, _, time| trust_time(gate, time),
        )
        .with(
            // The board's own gate authorizes the operator there.
            Verb::new(
                RELAY,
                Read,
                "Relays this connection to the gate of a board: octetctl --board N",
            ).internal(),
            integer("board", "The board's number"),
            // On the gate's TLS port this verb is handled by the session.
            async |_, _, _| {
                Err(Failure::new(
                    FailureCode::Failed,
                    "only a connection to the gate's port can be handed on",
                    "say `octetctl --box BOX --board N`",
                ))
            },
        )
        .with_settings(
            // `config` has validated the list of operators.
            async |gate| operators(gate, Which::Next).await.map(drop),
            async |gate| {
                gate.set_operators(operators(gate, Which::InForce).await?);
                Ok(())
            },
        )
}

/// Runs the signed `command` and relays its answer.
async fn run(gate: &Gate, call: &mut Call<'_>, command: &str) -> Result<Value, Failure> {
    let from = match call.uid {
        PID_1 => "an operator".to_owned(),
        uid => format!("user {uid}"),
    };
    let mut running = gate.begin(command, &from).await?;
    loop {
        match running.next().await {
            ReplyBody::End(value) => return Ok(value),
            ReplyBody::Error(failure) => return Err(failure),
            ReplyBody::Want(_) => {} // signed commands carry no files
            ReplyBody::Item(item) => {
                // The caller may have disconnected.
                if call.peer.item(call.id, item).await.is_err() {
                    return Ok(Value::Null);
                }
            }
        }
    }
}

fn check_key(gate: &Gate, key: &PublicKey) -> Value {
    gate.operator(key).map_or("unknown", |_| "operator").into()
}

fn key(text: String) -> Result<PublicKey, Failure> {
    PublicKey::try_from(text).map_err(|error| {
        let help = "`octetctl keygen` prints such a key";
        Failure::new(FailureCode::BadArgument, error.to_string(), help)
    })
}

/// The verbs that the caller may use.
async fn offer(gate: &Gate, by: Option<By>, signed: bool) -> Result<Value, Failure> {
    let operator = match by {
        Some(By::Operator(key)) => Some(gate.operator(&key).ok_or_else(|| {
            let message = format!("{key} is not an operator of this box");
            Failure::new(FailureCode::Denied, message, "an owner adds it to `[operator] keys`")
        })?),
        _ => None,
    };
    gate.offer(operator.as_ref(), signed).await.map(Value::from)
}

/// The operators in `config`. A thread waits for them, so that no other task does.
async fn operators(gate: &Gate, which: Which) -> Result<Operator, Failure> {
    let sockets = gate.sockets.clone();
    let read = spawn_blocking(move || Settings::read(&sockets, which)?.section("operator"));
    match read.await {
        Ok(operators) => operators.map_err(Failure::from),
        Err(error) => {
            let help = "ask again";
            Err(Failure::new(FailureCode::Failed, format!("nobody has read it: {error}"), help))
        }
    }
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
    // The lock is held while the disk is written; the commands are not shown then.
    let ids = gate.ids.try_lock().ok();
    json!({
        "node": gate.node.get(),
        "time": gate.trusted.borrow().now().map(date),
        "signed_commands": {
            "remembered": ids.as_ref().map(|ids| ids.count()),
            "trouble": ids.as_ref().and_then(|ids| ids.trouble()),
        },
        "rejected": {
            "rate_limited": counts.limited.get(),
            "without_key": counts.keyless.get(),
            "unknown_keys": counts.unknown_keys.get(),
            "refused": counts.refused.get(),
        },
        "commands": counts.commands.get(),
        "relayed": gate.relays.in_all(),
        "operators": operators.collect::<Vec<_>>(),
    })
}

/// Parses seconds since 1970.
fn time(text: String) -> Result<u64, Failure> {
    let time = parse_rfc3339(&text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    time.map(|time| time.as_secs()).ok_or_else(|| {
        let help = "write a date (UTC) as 2026-01-31T12:00:00Z";
        Failure::new(FailureCode::BadArgument, format!("`{text}` is not a time"), help)
    })
}

fn trust_time(gate: &Gate, time: u64) -> Result<Value, Failure> {
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
