//! Verbs that describe themselves.

use octet_appliance::operator::Permission;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::file::FileArg;
use crate::message::{Failure, FailureCode};

/// The verb that every unit has: it lists all of the unit's verbs.
pub const DESCRIBE: &str = "describe";

/// One thing a unit can be asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verb {
    pub name: String,
    pub help: String,
    /// What the caller must be allowed to do.
    pub capability: Permission,
    /// Its arguments, in the order of a command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Arg>,
    /// How the fields of its answer are shown; fields that are not listed are shown as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// Whether only other units call it: help and completion leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Whether whoever has a key signs a call of it, and for which number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// That a call is to be signed by whoever has a key: as a command of all its arguments, which is
/// another one, `signed`. Of a file its SHA-256 is among what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// What the argument `sequence` is then: a number that is good for one call.
    pub sequence: u64,
}

/// An argument of a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arg {
    pub name: String,
    pub help: String,
    pub kind: ArgKind,
    /// Whether the verb does not work without it.
    pub required: bool,
    /// One letter that may stand for the name of a flag, number or option on a command line: `-f`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<char>,
}

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArgKind {
    /// Any text; on a command line in its place.
    Text,
    /// Any text; on a command line `--name VALUE`.
    Option,
    /// A whole number, 0 or more; on a command line `--name N`.
    Integer,
    /// Yes or no; on a command line `--name`.
    Flag,
    /// A file, which comes in the pieces that are asked for ([`file`](crate::file)); on a command
    /// line its path in its place, or `-` for standard input. A verb takes one at most.
    File,
}

/// How one field of an answer is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub field: String,
    pub kind: ColumnKind,
}

/// What a number in an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    Bytes,
    /// A length of time in milliseconds.
    Milliseconds,
    /// Seconds since 1970: shown as a date (RFC 3339, UTC).
    Date,
    /// Lines of text, shown as they are.
    Lines,
    /// `rows` in time, each with `name`, `kind`, `start` and `ready`, and `ready_at`, all in milliseconds: shown as
    /// a drawing (SVG).
    Drawing,
    /// One that is not known here: shown as it is.
    #[serde(other)]
    Other,
}

impl Verb {
    /// The verb `name` of a unit that has `verbs`.
    pub fn find<'a>(verbs: &'a [Self], name: &str) -> Result<&'a Self, Failure> {
        verbs.iter().find(|verb| verb.name == name).ok_or_else(|| Self::unknown(name))
    }

    /// The answer to who asks for `name`, which is no verb.
    pub fn unknown(name: &str) -> Failure {
        let message = format!("there is no verb `{name}`");
        Failure::new(FailureCode::NotFound, message, "`describe` lists all verbs")
    }

    pub fn new(name: &str, capability: Permission, help: &str) -> Self {
        let (name, help) = (name.into(), help.into());
        let (args, columns) = (vec![], vec![]);
        Self { name, help, capability, args, columns, internal: false, signed: None }
    }

    /// Has help and completion leave it out: only other units call it.
    #[must_use]
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Has calls signed by whoever has a key, the next one with the number `sequence`.
    #[must_use]
    pub fn signed(mut self, sequence: u64) -> Self {
        self.signed = Some(Signed { sequence });
        self.optional("sequence", ArgKind::Integer, "The change's number; default: the next")
            .optional("signed", ArgKind::Option, "The operator's signature; octetctl adds it")
    }

    /// Adds an argument that must be given.
    #[must_use]
    pub fn required(self, name: &str, kind: ArgKind, help: &str) -> Self {
        self.add(name, kind, help, true)
    }

    /// Adds an argument that may be left out.
    #[must_use]
    pub fn optional(self, name: &str, kind: ArgKind, help: &str) -> Self {
        self.add(name, kind, help, false)
    }

    fn add(mut self, name: &str, kind: ArgKind, help: &str, required: bool) -> Self {
        self.args.push(Arg { name: name.into(), help: help.into(), kind, required, short: None });
        self
    }

    /// Gives the argument that was added last a form of one letter.
    #[must_use]
    pub fn short(mut self, letter: char) -> Self {
        if let Some(arg) = self.args.last_mut() {
            arg.short = Some(letter);
        }
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

/// Arguments that fit their verb.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments(Map<String, Value>);

impl Arguments {
    /// All of them, by name.
    pub fn all(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The text argument `name`, if it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The number `name`, if it was given.
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// The file `name`, if one was given; its content comes as it is asked for.
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

    /// What a unit of before said of an argument is still understood, and one without a letter is
    /// still said in the same words.
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
