//! Words of a person, signed as a command that others carry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octet_control::{PublicKey, UnitName};
use serde_json::{Map, Value};

use crate::command::{Command, CommandBody, InvalidCommand};
use crate::key::{NoRandomness, PrivateKey, random};

/// What a person wants done.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    /// The node that is to do it.
    pub target: PublicKey,
    /// The unit that has the verb.
    pub unit: &'a UnitName,
    pub verb: &'a str,
    /// Its arguments, each as NAME=VALUE.
    pub args: &'a [String],
    /// For how long it is good.
    pub good_for: Duration,
}

/// Why it is not signed.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// An argument has no value.
    #[error("`{0}` is not an argument")]
    Argument(String),
    #[error(transparent)]
    Command(#[from] InvalidCommand),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl WordsError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Argument(_) => "write NAME=VALUE: a whole number, true, or text",
            Self::Command(_) => "use fewer or shorter arguments",
            Self::Randomness(_) => "try again",
        }
    }
}

impl Words<'_> {
    /// The command, signed with the operator's `key`, as text. Each has an id of its own.
    pub fn sign(&self, key: &PrivateKey) -> Result<String, WordsError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let order = CommandBody {
            target: self.target,
            operator: key.public(),
            id: random()?,
            expires: (now + self.good_for).as_secs(),
            unit: self.unit.clone(),
            verb: self.verb.to_owned(),
            args: self.args.iter().map(|arg| argument(arg)).collect::<Result<Map<_, _>, _>>()?,
        };
        Ok(Command::sign(order, key)?.into())
    }
}

/// Which kind a verb wants is not known here: what looks like a number or a flag is one.
fn argument(text: &str) -> Result<(String, Value), WordsError> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| WordsError::Argument(text.to_owned()))?;
    let value = match value {
        "true" => Value::Bool(true),
        _ => value.parse::<u64>().map_or_else(|_| value.into(), Value::from),
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_has_a_name_and_a_value() {
        assert_eq!(argument("lines=3").unwrap(), ("lines".to_owned(), 3.into()));
        assert_eq!(argument("follow=true").unwrap(), ("follow".to_owned(), true.into()));
        assert_eq!(argument("unit=a=b").unwrap(), ("unit".to_owned(), "a=b".into()));
        assert!(argument("unit").is_err());
    }
}
