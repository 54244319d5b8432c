//! Where units can be reached: no two of them at the same place.

use std::collections::BTreeMap;

use super::UnitSource;
use crate::file_error::FileError;

/// Refuses a path of a socket, or a protocol with a port, that two units have.
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
