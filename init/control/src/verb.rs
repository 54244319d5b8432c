//! Verbs that describe themselves.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::message::{Failure, FailureCode};

/// The verb that every unit has: it lists all of the unit's verbs.
pub const DESCRIBE: &str = "describe";

/// One thing a unit can be asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verb {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub help: String,
    /// What the caller must be allowed to do.
    pub capability: Capability,
    /// Its arguments, in the order of a command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Arg>,
    /// How the fields of its answer are shown; fields that are not listed are shown as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
}

/// What a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Look, change nothing.
    Read,
    /// Start and stop what is there.
    Operate,
    /// Change settings.
    Configure,
    /// Change the software.
    Update,
    /// Change who may do what.
    Own,
}

/// An argument of a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub help: String,
    /// What it may be.
    pub kind: ArgKind,
    /// Whether the verb does not work without it.
    pub required: bool,
}

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArgKind {
    /// Any text; on a command line in its place.
    Text,
    /// A whole number, 0 or more; on a command line `--name N`.
    Integer,
    /// Yes or no; on a command line `--name`.
    Flag,
}

/// How one field of an answer is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The field.
    pub field: String,
    /// What its value means.
    pub kind: ColumnKind,
}

/// What a number in an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// Bytes.
    Bytes,
    /// A length of time in milliseconds.
    Milliseconds,
    /// Lines of text, shown as they are.
    Lines,
}

impl Verb {
    /// A verb without arguments.
    pub fn new(name: &str, capability: Capability, help: &str) -> Self {
        Self { name: name.into(), help: help.into(), capability, args: vec![], columns: vec![] }
    }

    /// Adds an argument that must be given.
    #[must_use]
    pub fn required(mut self, name: &str, kind: ArgKind, help: &str) -> Self {
        self.args.push(Arg { name: name.into(), help: help.into(), kind, required: true });
        self
    }

    /// Adds an argument that may be left out.
    #[must_use]
    pub fn optional(mut self, name: &str, kind: ArgKind, help: &str) -> Self {
        self.args.push(Arg { name: name.into(), help: help.into(), kind, required: false });
        self
    }

    /// Says how fields of the answer are shown.
    #[must_use]
    pub fn shown(mut self, kind: ColumnKind, fields: &[&str]) -> Self {
        self.columns.extend(fields.iter().map(|field| Column { field: (*field).to_owned(), kind }));
        self
    }

    /// Checks `args` against what the verb takes.
    ///
    /// # Errors
    /// An argument is missing, unknown or of the wrong kind; the failure names it.
    pub fn check(&self, args: Map<String, Value>) -> Result<Arguments, Failure> {
        let bad = |message: String| {
            let help = format!("see `octetctl {} --help`", self.name);
            Failure::new(FailureCode::BadArgument, message, help)
        };
        for (name, value) in &args {
            let Some(arg) = self.args.iter().find(|arg| arg.name == *name) else {
                return Err(bad(format!("`{}` takes no argument `{name}`", self.name)));
            };
            let fits = match arg.kind {
                ArgKind::Text => value.is_string(),
                ArgKind::Integer => value.is_u64(),
                ArgKind::Flag => value.is_boolean(),
            };
            if !fits {
                return Err(bad(format!(
                    "argument `{name}` of `{}` has the wrong kind",
                    self.name
                )));
            }
        }
        if let Some(arg) =
            self.args.iter().find(|arg| arg.required && !args.contains_key(&arg.name))
        {
            return Err(bad(format!("`{}` needs the argument `{}`", self.name, arg.name)));
        }
        Ok(Arguments(args))
    }
}

/// Arguments that fit their verb.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments(Map<String, Value>);

impl Arguments {
    /// The text argument `name`, if it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The number `name`, if it was given.
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// Whether the flag `name` was given.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_must_fit() {
        let verb = Verb::new("logs", Capability::Read, "")
            .required("unit", ArgKind::Text, "")
            .optional("lines", ArgKind::Integer, "");
        let check = |value: Value| match value {
            Value::Object(args) => verb.check(args),
            _ => unreachable!(),
        };
        assert_eq!(check(json!({"unit": "a", "lines": 3})).unwrap().integer("lines"), Some(3));
        for bad in [
            json!({}),
            json!({"unit": 3}),
            json!({"unit": "a", "lines": -1}),
            json!({"unit": "a", "x": 1}),
        ] {
            assert_eq!(check(bad).unwrap_err().code, FailureCode::BadArgument);
        }
    }
}
