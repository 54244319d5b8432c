//! The verbs of lan's control socket.

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use octet_node::Callers;
use octet_node::control::{Failure, FailureCode, Permission, UnitName, Verb};
use octet_node::names::REGISTER;
use octet_node::say;
use octet_node::serve::threads::{self, ConnectionLimits, Verbs};
use octet_node::serve::verbs::{nothing, text};
use octet_node::settings::Which;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use crate::daemon::{LanConfig, SharedStatus};
use crate::lookup::resolve;
use crate::name_registration::{NameRequest, register_until_closed};
use crate::service::read_config;

/// Every service can keep a connection open for its names; there are fewer services than that.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 32, for_operators: 8, of_one: 2 };

/// Channels to the loop.
#[derive(Debug, Clone)]
pub struct CommandSenders {
    /// Changed configurations, each with a channel that reports when it is in force.
    pub config: Sender<(LanConfig, oneshot::Sender<()>)>,
    pub names: Sender<NameRequest>,
}

struct VerbState {
    status: SharedStatus,
    commands: CommandSenders,
    /// Returns the unit that runs as a user.
    unit_of: fn(u32) -> Option<UnitName>,
    /// The number of connections that have registered names, to number them.
    registered: AtomicU64,
}

fn verbs() -> Verbs<VerbState> {
    use Permission::{Own, Read};

    Verbs::default()
        .with(
            Verb::new(
                "show",
                Read,
                "Shows addresses, leases, upstream resolvers, and the names of services",
            ),
            nothing(),
            |desk: &VerbState, _, ()| {
                Ok(desk.status.lock().unwrap_or_else(PoisonError::into_inner).clone())
            },
        )
        .with(
            Verb::new("lookup", Read, "Resolves a name by this node's resolver"),
            text(
                "name",
                "For example board-3.octet.internal; names of the box may be short: board-3",
            ),
            |desk, _, name| lookup(&desk.status, &name),
        )
        .with(
            Verb::new(
                REGISTER,
                Own,
                "Registers names of the service that asks, until it disconnects",
            )
            .internal(),
            text("names", "A JSON object: for each name a list of addresses"),
            |desk, call, names| {
                // Operators' calls come from PID 1, which has no names.
                let unit = (desk.unit_of)(call.uid).ok_or_else(|| no_service(call.uid))?;
                let by = desk.registered.fetch_add(1, Ordering::Relaxed);
                register_until_closed(call.peer, call.id, &unit, &names, by, &desk.commands.names)
            },
        )
        .with_settings(
            |_| Ok(read_config(Which::Next).map(drop)?),
            |desk| {
                let (done, is_done) = oneshot::channel();
                // The sends fail only if the loop has ended, and then there is nothing to
                // configure.
                let _ = desk.commands.config.blocking_send((read_config(Which::InForce)?, done));
                let _ = is_done.blocking_recv();
                Ok(())
            },
        )
}

/// Serves connections, for ever. `unit_of` returns the unit that runs as a user.
pub fn serve(
    listener: &UnixListener,
    callers: &Callers,
    unit_of: fn(u32) -> Option<UnitName>,
    shown: &SharedStatus,
    to: CommandSenders,
) {
    let desk = VerbState {
        status: Arc::clone(shown),
        commands: to,
        unit_of,
        registered: AtomicU64::new(0),
    };
    let Err(error) = threads::serve(listener, callers, LIMITS, verbs(), desk);
    say!("the control socket is closed: {error}");
}

fn no_service(uid: u32) -> Failure {
    let message = format!("user {uid} is not a service, so it has no names");
    Failure::new(FailureCode::Denied, message, "a service asks this for itself")
}

/// Looks up `name` with this node's resolver, as its programs do.
fn lookup(shown: &SharedStatus, name: &str) -> Result<Value, Failure> {
    let domain = shown.lock().unwrap_or_else(PoisonError::into_inner)["domain"].clone();
    let name = match domain.as_str() {
        Some(domain) if !name.contains('.') => format!("{name}.{domain}"),
        _ => name.to_owned(),
    };
    match resolve(&name) {
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
