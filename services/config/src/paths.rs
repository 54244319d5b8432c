//! The paths of the image's and the box's files.

use std::fs;
use std::path::PathBuf;

use octet_appliance::{APPLIANCE, SETTINGS, SOCKETS, UNITS};
use octet_node::PID_1;
use octet_node::control::{Failure, FailureCode};

use crate::settings::Settings;

#[derive(Debug, Clone)]
pub struct ConfigPaths {
    /// The image's configuration.
    pub image: BuiltConfig,
    /// The units of the image, as JSON.
    pub units: PathBuf,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The folder of copies, if the box has a data partition.
    pub state: Option<PathBuf>,
    /// PID 1's user, whose impersonation of operators is trusted.
    pub pid_1: u32,
}

/// The configuration that the image was built with.
#[derive(Debug, Clone)]
pub struct BuiltConfig {
    /// The text of `appliance.toml`.
    pub text: PathBuf,
    /// The validated settings, as JSON.
    pub settings: PathBuf,
}

impl ConfigPaths {
    /// The paths of a box, with `state` as the folder of copies.
    pub fn of_box(state: Option<PathBuf>) -> Self {
        Self {
            image: BuiltConfig { text: APPLIANCE.into(), settings: SETTINGS.into() },
            units: UNITS.into(),
            sockets: SOCKETS.into(),
            state,
            pid_1: PID_1,
        }
    }
}

impl BuiltConfig {
    pub fn text(&self) -> Result<String, Failure> {
        fs::read_to_string(&self.text).map_err(|error| {
            let message = format!("{}: {error}", self.text.display());
            let help = "install the image again: this one is damaged";
            Failure::new(FailureCode::Failed, message, help)
        })
    }

    pub fn settings(&self) -> Result<Settings, String> {
        let text = self.text().map_err(|failure| failure.message)?;
        let wrong = |error: String| format!("{}: {error}", self.settings.display());
        let json = fs::read(&self.settings).map_err(|error| wrong(error.to_string()))?;
        let json = serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
        Settings::from_checked(text, json).map_err(wrong)
    }
}
