//! Calls of this node's gate with signed commands. The answer becomes the text of a message.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use octet_node::control::{CallError, Client, PublicKey};
use serde_json::{Map, Value};

use octet_messages::limits::MAX_TEXT;

/// The timeout for the next part of an answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeout of a whole answer: a longer one is cut.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);

/// The suffix of an answer that was too long.
const TRUNCATED: &str = "\n(cut here: the answer is longer than a message)";

/// The suffix of an answer that did not end in time.
const TIMED_OUT: &str = "\n(cut here: the answer did not end in a minute)";

/// Whether the gate at `socket` knows `key` as an operator's.
pub fn is_operator(socket: &Path, key: &PublicKey) -> Result<bool, CallError> {
    let mut client = Client::connect(socket)?;
    client.stream().set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let args = Map::from_iter([("key".to_owned(), Value::from(key.to_string()))]);
    Ok(client.call("check-key", args)? == "operator")
}

/// Runs `command` at the gate at `socket`, and returns its answer.
pub fn run(socket: &Path, command: &str) -> String {
    let mut said = String::new();
    let (begin, mut is_endless) = (Instant::now(), false);
    let outcome = call(socket, command, |item| {
        add(&mut said, item);
        is_endless = begin.elapsed() > TOTAL_TIMEOUT;
        said.len() <= MAX_TEXT && !is_endless
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
    if is_endless { truncate_with(said, TIMED_OUT) } else { truncate(said) }
}

/// Cuts the text to the size of a message.
pub fn truncate(said: String) -> String {
    if said.len() > MAX_TEXT { truncate_with(said, TRUNCATED) } else { said }
}

fn truncate_with(mut said: String, mark: &str) -> String {
    let room = MAX_TEXT - mark.len();
    let end = (0..=room.min(said.len())).rev().find(|end| said.is_char_boundary(*end));
    said.truncate(end.unwrap_or(0));
    said.push_str(mark);
    said
}

fn call(
    socket: &Path,
    command: &str,
    item: impl FnMut(&Value) -> bool,
) -> Result<Value, CallError> {
    let mut client = Client::connect(socket)?;
    client.stream().set_read_timeout(Some(ANSWER_TIMEOUT))?;
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
