//! What a configuration says, checked.

use octet_appliance::{Appliance, FileError, Section, Segments, Unit};
use serde_json::{Map, Value};

use crate::copy::StoredCopy;

/// The name under which mistakes in a configuration are shown: its text came without one.
const FILE: &str = "appliance.toml";

/// A configuration that a box can be run with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// As an operator wrote it.
    pub text: String,
    /// What it says.
    pub appliance: Appliance,
    /// The same as JSON, by section, with all that is not said.
    pub sections: Map<String, Value>,
}

impl Settings {
    /// Parses and checks `text`, for a box whose image was built from `shipped`.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn parse(text: String, shipped: &str) -> Result<Self, Box<FileError>> {
        let appliance = Appliance::parse_at_run_time(FILE, &text, shipped)?;
        Ok(Self { sections: sections(&appliance), text, appliance })
    }

    /// Lines between segments of which nothing comes, in an image with `units`.
    ///
    /// # Errors
    /// The first mistake of policies together, with its line and column.
    pub fn useless(&self, units: &[Unit]) -> Result<Vec<String>, Box<FileError>> {
        let Some(settings) = self.appliance.cluster_settings() else { return Ok(vec![]) };
        let (_, lines) = Segments::of(&settings, units, (FILE, &self.text))?;
        Ok(lines.iter().map(|line| format!("{line}; {}", line.hint)).collect())
    }

    /// What was checked when it was taken, or when the image was built, as `json`; checked once more:
    /// another version of Octet may have done it.
    ///
    /// # Errors
    /// In words: this version cannot be run with it.
    pub fn from_checked(text: String, json: Value) -> Result<Self, String> {
        let appliance: Appliance =
            serde_json::from_value(json).map_err(|error| error.to_string())?;
        appliance.check(FILE, "").map_err(|error| error.message)?;
        Ok(Self { sections: sections(&appliance), text, appliance })
    }

    /// Those of `copy`: as they were checked, or by its text, if this version has other words for
    /// them.
    ///
    /// # Errors
    /// In words: this version cannot be run with it.
    pub fn of(copy: StoredCopy, shipped: impl FnOnce() -> String) -> Result<Self, String> {
        let StoredCopy { text, settings, .. } = copy;
        Self::from_checked(text.clone(), settings).or_else(|problem| {
            Self::parse(text, &shipped()).map_err(|error| format!("{problem}; {error}"))
        })
    }

    /// What it says in `section`.
    pub fn section(&self, section: Section) -> Value {
        self.sections.get(section.name()).cloned().unwrap_or_default()
    }
}

fn sections(appliance: &Appliance) -> Map<String, Value> {
    match serde_json::json!(appliance) {
        Value::Object(sections) => sections,
        _ => Map::new(), // a struct is an object
    }
}
