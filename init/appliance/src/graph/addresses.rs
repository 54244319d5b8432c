//! Checks the addresses of units: no two units share one, and every address that a unit reaches
//! exists.

use std::collections::BTreeMap;

use super::UnitSource;
use crate::file_error::{FileError, nearest};
use crate::name::UnitName;

/// Rejects a socket path, or a protocol with a port, that two units have.
pub(super) fn check(units: &[UnitSource]) -> Result<(), Box<FileError>> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (index, source) in units.iter().enumerate() {
        let ports = source.unit.ports.iter().map(|(name, port)| {
            let keys = vec!["ports", name.as_str()];
            (port.to_string(), keys)
        });
        let paths = source.unit.sockets.iter().filter_map(|(name, socket)| {
            let keys = vec!["sockets", name.as_str(), "path"];
            socket.path.as_ref().map(|path| (path.to_string(), keys))
        });
        for (address, keys) in ports.chain(paths) {
            if let Some(&other) = taken.get(&address)
                && other != index
            {
                let name = &source.unit.name;
                let other = &units[other];
                let message = format!(
                    "unit `{name}`: {address} is also that of unit `{}`, in {}",
                    other.unit.name, other.file
                );
                let hint = "give one of them another";
                return Err(source.error_at(&keys, message, hint));
            }
            taken.insert(address, index);
        }
    }
    Ok(())
}

/// Rejects a unit that reaches a port that does not exist.
pub(super) fn check_reachable(units: &[UnitSource]) -> Result<(), Box<FileError>> {
    for source in units {
        for (whom, ports) in &source.unit.reaches {
            let name = &source.unit.name;
            let wrong = |message: String, known: Vec<&str>, wanted: &str| {
                let hint = match nearest(wanted, known)[..] {
                    [] => "add it, or remove the line".to_owned(),
                    [best, ..] => format!("did you mean `{best}`?"),
                };
                Err(source.error_at(&["reaches", whom.as_str()], message, &hint))
            };
            let Some(served) = units.iter().find(|other| other.unit.name == *whom) else {
                let message = format!("unit `{name}` reaches `{whom}`, which is not in the image");
                let known = units.iter().map(|other| other.unit.name.as_str()).collect();
                return wrong(message, known, whom.as_str());
            };
            if let Some(port) = ports.iter().find(|port| !served.unit.ports.contains_key(*port)) {
                let message = format!("unit `{whom}` has no port `{port}`, which `{name}` reaches");
                let known = served.unit.ports.keys().map(UnitName::as_str).collect();
                return wrong(message, known, port.as_str());
            }
        }
    }
    Ok(())
}
