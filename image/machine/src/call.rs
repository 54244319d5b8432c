//! What the appliance is asked over its control port.

use std::io;
use std::time::{Duration, Instant};

use octet_control::file::Source;
use octet_control::{CallError, FailureCode, UnitName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::control::is_late;
use crate::error::MachineError;
use crate::log_line::LogLine;
use crate::machine::{Machine, TAIL};
use crate::status::{Boot, State, Status, UnitState};

/// How long a verb may take: longer than any that ends by itself, which only a hang does not.
const CALL_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a watch goes on without news before it is asked for again: on a serial port a request
/// can get lost (see [`connect`](crate::connect)).
const WATCH_TIMEOUT: Duration = Duration::from_secs(5);

impl Machine {
    /// Waits until all base units are ready.
    ///
    /// # Errors
    /// The machine ends, something that is needed does not work, or `within` passes first.
    pub fn wait_ready(&self, within: Duration) -> Result<Status, MachineError> {
        let settled = |status: &Status| matches!(status.state, State::Ready | State::Degraded);
        let status = self.wait_status("ready", within, settled)?;
        if status.state == State::Degraded {
            let reason = status.reason.unwrap_or_else(|| "it does not say why".into());
            return Err(MachineError::Degraded { reason, tail: self.tail(TAIL) });
        }
        Ok(status)
    }

    /// Waits until the status is as `is_wanted` says; `what` names that for errors.
    ///
    /// # Errors
    /// The machine ends, or `within` passes first.
    pub fn wait_status(
        &self,
        what: &str,
        within: Duration,
        mut is_wanted: impl FnMut(&Status) -> bool,
    ) -> Result<Status, MachineError> {
        let deadline = Instant::now() + within;
        loop {
            let mut found = None;
            let mut unreadable = None;
            // Asked again now and then: the answer starts with the state as it is.
            let answer = self.control.call_each(
                None,
                ("watch", Map::new()),
                None,
                deadline,
                WATCH_TIMEOUT,
                |item| {
                    match Status::deserialize(item) {
                        Ok(status) if is_wanted(&status) => found = Some(status),
                        Ok(_) => {}
                        Err(error) => unreadable = Some(error),
                    }
                    found.is_none() && unreadable.is_none() && Instant::now() < deadline
                },
            );
            let error = match (found, unreadable, answer) {
                (Some(status), ..) => return Ok(status),
                (None, Some(error), _) => error.into(),
                (None, None, Err(error)) if is_late(&error) && Instant::now() < deadline => {
                    continue;
                }
                (None, None, Err(error)) => error,
                (None, None, Ok(_)) => io::Error::from(io::ErrorKind::TimedOut).into(),
            };
            return Err(self.failed("watch", &format!("`{what}`"), within, error));
        }
    }

    /// Waits until all base units are ready and it is known whether the slot that was booted is
    /// good; returns the verdict.
    pub fn wait_slot(&self, within: Duration) -> Result<String, MachineError> {
        self.wait_ready(within)?;
        let settled = |status: &Status| {
            let slot = status.unit("slot").map(|unit| unit.state);
            matches!(slot, Some(UnitState::Exited | UnitState::Failed))
        };
        self.wait_status("the slot's verdict", within, settled)?;
        self.boot()?.slot.map(|slot| slot.verdict).ok_or_else(|| MachineError::Host {
            what: "the slot's verdict".into(),
            source: io::Error::other("no boot loader has chosen a slot"),
        })
    }

    /// Asks PID 1.
    ///
    /// # Errors
    /// It refuses, the machine ends, or there is no answer.
    pub fn call(&self, verb: &str, args: Value) -> Result<Value, MachineError> {
        self.request(None, verb, args, None, |_| true)
    }

    /// Asks `unit`, through PID 1.
    ///
    /// # Errors
    /// PID 1 or the unit refuses, the machine ends, or there is no answer.
    pub fn call_unit(&self, unit: &str, verb: &str, args: Value) -> Result<Value, MachineError> {
        self.request(Some(&unit_name(unit)?), verb, args, None, |_| true)
    }

    /// Asks `unit`, through PID 1, and sends it what it wants of the file that is the argument `name`.
    pub fn send_file(
        &self,
        unit: &str,
        verb: &str,
        name: &str,
        file: &mut dyn Source,
    ) -> Result<Value, MachineError> {
        self.send_file_with(unit, verb, json!({}), name, file)
    }

    /// The same with more arguments.
    pub fn send_file_with(
        &self,
        unit: &str,
        verb: &str,
        mut args: Value,
        name: &str,
        file: &mut dyn Source,
    ) -> Result<Value, MachineError> {
        args[name] = json!(file.describe());
        self.request(Some(&unit_name(unit)?), verb, args, Some(file), |_| true)
    }

    /// Does as [`send_file_with`](Self::send_file_with), but gives up after `patience` without a word, so
    /// that something else can be asked while the unit is still at it.
    pub fn send_file_within(
        &self,
        patience: Duration,
        unit: &str,
        verb: &str,
        name: &str,
        file: &mut dyn Source,
    ) -> Result<Value, MachineError> {
        let args = json!({ name: file.describe() });
        self.request_within(patience, Some(&unit_name(unit)?), verb, args, Some(file), |_| true)
    }

    /// Every line that `unit` has said in this boot. A unit that has never said anything has none.
    pub fn logs(&self, unit: &str) -> Result<Vec<String>, MachineError> {
        let lines = self.lines(json!({ "unit": unit, "boot": true, "fields": true }))?;
        Ok(lines.into_iter().map(|line| line.text).collect())
    }

    /// Every line of `unit` that is kept, also of boots before this one.
    pub fn all_logs(&self, unit: &str) -> Result<Vec<LogLine>, MachineError> {
        self.lines(json!({ "unit": unit, "lines": u32::MAX, "fields": true }))
    }

    fn lines(&self, args: Value) -> Result<Vec<LogLine>, MachineError> {
        let mut lines = Vec::new();
        let answer = self.request(None, "logs", args, None, |item| {
            lines.extend(item["lines"].as_array().into_iter().flatten().filter_map(LogLine::read));
            true
        });
        match answer {
            Err(MachineError::Call { source: CallError::Failure(failure), .. })
                if failure.code == FailureCode::NotFound =>
            {
                Ok(vec![])
            }
            answer => answer.map(|_| lines),
        }
    }

    fn request(
        &self,
        unit: Option<&UnitName>,
        verb: &str,
        args: Value,
        file: Option<&mut dyn Source>,
        item: impl FnMut(&Value) -> bool,
    ) -> Result<Value, MachineError> {
        self.request_within(CALL_TIMEOUT, unit, verb, args, file, item)
    }

    fn request_within(
        &self,
        patience: Duration,
        unit: Option<&UnitName>,
        verb: &str,
        args: Value,
        file: Option<&mut dyn Source>,
        item: impl FnMut(&Value) -> bool,
    ) -> Result<Value, MachineError> {
        let args = match args {
            Value::Object(args) => args,
            _ => Map::new(),
        };
        self.control
            .call_each(unit, (verb, args), file, Instant::now() + patience, patience, item)
            .map_err(|error| self.failed(verb, &format!("the answer of `{verb}`"), patience, error))
    }

    /// What `status` says.
    pub fn status(&self) -> Result<Status, MachineError> {
        self.typed("status")
    }

    /// What `boot` says.
    pub fn boot(&self) -> Result<Boot, MachineError> {
        self.typed("boot")
    }

    fn typed<T: DeserializeOwned>(&self, verb: &str) -> Result<T, MachineError> {
        let answer = self.call(verb, Value::Null)?;
        serde_json::from_value(answer).map_err(|error| MachineError::Call {
            verb: verb.to_owned(),
            source: error.into(),
            tail: self.tail(TAIL),
        })
    }

    /// Why a call failed: that the machine has ended says more than a broken connection.
    fn failed(&self, verb: &str, what: &str, within: Duration, error: CallError) -> MachineError {
        let awaited = what.to_owned();
        if is_late(&error) {
            return MachineError::Late { awaited, within, tail: self.tail(TAIL) };
        }
        let broken =
            matches!(error, CallError::Closed | CallError::Io(_) | CallError::Connect { .. });
        let soon = Instant::now() + Duration::from_secs(30);
        if broken && let Ok(Some(exit)) = self.exit(soon) {
            return MachineError::Ended { awaited, exit, tail: self.tail(TAIL) };
        }
        MachineError::Call { verb: verb.to_owned(), source: error, tail: self.tail(TAIL) }
    }
}

fn unit_name(unit: &str) -> Result<UnitName, MachineError> {
    UnitName::try_from(unit.to_owned()).map_err(|error| MachineError::Host {
        what: format!("unit `{unit}`"),
        source: io::Error::other(error),
    })
}
