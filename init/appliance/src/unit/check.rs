//! What must hold between the keys of one unit file.

mod access;

use std::collections::HashSet;

use super::bounds::bounds;
use super::{CallGroup, Readiness, Unit, UnitType};
use crate::INIT;
use crate::characters::is_control_or_format;
use crate::document::{span_of, top_keys};
use crate::file_error::FileError;

/// A mistake, and the key at which it is.
pub(crate) struct UnitMistake {
    keys: Vec<String>,
    message: String,
    hint: String,
}

impl UnitMistake {
    fn new(keys: &[&str], message: impl Into<String>, hint: impl Into<String>) -> Self {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        Self { keys, message: message.into(), hint: hint.into() }
    }

    /// With its place in `text`, the content of `file`.
    pub fn to_file_error(&self, file: &str, text: &str) -> Box<FileError> {
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        FileError::new(file, text, span_of(text, &keys), &self.message, &self.hint)
    }
}

/// All that a target may say.
const TARGET_KEYS: [&str; 7] = ["name", "description", "type", "base", "needs", "after", "modules"];

/// Environment variables that PID 1 sets itself.
const RESERVED_VARIABLES: [&str; 10] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "OCTET_CALLERS",
    "OCTET_UNIT",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Refuses a target's keys that are about a program.
pub(crate) fn check_target(text: &str) -> Result<(), UnitMistake> {
    match top_keys(text).into_iter().find(|(key, _)| !TARGET_KEYS.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, _)) => {
            let message = format!("a target has no program, so it cannot have `{key}`");
            Err(UnitMistake::new(&[&key], message, format!("remove `{key}`")))
        }
    }
}

/// Checks `unit`, which was read from `text`.
pub(crate) fn check(unit: &Unit, text: &str) -> Result<(), UnitMistake> {
    if unit.name.as_str() == INIT {
        let message = format!("`{INIT}` is the name of PID 1");
        return Err(UnitMistake::new(&["name"], message, "give the unit another name"));
    }
    for bound in bounds() {
        if let Some(value) = bound.violation(unit) {
            let keys: Vec<&str> = bound.key.split('.').collect();
            let message = format!("`{}` is {value}", bound.key);
            return Err(UnitMistake::new(&keys, message, format!("give it {}", bound.range())));
        }
    }
    check_text(unit)?;
    check_lifecycle(unit, text)?;
    check_limits(unit)?;
    access::check_sockets(unit)?;
    access::check_calls(unit)?;
    access::check_ports(unit)?;
    access::check_config(unit)?;
    check_sandbox(unit)
}

/// Text that is handed on: to people's screens, to the kernel.
fn check_text(unit: &Unit) -> Result<(), UnitMistake> {
    if unit.description.contains(is_control_or_format) {
        let message = "`description` is not one line of plain text";
        return Err(UnitMistake::new(
            &["description"],
            message,
            "leave out line ends, escapes and what hides or turns text",
        ));
    }
    if unit.args.iter().any(|arg| arg.contains('\0')) {
        return Err(UnitMistake::new(&["args"], "an argument holds a NUL", "leave it out"));
    }
    for (name, value) in &unit.env {
        let keys = ["env", name.as_str()];
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let message = "this cannot be in an environment";
            return Err(UnitMistake::new(&keys, message, "name it without `=`, and leave out NUL"));
        }
        if RESERVED_VARIABLES.contains(&name.as_str()) {
            let message = format!("`{name}` is set by PID 1");
            return Err(UnitMistake::new(&keys, message, "give the variable another name"));
        }
    }
    Ok(())
}

/// Keys that only some types of unit have.
fn check_lifecycle(unit: &Unit, text: &str) -> Result<(), UnitMistake> {
    let daemon = unit.unit_type == UnitType::Daemon;
    if unit.readiness == Readiness::Socket && unit.sockets.is_empty() {
        let message = "the unit has no sockets that could be ready";
        return Err(UnitMistake::new(&["readiness"], message, "add a socket: `[sockets.NAME]`"));
    }
    if unit.watchdog.is_some() && !(daemon && unit.readiness == Readiness::Notify) {
        let message = "a watchdog is for daemons that send `READY=1`";
        return Err(UnitMistake::new(
            &["watchdog"],
            message,
            "remove it, or use `readiness = \"notify\"`",
        ));
    }
    if unit.reload.is_some() && !daemon {
        let message = "only a daemon can read its settings again";
        return Err(UnitMistake::new(&["reload"], message, "remove it"));
    }
    if unit.restart.max_delay < unit.restart.delay {
        // Of the two, the one that the file names.
        let has_max_delay = !span_of(text, &["restart", "max_delay"]).is_empty();
        let key = if has_max_delay { "max_delay" } else { "delay" };
        let message = format!(
            "`max_delay` is {}, shorter than `delay`, {}",
            unit.restart.max_delay, unit.restart.delay
        );
        return Err(UnitMistake::new(
            &["restart", key],
            message,
            "make `max_delay` the longer one",
        ));
    }
    Ok(())
}

/// Amounts that depend on each other.
fn check_limits(unit: &Unit) -> Result<(), UnitMistake> {
    if unit.log.burst < unit.log.rate {
        let message = format!("`burst` is {}, less than `rate`, {}", unit.log.burst, unit.log.rate);
        let hint = "give `burst` at least what may come in a second";
        return Err(UnitMistake::new(&["log", "burst"], message, hint));
    }
    let limits = &unit.limits;
    if let (Some(high), Some(max)) = (limits.memory_high, limits.memory_max)
        && high > max
    {
        let message = format!("`memory_high` is {high}, more than `memory_max`, {max}");
        let hint = "make it less: at `memory_max` a process is killed";
        return Err(UnitMistake::new(&["limits", "memory_high"], message, hint));
    }
    if limits.io_max.is_some_and(|io| io.read.is_none() && io.write.is_none()) {
        let message = "`io_max` bounds nothing";
        return Err(UnitMistake::new(&["limits", "io_max"], message, "add `read` or `write`"));
    }
    Ok(())
}

fn check_sandbox(unit: &Unit) -> Result<(), UnitMistake> {
    let sandbox = &unit.sandbox;
    let calls = &sandbox.system_calls;
    let wrong = |message: String, hint: &str| {
        Err(UnitMistake::new(&["sandbox", "system_calls"], message, hint))
    };
    let mut seen = HashSet::new();
    if let Some(group) = calls.iter().find(|group| !seen.insert(group.name())) {
        return wrong(format!("`{}` is there twice", group.name()), "remove one of them");
    }
    if calls.contains(&CallGroup::All) {
        if calls.len() > 1 {
            return wrong("`all` leaves nothing for another group".into(), "write [\"all\"]");
        }
    } else if !calls.contains(&CallGroup::Service) {
        return wrong("no program runs without `service`".into(), "add \"service\"");
    }
    let mut seen = vec![];
    for capability in &sandbox.capabilities {
        if seen.contains(capability) {
            let keys = ["sandbox", "capabilities"];
            return Err(UnitMistake::new(
                &keys,
                "a capability is there twice",
                "remove one of them",
            ));
        }
        seen.push(*capability);
    }
    if !sandbox.devices.is_empty() && !sandbox.private_dev {
        let message = "a unit that sees all devices is given none of its own";
        let hint = "leave out `private_dev = false`, or `devices`";
        return Err(UnitMistake::new(&["sandbox", "devices"], message, hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
