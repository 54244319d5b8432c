//! Validated settings.

use std::collections::BTreeSet;

use octet_appliance::{Appliance, FileError, Segments, SettingsSection, Unit};
use serde_json::{Map, Value};

use crate::copy::StoredCopy;

/// The file name in error messages about a configuration that was received without a name.
pub const FILE: &str = "appliance.toml";

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The text as the operator wrote it.
    pub text: String,
    pub appliance: Appliance,
    /// The settings as JSON, by section, with all defaults.
    pub sections: Map<String, Value>,
}

impl Settings {
    /// Parses and validates `text`, the content of `file`, for a box whose image was built from
    /// `shipped`.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn parse(file: &str, text: String, shipped: &str) -> Result<Self, Box<FileError>> {
        let appliance = Appliance::parse_at_run_time(file, &text, shipped)?;
        Ok(Self { sections: sections(&appliance), text, appliance })
    }

    /// The rules between segments without effect, in an image with `units`; error positions refer
    /// to `file`.
    ///
    /// # Errors
    /// The first conflict of policies, with its line and column.
    pub fn unused_rules(&self, file: &str, units: &[Unit]) -> Result<Vec<String>, Box<FileError>> {
        let Some(settings) = self.appliance.cluster_settings() else { return Ok(vec![]) };
        let (_, lines) = Segments::evaluate(&settings, units, (file, &self.text))?;
        Ok(lines.iter().map(|line| format!("{line}; {}", line.hint)).collect())
    }

    /// Loads settings from `json`, which were validated when they were accepted or when the image
    /// was built. They are validated again, because another version of Octet may have done that.
    pub fn from_checked(text: String, json: Value) -> Result<Self, String> {
        let appliance: Appliance =
            serde_json::from_value(json).map_err(|error| error.to_string())?;
        appliance.check(FILE, "").map_err(|error| error.message)?;
        Ok(Self { sections: sections(&appliance), text, appliance })
    }

    /// Loads the settings of `copy`: from its JSON, or from its text if this version has renamed
    /// keys of the JSON.
    pub fn of(copy: StoredCopy, shipped: impl FnOnce() -> String) -> Result<Self, String> {
        let StoredCopy { text, settings, .. } = copy;
        Self::from_checked(text.clone(), settings).or_else(|problem| {
            Self::parse(FILE, text, &shipped()).map_err(|error| format!("{problem}; {error}"))
        })
    }

    /// The configured keys of operators and of boards, each with its owner.
    pub fn keys(&self) -> BTreeSet<String> {
        let Appliance { operator, board, .. } = &self.appliance;
        let operators = operator.keys.iter().map(|it| format!("operator {}: {}", it.name, it.key));
        let boards =
            board.iter().filter_map(|it| Some(format!("board {}: {}", it.number, it.key?)));
        operators.chain(boards).collect()
    }

    /// The value of `section`.
    pub fn section(&self, section: SettingsSection) -> Value {
        self.sections.get(section.name()).cloned().unwrap_or_default()
    }
}

fn sections(appliance: &Appliance) -> Map<String, Value> {
    match serde_json::json!(appliance) {
        Value::Object(sections) => sections,
        _ => Map::new(), // a struct is an object
    }
}
