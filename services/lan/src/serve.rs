//! lan's own verbs, on its socket.

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{
    ArgKind, Capability, DESCRIBE, Failure, FailureCode, Request, UnitName, Verb,
};
use octet_node::names::REGISTER;
use octet_node::say;
use octet_node::serve::threads::{self, Limits};
use octet_node::settings::{self, Which};
use octet_node::{Callers, PID_1, Peer};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use crate::daemon::{Shown, Told};
use crate::lookup::ask;
use crate::registering::{Asked, hold};
use crate::service::told;

/// Each service may stay for the sake of its names; there are fewer users than that.
const LIMITS: Limits = Limits { all: 32, for_operators: 8, of_one: 2 };

/// What is handed on to the loop.
#[derive(Debug, Clone)]
pub struct Loop {
    /// What is in force from now on, and who waits until it is.
    pub changes: Sender<(Told, oneshot::Sender<()>)>,
    /// Names of services.
    pub names: Sender<Asked>,
}

fn verbs() -> Vec<Verb> {
    let own = vec![
        Verb::new(DESCRIBE, Capability::Read, "Lists these verbs"),
        Verb::new(
            "show",
            Capability::Read,
            "Shows who has which address, and from whom, and which names services have",
        ),
        Verb::new(
            "lookup",
            Capability::Read,
            "Asks this node's resolver for the addresses of a name",
        )
        .required(
            "name",
            ArgKind::Text,
            "As board-3.octet.internal; the box's own without its end",
        ),
        Verb::new(
            REGISTER,
            Capability::Own,
            "For services: tells the caller's own names until it hangs up",
        )
        .required(
            "names",
            ArgKind::Text,
            "A JSON object of names, each with a list of addresses",
        ),
    ];
    own.into_iter().chain(settings::verbs()).collect()
}

/// Serves whoever connects, for ever. `unit_of` tells the unit that a user runs.
pub fn serve(
    listener: &UnixListener,
    callers: &Callers,
    unit_of: fn(u32) -> Option<UnitName>,
    shown: &Shown,
    to: Loop,
) {
    let shown = Arc::clone(shown);
    let registered = AtomicU64::new(0);
    let answer = move |peer: &mut Peer, uid, request: Request| {
        let verbs = verbs();
        let verb = Verb::find(&verbs, &request.verb)?;
        let args = verb.check(request.args)?;
        Ok(match verb.name.as_str() {
            "lookup" => lookup(&shown, args.text("name").unwrap_or_default())?,
            "show" => shown.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            REGISTER => {
                // PID 1 asks for operators, whose names these are not.
                let unit = unit_of(uid).ok_or_else(|| no_service(uid))?;
                let names = args.text("names").unwrap_or_default();
                let by = registered.fetch_add(1, Ordering::Relaxed);
                hold(peer, request.id, &unit, names, by, &to.names)?
            }
            CHECK => told(Which::Next).map(|_| Value::Null)?,
            APPLY => {
                let (done, is_done) = oneshot::channel();
                // Without the loop there is nobody to be told, and nobody who says that it is done.
                let _ = to.changes.blocking_send((told(Which::InForce)?, done));
                let _ = is_done.blocking_recv();
                Value::Null
            }
            _ => json!(verbs), // describe: the list has no other
        })
    };
    let Err(error) = threads::serve(listener, callers, LIMITS, PID_1, answer);
    say!("nobody is answered any more: {error}");
}

fn no_service(uid: u32) -> Failure {
    let message = format!("user {uid} is no service, so it has no names");
    Failure::new(FailureCode::Denied, message, "a service asks this for itself")
}

/// What this node's resolver says of `name`, as any of its programs hears it.
fn lookup(shown: &Shown, name: &str) -> Result<Value, Failure> {
    let domain = shown.lock().unwrap_or_else(PoisonError::into_inner)["domain"].clone();
    let name = match domain.as_str() {
        Some(domain) if !name.contains('.') => format!("{name}.{domain}"),
        _ => name.to_owned(),
    };
    match ask(&name) {
        Ok(addresses) if addresses.is_empty() => {
            let message = format!("there is no address of `{name}`");
            Err(Failure::new(FailureCode::NotFound, message, "`show` lists what is asked of whom"))
        }
        Ok(addresses) => Ok(json!({ "name": name, "addresses": addresses })),
        Err(error) => {
            let message = format!("`{name}`: {error}");
            Err(Failure::new(FailureCode::Failed, message, "`show` lists what is asked of whom"))
        }
    }
}
