//! The sections of `appliance.toml` for this unit.

use std::path::Path;

use octet_appliance::DisplaySection;
use octet_node::SettingsError;
use octet_node::settings::{self, Which};
use serde::Deserialize;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The name of the box.
    pub name: String,
    /// Without it no bus is touched.
    pub display: Option<DisplaySection>,
}

/// What is read of `[appliance]`.
#[derive(Debug, Default, Deserialize)]
struct ApplianceName {
    name: String,
}

impl Settings {
    /// Reads the settings from `config`, whose socket is in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer, or a value is invalid.
    pub fn read(sockets: &Path, which: Which) -> Result<Self, SettingsError> {
        let settings = settings::Settings::read(sockets, which)?;
        let ApplianceName { name } = settings.section("appliance")?;
        Ok(Self { name, display: settings.optional("display")? })
    }
}
