//! Lists the verbs that an operator may use, from the units' own descriptions.

use std::fmt::Write;

use octet_node::control::operator::OperatorKey;
use octet_node::control::{ArgKind, DESCRIBE, Failure, UnitName, Verb};
use octet_node::hello::GATE;

use crate::gate::Gate;
use crate::relay::RELAY;
use crate::run::RUN;

/// The verb that returns the list.
pub const VERBS: &str = "verbs";

impl Gate {
    /// A line for each verb that `operator` may use, or for all verbs; with `signed` only those
    /// that a signed command can call. Verbs of a unit that does not answer are omitted.
    ///
    /// # Errors
    /// PID 1 does not list the units.
    pub async fn offer(
        &self,
        operator: Option<&OperatorKey>,
        signed: bool,
    ) -> Result<String, Failure> {
        let mut lines = String::new();
        for unit in std::iter::once(self.units.init.clone()).chain(self.units.names().await?) {
            let Ok(verbs) = self.units.verbs(&unit).await else { continue };
            let may = |verb: &&Verb| {
                // At the gate, every operator may list the verbs.
                let is_open = unit.as_str() == GATE && verb.name == VERBS;
                is_open || operator.is_none_or(|operator| operator.permits(verb.capability, &unit))
            };
            let verbs =
                verbs.iter().filter(|verb| verb.name != DESCRIBE && !verb.internal).filter(may);
            for verb in verbs.filter(|verb| !signed || can_be_signed(&unit, verb)) {
                // Writing to a string cannot fail.
                let _ = writeln!(lines, "{unit} {}: {}", with_args(verb), verb.help);
            }
        }
        lines.pop(); // the last newline
        Ok(lines)
    }
}

/// Whether a signed command can call `verb`: it cannot carry a file, a connection or another
/// command.
fn can_be_signed(unit: &UnitName, verb: &Verb) -> bool {
    let is_way = unit.as_str() == GATE && [RUN, RELAY].contains(&verb.name.as_str());
    !is_way && verb.args.iter().all(|arg| arg.kind != ArgKind::File)
}

/// The verb and its arguments, optional ones in brackets.
fn with_args(verb: &Verb) -> String {
    verb.args.iter().fold(verb.name.clone(), |mut line, arg| {
        let value = match arg.kind {
            ArgKind::Flag => "true",
            ArgKind::Integer => "NUMBER",
            ArgKind::File => "FILE",
            ArgKind::Text | ArgKind::Option => "TEXT",
        };
        let (open, close) = if arg.required { ("", "") } else { ("[", "]") };
        let _ = write!(line, " {open}{}={value}{close}", arg.name);
        line
    })
}
