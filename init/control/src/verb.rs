//! Self-describing verbs.

use octet_appliance::operator::Permission;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::file::FileArg;
use crate::message::{Failure, FailureCode};

/// The verb that every unit has: it lists all of the unit's verbs.
pub const DESCRIBE: &str = "describe";

/// A call that a unit answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verb {
    pub name: String,
    pub help: String,
    /// The permission that the caller needs.
    pub capability: Permission,
    /// Its arguments, in the order of a command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Arg>,
    /// How fields of its answer are shown; fields that are not listed are shown unchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// Whether only other units call it: help and completion omit it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Whether an operator with a key signs its calls, and with which number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// Calls are to be signed by an operator with a key: as a command with all arguments, which is
/// passed in the argument `signed`. For a file its SHA-256 digest is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The value of the argument `sequence`: a number that is valid for one call.
    pub sequence: u64,
}

/// An argument of a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arg {
    pub name: String,
    pub help: String,
    pub kind: ArgKind,
    /// Whether the argument is mandatory.
    pub required: bool,
    /// The short form of a flag, number or option on a command line, one letter: `-f`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<char>,
}

/// The kind of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArgKind {
    /// Any text; positional on a command line.
    Text,
    /// Any text; on a command line `--name VALUE`.
    Option,
    /// A whole number, 0 or more; on a command line `--name N`.
    Integer,
    /// A flag; on a command line `--name`.
    Flag,
    /// A file, which is sent in the pieces that the unit requests ([`file`](crate::file)); on a
    /// command line its path is positional, or `-` for standard input. A verb has at most one.
    File,
}

/// How one field of an answer is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub field: String,
    pub kind: ColumnKind,
}

/// The meaning of a number in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    Bytes,
    /// A duration in milliseconds.
    Milliseconds,
    /// Millionths of a unit: shown with six decimals.
    Millionths,
    /// Seconds since 1970: shown as a date (RFC 3339, UTC).
    Date,
    /// Lines of text, shown unchanged.
    Lines,
    /// `rows` on a time axis, each with `name`, `kind`, `start` and `ready`, and `ready_at`, all in
    /// milliseconds; or the `nodes` of a box, as `status --box` has them: shown as a drawing (SVG).
    Drawing,
    /// An unknown kind: shown unchanged.
    #[serde(other)]
    Other,
}

impl Verb {
    /// Finds the verb `name` among `verbs`.
    pub fn find<'a>(verbs: &'a [Self], name: &str) -> Result<&'a Self, Failure> {
        verbs.iter().find(|verb| verb.name == name).ok_or_else(|| Self::unknown(name))
    }

    /// The error for an unknown verb `name`.
    pub fn unknown(name: &str) -> Failure {
        let message = format!("there is no verb `{name}`");
        Failure::new(FailureCode::NotFound, message, "`describe` lists all verbs")
    }

    pub fn new(name: &str, capability: Permission, help: &str) -> Self {
        let (name, help) = (name.into(), help.into());
        let (args, columns) = (vec![], vec![]);
        Self { name, help, capability, args, columns, internal: false, signed: None }
    }

    /// Marks it as called only by other units: help and completion omit it.
    #[must_use]
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Requires signed calls, the next one with the number `sequence`.
    #[must_use]
    pub fn signed(mut self, sequence: u64) -> Self {
        self.signed = Some(Signed { sequence });
        self.optional("sequence", ArgKind::Integer, "The change's number; default: the next")
            .optional("signed", ArgKind::Option, "The operator's signature; octetctl adds it")
    }

    /// Adds a mandatory argument.
    #[must_use]
    pub fn required(self, name: &str, kind: ArgKind, help: &str) -> Self {
        self.add(name, kind, help, true)
    }

    /// Adds an optional argument.
    #[must_use]
    pub fn optional(self, name: &str, kind: ArgKind, help: &str) -> Self {
        self.add(name, kind, help, false)
    }

    fn add(mut self, name: &str, kind: ArgKind, help: &str, required: bool) -> Self {
        self.args.push(Arg { name: name.into(), help: help.into(), kind, required, short: None });
        self
    }

    /// Gives the last argument a short form of one letter.
    #[must_use]
    pub fn short(mut self, letter: char) -> Self {
        if let Some(arg) = self.args.last_mut() {
            arg.short = Some(letter);
        }
        self
    }

    /// Sets how fields of the answer are shown.
    #[must_use]
    pub fn columns(mut self, kind: ColumnKind, fields: &[&str]) -> Self {
        self.columns.extend(fields.iter().map(|field| Column { field: (*field).to_owned(), kind }));
        self
    }

    /// Checks `args` against the verb's arguments.
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
                ArgKind::Text | ArgKind::Option => value.is_string(),
                ArgKind::Integer => value.is_u64(),
                ArgKind::Flag => value.is_boolean(),
                ArgKind::File => FileArg::deserialize(value).is_ok(),
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

/// Checked arguments of a verb.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments(Map<String, Value>);

impl Arguments {
    /// All of them, by name.
    pub fn all(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The text argument `name`, if given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The number `name`, if given.
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// The file `name`, if given; its content is sent when it is requested.
    pub fn file(&self, name: &str) -> Option<FileArg> {
        self.0.get(name).and_then(|value| FileArg::deserialize(value).ok())
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
        let verb = Verb::new("logs", Permission::Read, "")
            .required("unit", ArgKind::Text, "")
            .optional("since", ArgKind::Option, "")
            .optional("lines", ArgKind::Integer, "");
        let check = |value: Value| match value {
            Value::Object(args) => verb.check(args),
            _ => unreachable!(),
        };
        assert_eq!(check(json!({"unit": "a", "lines": 3})).unwrap().integer("lines"), Some(3));
        assert_eq!(check(json!({"unit": "a", "since": "1h"})).unwrap().text("since"), Some("1h"));
        for bad in [
            json!({}),
            json!({"unit": 3}),
            json!({"unit": "a", "lines": -1}),
            json!({"unit": "a", "since": 5}),
            json!({"unit": "a", "x": 1}),
        ] {
            assert_eq!(check(bad).unwrap_err().code, FailureCode::BadArgument);
        }
    }

    #[test]
    fn a_file_is_named_by_its_size() {
        let verb = Verb::new("install", Permission::Update, "").required("file", ArgKind::File, "");
        let check = |file: Value| verb.check(Map::from_iter([("file".to_owned(), file)]));
        let size = |file| check(file).unwrap().file("file").unwrap().size;
        assert_eq!((size(json!({"size": 7})), size(json!({}))), (Some(7), None));
        for bad in [json!("path"), json!(7), json!({"size": -1}), json!({"path": "x"})] {
            assert_eq!(check(bad).unwrap_err().code, FailureCode::BadArgument);
        }
    }

    /// Descriptions of arguments by older units are still understood, and those without a short
    /// form have the same encoding as before.
    #[test]
    fn a_letter_is_no_new_language() {
        let old = r#"{"name":"lines","help":"how many","kind":"integer","required":false}"#;
        let arg: Arg = serde_json::from_str(old).unwrap();
        assert_eq!((arg.short, serde_json::to_string(&arg).unwrap().as_str()), (None, old));
        let verb = Verb::new("logs", Permission::Read, "").optional("follow", ArgKind::Flag, "");
        let verb = verb.short('f').optional("fields", ArgKind::Flag, "");
        let letters: Vec<_> = verb.args.iter().map(|arg| arg.short).collect();
        assert_eq!(letters, [Some('f'), None]);
        let back: Verb = serde_json::from_value(serde_json::to_value(&verb).unwrap()).unwrap();
        assert_eq!(back, verb);
    }
}
