//! The shared state of all connections.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use octet_node::control::operator::{Operator, OperatorKey};
use octet_node::control::{DESCRIBE, Failure, FailureCode, Permission, PublicKey, UnitName};
use octet_node::hello::GATE;
use octet_node::limits::Permits;
use octet_node::say;
use serde_json::{Map, Value};
use tokio::task::AbortHandle;

use crate::boards::BoardGates;
use crate::ids::Ids;
use crate::limits::GateLimits;
use crate::offer::VERBS;
use crate::trusted::Trusted;
use crate::units::UnitVerbs;

/// The maximum length of a command's arguments in the log, in bytes.
const SHOWN: usize = 200;

pub struct Gate {
    pub operators: RefCell<Operator>,
    /// The connected operators, with their abort handles.
    pub connected: RefCell<Vec<(OperatorKey, AbortHandle)>>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    pub limits: GateLimits,
    /// The connections to all units.
    pub units: UnitVerbs,
    /// The executed signed commands. A thread holds the lock while it writes the file.
    pub ids: Arc<Mutex<Ids>>,
    /// The trusted time.
    pub trusted: RefCell<Trusted>,
    /// This node's key, once `identity` has reported it.
    pub node: Cell<Option<PublicKey>>,
    /// The sessions per operator.
    pub sessions: Permits<PublicKey>,
    /// The relayed sessions per operator.
    pub relays: Permits<PublicKey>,
    pub boards: BoardGates,
    pub counts: GateCounts,
}

/// Counters since the start.
#[derive(Default)]
pub struct GateCounts {
    /// Connections that were refused because their address exceeded the rate limit.
    pub limited: Cell<u64>,
    /// Connections whose peer proved no key.
    pub keyless: Cell<u64>,
    /// Peers with unknown keys.
    pub unknown_keys: Cell<u64>,
    pub refused: Cell<u64>,
    /// Forwarded commands.
    pub commands: Cell<u64>,
}

pub fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

impl Gate {
    pub fn operator(&self, key: &PublicKey) -> Option<OperatorKey> {
        self.operators.borrow().keys.iter().find(|operator| operator.key == *key).cloned()
    }

    /// Replaces the list of operators. Connected operators whose rights have changed are
    /// disconnected, because their running commands were authorized by the old rights.
    pub fn set_operators(&self, operators: Operator) {
        if operators == *self.operators.borrow() {
            return;
        }
        say!("the operators have changed: {} now", operators.keys.len());
        self.connected.borrow_mut().retain(|(operator, task)| {
            let stays = operators.keys.contains(operator);
            if !stays && !task.is_finished() {
                say!(
                    "{} {}: disconnected, its permissions have changed",
                    operator.name,
                    operator.key
                );
                task.abort();
            }
            stays && !task.is_finished()
        });
        *self.operators.borrow_mut() = operators;
    }

    /// Authorizes `operator` to use `verb` of `unit`.
    ///
    /// # Errors
    /// The operator lacks the capability, or there is no such verb.
    pub async fn authorize(
        &self,
        operator: &OperatorKey,
        unit: &UnitName,
        verb: &str,
    ) -> Result<(), Failure> {
        // Every operator may list the verbs.
        if verb == DESCRIBE || unit.as_str() == GATE && verb == VERBS {
            return Ok(());
        }
        let verb = self.units.verb(unit, verb).await?;
        if operator.permits(verb.capability, unit) {
            return Ok(());
        }
        let needed = verb.capability.name();
        let help = if verb.capability == Permission::Own {
            "only an operator with `own` may".to_owned()
        } else {
            format!("an owner grants it in appliance.toml: `may = [\"{needed}:{unit}\"]`")
        };
        let message = format!(
            "`{}` may not use `{}` of `{unit}`: it needs `{needed}`",
            operator.name, verb.name
        );
        Err(Failure::new(FailureCode::Denied, message, help))
    }
}

/// The caller, for the log.
pub struct CallerName<'a> {
    pub operator: &'a OperatorKey,
    /// The remote address, or the service that relayed the command.
    pub from: &'a str,
}

impl CallerName<'_> {
    /// Logs one command of this operator.
    pub fn audit(&self, unit: &UnitName, verb: &str, args: &str, outcome: &str) {
        let OperatorKey { name, key, .. } = self.operator;
        say!("{name} {key} from {}: {unit} {verb} {args}: {outcome}", self.from);
    }
}

/// Whether `operator` has the capability `own`.
pub fn owns(operator: &OperatorKey) -> bool {
    operator.may.iter().any(|grant| grant.to_string() == Permission::Own.name())
}

/// A command's arguments for the log. JSON contains no control characters.
pub fn shown(args: &Map<String, Value>) -> String {
    let mut text = Value::Object(args.clone()).to_string();
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// An address for the log.
pub fn address(address: SocketAddr) -> String {
    let ip = address.ip().to_canonical();
    SocketAddr::new(ip, address.port()).to_string()
}
