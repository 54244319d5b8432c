//! The sections of `appliance.toml` for this unit.

use std::path::Path;

use octet_appliance::operator::{Operator, Permission};
use octet_appliance::{Board, Cluster};
use octet_node::SettingsError;
use octet_node::control::{PublicKey, UnitName};
use octet_node::settings::{Which, section_in};
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Without it, the box is one board.
    pub cluster: Option<Cluster>,
    pub boards: Vec<Board>,
    /// The owners' keys.
    pub owners: Vec<PublicKey>,
}

impl Settings {
    /// Reads the settings from `config`, whose socket is in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer, or a value is invalid.
    pub fn read(sockets: &Path, which: Which) -> Result<Self, SettingsError> {
        let operator: Operator = section(sockets, "operator", which)?.unwrap_or_default();
        Ok(Self {
            cluster: section(sockets, "cluster", which)?,
            boards: section(sockets, "board", which)?.unwrap_or_default(),
            owners: owners(&operator),
        })
    }
}

/// The owners: `own` is granted for the whole box, so it is the same for each unit.
fn owners(operator: &Operator) -> Vec<PublicKey> {
    let Ok(unit) = UnitName::try_from(octet_node::map::CLUSTER.to_owned()) else { return vec![] };
    let own = operator.keys.iter().filter(|key| key.permits(Permission::Own, &unit));
    own.map(|operator| operator.key).collect()
}

/// An optional section.
fn section<T: DeserializeOwned>(
    sockets: &Path,
    name: &str,
    which: Which,
) -> Result<Option<T>, SettingsError> {
    let value: Value = section_in(sockets, name, which)?;
    match value {
        Value::Null => Ok(None),
        // An image without `config` answers with an empty section for one that is missing.
        Value::Object(empty) if empty.is_empty() => Ok(None),
        value => serde_json::from_value(value)
            .map(Some)
            .map_err(|source| SettingsError::Wrong { section: name.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn owners_are_those_with_own() {
        let [anna, ben] = [1, 3].map(|key| PublicKey::new([key; 32]));
        let keys = json!({"keys": [
            {"key": anna, "name": "anna", "may": ["own"]},
            {"key": ben, "name": "ben", "may": ["configure", "operate", "update", "read"]},
        ]});
        assert_eq!(owners(&serde_json::from_value(keys).unwrap()), [anna]);
        assert!(owners(&Operator::default()).is_empty());
    }
}
