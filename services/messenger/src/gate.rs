//! Calls of this node's gate with signed commands. The answer becomes the text of a message.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use octet_node::control::{CallError, Client, PublicKey};
use serde_json::{Map, Value};

use octet_messages::limits::TEXT;

/// The timeout for the next part of an answer.
pub const SILENCE: Duration = Duration::from_secs(30);

/// The timeout of a whole answer: a longer one is cut.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The suffix of an answer that was too long.
const CUT: &str = "\n(cut here: the answer is longer than a message)";

/// The suffix of an answer that did not end in time.
const ENDLESS: &str = "\n(cut here: the answer did not end in a minute)";

/// Whether the gate at `socket` knows `key` as an operator's.
pub fn is_operator(socket: &Path, key: &PublicKey) -> Result<bool, CallError> {
    let mut client = Client::connect(socket)?;
    client.stream().set_read_timeout(Some(SILENCE))?;
    let args = Map::from_iter([("key".to_owned(), Value::from(key.to_string()))]);
    Ok(client.call("check-key", args)? == "operator")
}

/// Runs `command` at the gate at `socket`, and returns its answer.
pub fn run(socket: &Path, command: &str) -> String {
    let mut said = String::new();
    let (begin, mut is_endless) = (Instant::now(), false);
    let outcome = ask(socket, command, |item| {
        add(&mut said, item);
        is_endless = begin.elapsed() > LONGEST;
        said.len() <= TEXT && !is_endless
    });
    match outcome {
        Ok(Value::Null) if said.is_empty() => said.push_str("done"),
        Ok(Value::Null) => {}
        Ok(end) => add(&mut said, &end),
        Err(CallError::Failure(failure)) => {
            add(
                &mut said,
                &Value::from(format!("not done: {}: {}", failure.message, failure.help)),
            );
        }
        Err(CallError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => is_endless = true,
        Err(error) => {
            let trouble = format!("the gate does not answer: {error}: say it again with another");
            add(&mut said, &Value::from(trouble));
        }
    }
    if is_endless { end_with(said, ENDLESS) } else { cut(said) }
}

/// Cuts the text to the size of a message.
pub fn cut(said: String) -> String {
    if said.len() > TEXT { end_with(said, CUT) } else { said }
}

fn end_with(mut said: String, mark: &str) -> String {
    let room = TEXT - mark.len();
    let end = (0..=room.min(said.len())).rev().find(|end| said.is_char_boundary(*end));
    said.truncate(end.unwrap_or(0));
    said.push_str(mark);
    said
}

fn ask(socket: &Path, command: &str, item: impl FnMut(&Value) -> bool) -> Result<Value, CallError> {
    let mut client = Client::connect(socket)?;
    client.stream().set_read_timeout(Some(SILENCE))?;
    client.call_each("run", Map::from_iter([("command".to_owned(), command.into())]), item)
}

fn add(said: &mut String, value: &Value) {
    if !said.is_empty() {
        said.push('\n');
    }
    match value {
        Value::String(text) => said.push_str(text),
        value => said.push_str(&format!("{value:#}")),
    }
}
