//! The units that read settings, and calls to them.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use octet_appliance::{SettingsSection, UserName};
use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{CallError, Client, Failure, FailureCode, INIT, UnitName};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::keeper::Readers;

/// The timeout of a unit to accept settings. It only detects a hang: on a board under full
/// forwarding load, a unit gets little CPU time.
const TO_CHECK: Duration = Duration::from_secs(60);

/// The timeout of a unit to apply settings: netd runs programs with a timeout of a minute each.
const TO_APPLY: Duration = Duration::from_secs(150);

/// The states of units that cannot be called; each reads its settings when it starts.
const NOT_RUNNING: [&str; 5] = ["waiting", "backoff", "stopped", "failed", "exited"];

/// The relevant part of a unit.
#[derive(Debug, Clone, Deserialize)]
pub struct SectionReader {
    pub name: UnitName,
    user: UserName,
    #[serde(default)]
    config: Vec<SettingsSection>,
}

impl SectionReader {
    /// The readers among the units of an image; `json` is the list of the units.
    ///
    /// # Errors
    /// `json` is not a list of units.
    pub fn all(json: &[u8]) -> serde_json::Result<Vec<Self>> {
        let mut units: Vec<Self> = serde_json::from_slice(json)?;
        units.retain(|unit| !unit.config.is_empty());
        Ok(units)
    }

    pub fn reads(&self, section: SettingsSection) -> bool {
        self.config.contains(&section)
    }

    pub fn uid(&self) -> u32 {
        self.user.user().uid
    }
}

/// Calls the units through their sockets.
#[derive(Debug)]
pub struct SocketReaders {
    readers: Vec<SectionReader>,
    folder: PathBuf,
}

impl SocketReaders {
    /// Calls `readers`, whose sockets are in `folder`, like that of PID 1.
    pub fn new(readers: Vec<SectionReader>, folder: PathBuf) -> Self {
        Self { readers, folder }
    }

    /// Calls `verb` of each running unit that reads one of `sections`. Returns the units that do
    /// not run, and the failures of others.
    fn call_all(
        &self,
        sections: &[SettingsSection],
        verb: &str,
        time: Duration,
    ) -> (Vec<String>, Vec<Failure>) {
        let (mut not_running, mut failures) = (vec![], vec![]);
        let concerned =
            |reader: &&SectionReader| sections.iter().any(|section| reader.reads(*section));
        let mut concerned = self.readers.iter().filter(concerned).peekable();
        if concerned.peek().is_none() {
            return (not_running, failures);
        }
        let status = match self.status() {
            Ok(status) => status,
            Err(error) => {
                failures.push(call_failure(INIT, &error));
                return (not_running, failures);
            }
        };
        for reader in concerned {
            let name = reader.name.as_str();
            if !is_running(&status, name) {
                not_running.push(name.to_owned());
                continue;
            }
            match self.call(name, verb, time) {
                Ok(_) => {}
                Err(CallError::Failure(failure)) => {
                    let message = format!("{name} refuses: {}", failure.message);
                    failures.push(Failure { message, ..failure });
                }
                Err(error) => failures.push(call_failure(name, &error)),
            }
        }
        (not_running, failures)
    }

    fn call(&self, unit: &str, verb: &str, time: Duration) -> Result<Value, CallError> {
        self.connect(unit, time)?.call(verb, Map::new())
    }

    /// The units' states: the first item of `watch`, which costs PID 1 less than `status`.
    fn status(&self) -> Result<Value, CallError> {
        let mut status = Value::Null;
        self.connect(INIT, TO_CHECK)?.call_each("watch", Map::new(), |now| {
            status = now.clone();
            false
        })?;
        Ok(status)
    }

    fn connect(&self, unit: &str, time: Duration) -> Result<Client<UnixStream>, CallError> {
        let client = Client::connect(&socket(&self.folder, unit))?;
        client.stream().set_read_timeout(Some(time))?;
        client.stream().set_write_timeout(Some(time))?;
        Ok(client)
    }
}

impl Readers for SocketReaders {
    fn check(&self, sections: &[SettingsSection]) -> Result<Vec<String>, Failure> {
        let (not_running, failures) = self.call_all(sections, CHECK, TO_CHECK);
        merge_failures(failures).map_or(Ok(not_running), Err)
    }

    fn apply(&self, sections: &[SettingsSection]) -> Result<(), Failure> {
        let (_, failures) = self.call_all(sections, APPLY, TO_APPLY);
        merge_failures(failures).map_or(Ok(()), Err)
    }
}

pub fn socket(folder: &Path, unit: &str) -> PathBuf {
    folder.join(format!("{unit}.sock"))
}

/// Whether the unit can be called, by PID 1's `status`. A starting unit counts: it may have read
/// the settings already.
fn is_running(status: &Value, name: &str) -> bool {
    let units = status["units"].as_array().map_or(&[][..], Vec::as_slice);
    let state =
        units.iter().find(|unit| unit["name"] == name).and_then(|unit| unit["state"].as_str());
    state.is_some_and(|state| !NOT_RUNNING.contains(&state))
}

/// The first failure, with the messages of the others.
fn merge_failures(failures: Vec<Failure>) -> Option<Failure> {
    let mut failures = failures.into_iter();
    let mut first = failures.next()?;
    failures.for_each(|other| first.message = format!("{}; {}", first.message, other.message));
    Some(first)
}

fn call_failure(unit: &str, error: &CallError) -> Failure {
    let late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
    let why = match error {
        CallError::Io(error) if late.contains(&error.kind()) => "it takes too long".to_owned(),
        error => error.to_string(),
    };
    let help = format!("`status` shows how {unit} is; if it is stopped it is not asked");
    Failure::new(FailureCode::Failed, format!("{unit} does not answer: {why}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::UnitSource;
    use serde_json::json;

    #[test]
    fn units_that_read_settings_are_found() {
        let unit = |name: &str, lines: &str| {
            let text = format!("name = {name:?}\nexec = \"/x\"\n{lines}");
            json!(UnitSource::parse("unit.toml".into(), text).unwrap().unit)
        };
        let socket = "sockets.control = { path = \"/run/octet/gate.sock\", open = true }";
        let gate = unit("gate", &format!("config = [\"operator\"]\n{socket}"));
        let units = json!([unit("logd", ""), gate]).to_string();
        let readers = SectionReader::all(units.as_bytes()).unwrap();
        assert_eq!(readers.len(), 1);
        assert_eq!((readers[0].name.as_str(), readers[0].uid()), ("gate", 107));
        assert!(
            readers[0].reads(SettingsSection::Operator)
                && !readers[0].reads(SettingsSection::Appliance)
        );
        assert!(SectionReader::all(b"{}").is_err());
    }

    #[test]
    fn only_who_runs_is_asked() {
        let unit = |state: &str| json!({ "units": [{ "name": "a", "state": state }] });
        for (state, wanted) in [("ready", true), ("starting", true), ("stopping", true)]
            .into_iter()
            .chain(NOT_RUNNING.map(|state| (state, false)))
        {
            assert_eq!(is_running(&unit(state), "a"), wanted, "{state}");
        }
        assert!(!is_running(&unit("ready"), "b") && !is_running(&json!({}), "a"));
    }
}
