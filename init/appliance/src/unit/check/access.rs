//! Checks a unit's sockets, and what it reaches.

use std::collections::{BTreeSet, HashSet};

use super::UnitMistake;
use crate::SOCKETS;
use crate::unit::{NetworkAccess, Unit, UnitType};

/// Checks its ports and sockets.
pub(super) fn check_sockets(unit: &Unit) -> Result<(), UnitMistake> {
    let mut ports = BTreeSet::new();
    for (name, port) in &unit.ports {
        if !ports.insert(port) {
            let message = format!("{port} is there twice");
            return Err(UnitMistake::new(&["ports", name.as_str()], message, "remove one of them"));
        }
    }
    let mut paths = HashSet::new();
    let mut listening = HashSet::new();
    for (name, socket) in &unit.sockets {
        let at = ["sockets", name.as_str()];
        let key = |key| ["sockets", name.as_str(), key];
        if socket.ipv4_only && socket.port.is_none() {
            let message = "`ipv4_only` is about a `port`";
            return Err(UnitMistake::new(&key("ipv4_only"), message, "remove `ipv4_only`"));
        }
        if socket.raw.is_some() {
            if socket.path.is_some() || socket.port.is_some() || socket.open {
                let message =
                    "a `raw` socket has neither `path` nor `port`, and nobody connects to it";
                let hint = "make it two sockets, or remove what is not meant";
                return Err(UnitMistake::new(&at, message, hint));
            }
            continue;
        }
        match (&socket.path, &socket.port) {
            (Some(path), None) => {
                if !is_own_path(unit, path.as_str()) {
                    let message = format!("{path} is no place for a socket of this unit");
                    let name = &unit.name;
                    let hint = format!("use {SOCKETS}/{name}.sock or {SOCKETS}/{name}.NAME.sock");
                    return Err(UnitMistake::new(&key("path"), message, hint));
                }
                if !paths.insert(path) {
                    let message = format!("{path} is there twice");
                    return Err(UnitMistake::new(&key("path"), message, "remove one of them"));
                }
            }
            (None, Some(port)) => {
                if socket.open {
                    let message = "`open` is about a `path`; who reaches a port is not its matter";
                    return Err(UnitMistake::new(&key("open"), message, "remove `open`"));
                }
                if !unit.ports.contains_key(port) {
                    let message = format!("`{port}` is not one of the unit's `ports`");
                    let hint = format!("add it: `[ports]`, `{port} = \"tcp/…\"`");
                    return Err(UnitMistake::new(&key("port"), message, hint));
                }
                if !listening.insert(port) {
                    let message = format!("port `{port}` has two sockets");
                    return Err(UnitMistake::new(&key("port"), message, "remove one of them"));
                }
            }
            (None, None) => {
                return Err(UnitMistake::new(
                    &at,
                    "the socket has no address",
                    "add `path`, `port` or `raw`",
                ));
            }
            (Some(_), Some(_)) => {
                let message = "the socket has a `path` and a `port`";
                return Err(UnitMistake::new(
                    &at,
                    message,
                    "remove one of them, or make it two sockets",
                ));
            }
        }
    }
    Ok(())
}

/// Whether `path` is directly in the folder of sockets and begins with the unit's name: a unit
/// cannot take a path that others would take for another unit's.
fn is_own_path(unit: &Unit, path: &str) -> bool {
    let rest = path
        .strip_prefix(SOCKETS)
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|file| file.strip_prefix(unit.name.as_str()))
        .and_then(|rest| rest.strip_suffix(".sock"));
    // `sun_path` of unix(7) ends at 108 bytes.
    path.len() < 108
        && rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.').is_some_and(is_word))
}

/// 1 to 32 of a-z, 0-9 and -, like the names of verbs.
fn is_word(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Checks the units that it may call.
pub(super) fn check_calls(unit: &Unit) -> Result<(), UnitMistake> {
    if let Some(name) = unit.optional.iter().find(|name| !unit.talks.contains_key(*name)) {
        let message = format!("`{name}` is optional, and the unit does not talk to it");
        return Err(UnitMistake::new(
            &["optional"],
            message,
            "name its verbs in [talks], or remove it",
        ));
    }
    for (whom, verbs) in &unit.talks {
        let wrong = |message: String, hint: &str| {
            Err(UnitMistake::new(&["talks", whom.as_str()], message, hint))
        };
        if verbs.is_empty() {
            return wrong(format!("no verb of `{whom}` is named"), "name some, or remove the line");
        }
        if let Some(verb) = verbs.iter().find(|verb| !is_word(verb)) {
            return wrong(format!("`{verb}` is not a name of a verb"), "use a-z, 0-9 and -");
        }
        let mut seen = HashSet::new();
        if let Some(verb) = verbs.iter().find(|verb| !seen.insert(verb.as_str())) {
            return wrong(format!("`{verb}` is there twice"), "remove one of them");
        }
    }
    Ok(())
}

/// Checks which ports it may reach.
pub(super) fn check_ports(unit: &Unit) -> Result<(), UnitMistake> {
    for (whom, ports) in &unit.reaches {
        let wrong = |message: String, hint: &str| {
            Err(UnitMistake::new(&["reaches", whom.as_str()], message, hint))
        };
        if ports.is_empty() {
            return wrong(format!("no port of `{whom}` is named"), "name some, or remove the line");
        }
        let mut seen = HashSet::new();
        if let Some(port) = ports.iter().find(|port| !seen.insert(port.as_str())) {
            return wrong(format!("`{port}` is there twice"), "remove one of them");
        }
        if unit.sandbox.network != NetworkAccess::Host {
            let message = format!("the unit has a network of its own, in which `{whom}` is not");
            return wrong(message, "add `sandbox.network = \"host\"`");
        }
    }
    Ok(())
}

/// Checks which settings it reads, and that it can be notified of a change.
pub(super) fn check_config(unit: &Unit) -> Result<(), UnitMistake> {
    let wrong = |message: String, hint: &str| Err(UnitMistake::new(&["config"], message, hint));
    let mut seen = HashSet::new();
    if let Some(section) = unit.config.iter().find(|section| !seen.insert(section.name())) {
        return wrong(format!("`{section}` is there twice"), "remove one of them");
    }
    let path = format!("{SOCKETS}/{}.sock", unit.name);
    let is_open = |socket: &crate::unit::UnitSocket| {
        socket.open && socket.path.as_ref().is_some_and(|own| own.as_str() == path)
    };
    // A one-shot reads its settings anew at each start.
    let is_told = unit.unit_type != UnitType::Daemon || unit.sockets.values().any(is_open);
    if !unit.config.is_empty() && !is_told {
        let message = "the unit has no socket at which it can be told of a change".to_owned();
        let hint = format!("add `[sockets.control]` with `path = {path:?}` and `open = true`");
        return wrong(message, &hint);
    }
    Ok(())
}
