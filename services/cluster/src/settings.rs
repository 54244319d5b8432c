//! The sections of `appliance.toml` for this unit.

use std::path::Path;

use octet_appliance::operator::{Operator, Permission};
use octet_appliance::{Board, Cluster};
use octet_node::SettingsError;
use octet_node::control::{PublicKey, UnitName};
use octet_node::settings::{self, Which};

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
        let settings = settings::Settings::read(sockets, which)?;
        let operator: Operator = settings.section("operator")?;
        Ok(Self {
            cluster: settings.cluster()?,
            boards: settings.list("board")?,
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
