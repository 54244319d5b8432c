//! Signs a person's command line as a command for later delivery.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octet_control::{PublicKey, UnitName};
use serde_json::{Map, Value};

use crate::command::{Command, CommandBody};
use crate::key::{NoRandomness, PrivateKey, random};
use crate::signed::InvalidSigned;

/// A person's command.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    /// The executing node.
    pub target: PublicKey,
    pub unit: &'a UnitName,
    pub verb: &'a str,
    /// The arguments, each as NAME=VALUE.
    pub args: &'a [String],
    /// The validity period.
    pub good_for: Duration,
}

/// Why a command cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// An argument has no value.
    #[error("`{0}` is not an argument")]
    Argument(String),
    #[error(transparent)]
    Command(#[from] InvalidSigned),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl WordsError {
    /// What the user can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Argument(_) => "write NAME=VALUE: a whole number, true, or text",
            Self::Command(_) => "use fewer or shorter arguments",
            Self::Randomness(_) => "try again",
        }
    }
}

impl Words<'_> {
    /// The signed command as text. Each has a new id.
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

/// The argument types of a verb are unknown here: text that looks like a number or a flag becomes one.
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
