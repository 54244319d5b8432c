//! What a configuration says, checked.

use std::collections::BTreeSet;

use octet_appliance::{Appliance, FileError, Segments, SettingsSection, Unit};
use serde_json::{Map, Value};

use crate::copy::StoredCopy;

/// The name under which mistakes in a configuration are shown whose text came without one.
pub const FILE: &str = "appliance.toml";

/// A configuration that a box can be run with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// As an operator wrote it.
    pub text: String,
    pub appliance: Appliance,
    /// The same as JSON, by section, with all that is not said.
    pub sections: Map<String, Value>,
}

impl Settings {
    /// Parses and checks `text`, the content of `file`, for a box whose image was built from `shipped`.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn parse(file: &str, text: String, shipped: &str) -> Result<Self, Box<FileError>> {
        let appliance = Appliance::parse_at_run_time(file, &text, shipped)?;
        Ok(Self { sections: sections(&appliance), text, appliance })
    }

    /// Lines between segments of which nothing comes, in an image with `units`; they are of `file`.
    ///
    /// # Errors
    /// The first mistake of policies together, with its line and column.
    pub fn useless(&self, file: &str, units: &[Unit]) -> Result<Vec<String>, Box<FileError>> {
        let Some(settings) = self.appliance.cluster_settings() else { return Ok(vec![]) };
        let (_, lines) = Segments::evaluate(&settings, units, (file, &self.text))?;
        Ok(lines.iter().map(|line| format!("{line}; {}", line.hint)).collect())
    }

    /// What was checked when it was taken, or when the image was built, as `json`; checked once more:
    /// another version of Octet may have done it.
    pub fn from_checked(text: String, json: Value) -> Result<Self, String> {
        let appliance: Appliance =
            serde_json::from_value(json).map_err(|error| error.to_string())?;
        appliance.check(FILE, "").map_err(|error| error.message)?;
        Ok(Self { sections: sections(&appliance), text, appliance })
    }

    /// Those of `copy`: as they were checked, or by its text, if this version has other words for
    /// them.
    pub fn of(copy: StoredCopy, shipped: impl FnOnce() -> String) -> Result<Self, String> {
        let StoredCopy { text, settings, .. } = copy;
        Self::from_checked(text.clone(), settings).or_else(|problem| {
            Self::parse(FILE, text, &shipped()).map_err(|error| format!("{problem}; {error}"))
        })
    }

    /// The keys that it names of operators and of boards, each with whose it is.
    pub fn keys(&self) -> BTreeSet<String> {
        let Appliance { operator, board, .. } = &self.appliance;
        let operators = operator.keys.iter().map(|it| format!("operator {}: {}", it.name, it.key));
        let boards =
            board.iter().filter_map(|it| Some(format!("board {}: {}", it.number, it.key?)));
        operators.chain(boards).collect()
    }

    /// What it says in `section`.
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
