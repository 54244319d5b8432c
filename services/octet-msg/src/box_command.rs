//! Commands to boxes, signed with the operator's key file, which `octetctl keygen` has generated.

use octet_messages::person::Person;
use octet_node::control::{DESCRIBE, INIT, PublicKey};
use octet_node::durable::StoredFile;
use octet_node::hello::GATE;
use octet_node::key;
use octet_node::map::CLUSTER;
use octet_node::words::Words;

use crate::cli::BoxCommand;
use crate::command::{CommandFailure, find};
use crate::profile;

/// The unit that sends alerts.
const MESSENGER: &str = "messenger";

/// The text of a message with the command `order`.
///
/// # Errors
/// The operator's key is missing, or the command is invalid.
pub fn sign(person: &Person, order: &BoxCommand) -> Result<String, CommandFailure> {
    // Without `--board` the box itself runs the command.
    let target = order.board.map_or_else(|| find(person, &order.name), Ok)?;
    let usual = || Some(profile::config_folder()?.join("key"));
    let path = order.key.clone().or_else(usual).ok_or(CommandFailure::NoHome)?;
    let key = match key::read(&path) {
        Ok(StoredFile::Value(key)) => key,
        Ok(StoredFile::Absent | StoredFile::Damaged) => return Err(CommandFailure::NoKey(path)),
        Err(error) => return Err(CommandFailure::Disk(path, error)),
    };
    let (unit, verb, args) = split(&order.words, &person.name());
    let unit = unit.parse().map_err(|_| CommandFailure::NoUnit(unit.to_owned()))?;
    Ok(Words { target, unit: &unit, verb, args: &args, good_for: order.good_for }.sign(&key)?)
}

/// Splits `words` into unit, verb and arguments. A single word is one of the commands that every
/// box accepts.
fn split<'a>(words: &'a [String], own: &PublicKey) -> (&'a str, &'a str, Vec<String>) {
    match words {
        [verb, what]
            if what == "alerts" && ["subscribe", "unsubscribe"].contains(&verb.as_str()) =>
        {
            (MESSENGER, verb, vec![format!("name={own}")])
        }
        [unit, verb, args @ ..] => (unit, verb, args.to_vec()),
        [word] if word == "help" => (GATE, "verbs", vec!["signed=true".to_owned()]),
        [word] if word == "boards" => (CLUSTER, "show", vec![]),
        [verb] => (INIT, verb, vec![]),
        [] => (INIT, DESCRIBE, vec![]),
    }
}
