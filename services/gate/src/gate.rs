//! What all connections of the gate share.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use octet_node::control::operator::{Operator, OperatorKey};
use octet_node::control::{DESCRIBE, Failure, FailureCode, Permission, PublicKey, UnitName};
use octet_node::hello::GATE;
use octet_node::say;
use serde_json::{Map, Value};
use tokio::task::AbortHandle;

use crate::boards::BoardGates;
use crate::ids::Ids;
use crate::limits::GateLimits;
use crate::offer::VERBS;
use crate::places::SessionLimit;
use crate::trusted::Trusted;
use crate::units::UnitVerbs;

/// How much of a command's arguments the log shows, in bytes.
const SHOWN: usize = 200;

pub struct Gate {
    pub operators: RefCell<Operator>,
    /// Who is in, and what ends that.
    pub connected: RefCell<Vec<(OperatorKey, AbortHandle)>>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// What it gives at most.
    pub limits: GateLimits,
    /// The way to all units.
    pub units: UnitVerbs,
    /// Signed commands that were run. A thread holds it while it writes the file.
    pub ids: Arc<Mutex<Ids>>,
    /// The time, as far as it was stated.
    pub trusted: RefCell<Trusted>,
    /// The node, once `identity` has named it.
    pub node: Cell<Option<PublicKey>>,
    /// How many connections each operator has.
    pub sessions: SessionLimit,
    /// How many of them are handed on to boards.
    pub relays: SessionLimit,
    pub boards: BoardGates,
    /// What was counted since the start.
    pub counts: GateCounts,
}

/// What was counted since the start.
#[derive(Default)]
pub struct GateCounts {
    /// Connections turned away because their address had tried too often.
    pub limited: Cell<u64>,
    /// Connections whose peer did not show a key.
    pub keyless: Cell<u64>,
    /// Peers that were no operators.
    pub strangers: Cell<u64>,
    pub refused: Cell<u64>,
    /// Commands that were handed on.
    pub commands: Cell<u64>,
}

pub fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

impl Gate {
    /// The operator whose key is `key`.
    pub fn operator(&self, key: &PublicKey) -> Option<OperatorKey> {
        self.operators.borrow().keys.iter().find(|operator| operator.key == *key).cloned()
    }

    /// Lets in whom `operators` names from now on. Whoever is in and may something else now, or
    /// nothing, has to come again: what was begun was begun by another right.
    pub fn let_in(&self, operators: Operator) {
        if operators == *self.operators.borrow() {
            return;
        }
        say!("operators: {} may come in now", operators.keys.len());
        self.connected.borrow_mut().retain(|(operator, task)| {
            let stays = operators.keys.contains(operator);
            if !stays && !task.is_finished() {
                say!("{} {}: cut off, it may something else now", operator.name, operator.key);
                task.abort();
            }
            stays && !task.is_finished()
        });
        *self.operators.borrow_mut() = operators;
    }

    /// Sees that `operator` may use `verb` of `unit`.
    ///
    /// # Errors
    /// It may not, or there is no such verb.
    pub async fn allow(
        &self,
        operator: &OperatorKey,
        unit: &UnitName,
        verb: &str,
    ) -> Result<(), Failure> {
        // What there is to be asked is no secret to who may ask anything at all.
        if verb == DESCRIBE || unit.as_str() == GATE && verb == VERBS {
            return Ok(());
        }
        let verb = self.units.verb(unit, verb).await?;
        if operator.may(verb.capability, unit) {
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

/// Who asks, for the log.
pub struct CallerName<'a> {
    pub operator: &'a OperatorKey,
    /// From where: an address, or which service carried it.
    pub from: &'a str,
}

impl CallerName<'_> {
    /// One line of the log about a command of this operator.
    pub fn audit(&self, unit: &UnitName, verb: &str, args: &str, outcome: &str) {
        let OperatorKey { name, key, .. } = self.operator;
        say!("{name} {key} from {}: {unit} {verb} {args}: {outcome}", self.from);
    }
}

/// Whether `operator` has `own`.
pub fn owns(operator: &OperatorKey) -> bool {
    operator.may.iter().any(|grant| grant.to_string() == Permission::Own.name())
}

/// The arguments of a command, as the log shows them: JSON has no control characters.
pub fn shown(args: &Map<String, Value>) -> String {
    let mut text = Value::Object(args.clone()).to_string();
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// An address, for the log.
pub fn address(address: SocketAddr) -> String {
    let ip = address.ip().to_canonical();
    SocketAddr::new(ip, address.port()).to_string()
}
