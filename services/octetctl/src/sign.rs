//! Signs commands for later delivery, commands that the box stores in the operator's name, and
//! appointments of a box's coordinator.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octet_control::cli::CallSigner;
use octet_control::{PublicKey, UnitName};
use octet_node::command::{Command, CommandBody};
use octet_node::key::{PrivateKey, random};
use octet_node::signed::InvalidSigned;
use octet_node::statement::{Appointment, SignedAppointment};
use octet_node::words::{Words, WordsError};
use serde_json::{Map, Value};

use crate::line::{SignCoordinatorLine, SignLine};

/// The epoch of a box whose coordinator was never replaced.
const FIRST_EPOCH: u64 = 1;

/// Why signing has failed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error(transparent)]
    Words(#[from] WordsError),
    /// The epoch is too low.
    #[error("a statement of epoch {0} is never valid: every box begins with 1")]
    Epoch(u64),
    /// The statement is invalid.
    #[error(transparent)]
    Statement(#[from] InvalidSigned),
}

impl SignError {
    /// A hint for the user.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Words(error) => error.help(),
            Self::Epoch(_) => "give one more than `octetctl cluster show` says",
            Self::Statement(_) => "sign it with the key of an owner",
        }
    }
}

/// The command of `line`, signed with `key`, as text.
///
/// # Errors
/// The command is invalid.
pub fn sign(line: &SignLine, key: &PrivateKey) -> Result<String, SignError> {
    let words = Words {
        target: line.node,
        unit: &line.unit,
        verb: &line.verb,
        args: &line.args,
        good_for: line.good_for,
    };
    Ok(words.sign(key)?)
}

/// The appointment of `line`, signed with the owner's `key`, as text.
///
/// # Errors
/// No box would accept it.
pub fn sign_coordinator(line: &SignCoordinatorLine, key: &PrivateKey) -> Result<String, SignError> {
    if line.epoch <= FIRST_EPOCH {
        return Err(SignError::Epoch(line.epoch));
    }
    let appointment = Appointment {
        owner: key.public(),
        coordinator: line.coordinator,
        epoch: line.epoch,
        replaces: line.replaces,
    };
    Ok(SignedAppointment::sign(appointment, key)?.into())
}

/// Signs calls of an operator to a box.
pub struct SigningCaller<'a> {
    pub node: PublicKey,
    pub key: &'a PrivateKey,
}

/// The validity of a command that is delivered at once; it allows for clocks that differ.
const AT_ONCE: Duration = Duration::from_secs(600);

impl CallSigner for SigningCaller<'_> {
    fn sign(
        &self,
        unit: &UnitName,
        verb: &str,
        args: &Map<String, Value>,
    ) -> Result<String, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let order = CommandBody {
            target: self.node,
            operator: self.key.public(),
            id: random().map_err(|error| error.to_string())?,
            expires: (now + AT_ONCE).as_secs(),
            unit: unit.clone(),
            verb: verb.to_owned(),
            args: args.clone(),
        };
        Command::sign(order, self.key).map(Into::into).map_err(|error| error.to_string())
    }

    fn sha256(&self, bytes: &[u8]) -> String {
        octet_node::digest::sha256(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        line: SignLine,
    }

    #[test]
    fn a_statement_about_the_coordinator() {
        let (owner, coordinator) =
            (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap().public());
        let mut line =
            SignCoordinatorLine { coordinator, epoch: 2, replaces: Some(owner.public()) };
        let statement =
            SignedAppointment::try_from(sign_coordinator(&line, &owner).unwrap()).unwrap();
        let said = statement.body();
        assert_eq!((said.owner, said.coordinator, said.epoch), (owner.public(), coordinator, 2));
        assert_eq!(said.replaces, line.replaces);
        line.epoch = 1;
        assert!(sign_coordinator(&line, &owner).unwrap_err().help().contains("cluster show"));
    }

    #[test]
    fn says_what_was_written() {
        let (node, key) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let words = format!(
            "sign --node {} --for 1h init logs unit=cache lines=3 follow=true",
            node.public()
        );
        let Only { line } = Only::try_parse_from(words.split(' ')).unwrap();
        let text = sign(&line, &key).unwrap();
        let command = Command::try_from(text.clone()).unwrap();
        let order = command.body();
        assert_eq!((order.target, order.operator), (node.public(), key.public()));
        assert_eq!((order.unit.as_str(), order.verb.as_str()), ("init", "logs"));
        let args = serde_json::json!({"unit": "cache", "lines": 3, "follow": true});
        assert_eq!(Value::Object(order.args.clone()), args);
        assert_ne!(sign(&line, &key).unwrap(), text);
    }
}
