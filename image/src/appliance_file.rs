//! `appliance.toml` with the text it was read from.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use octet_appliance::{Appliance, FileError, Segments};

use crate::tree::{Because, ImageUnits};

/// The file a person edits, parsed, with what is needed to show a mistake in its place.
#[derive(Debug, Clone)]
pub struct ApplianceFile {
    /// The file, as a person names it.
    pub file: String,
    pub text: String,
    /// Its folder, to which the paths in it are relative.
    pub folder: PathBuf,
    pub appliance: Appliance,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ApplianceError {
    #[error("cannot read {path}: {why}")]
    #[diagnostic(help("name the appliance's file with --appliance FILE"))]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("{path}:{line}: this line is not UTF-8")]
    #[diagnostic(help("save the file as UTF-8 in your editor, or write this line anew"))]
    NotText {
        path: PathBuf,
        /// The first line that is not, from 1.
        line: usize,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wrong(#[from] Box<FileError>),
}

/// A mistake in a person's file, as an error of a whole command.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error(transparent)]
#[diagnostic(transparent)]
pub struct Mistake(#[from] Box<FileError>);

impl ApplianceFile {
    /// Reads and checks the file at `path`.
    pub fn read(path: &Path) -> Result<Self, ApplianceError> {
        let bytes = fs::read(path)
            .map_err(|why| ApplianceError::Unreadable { path: path.to_owned(), why })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            ApplianceError::NotText { path: path.to_owned(), line }
        })?;
        let file = path.display().to_string();
        let appliance = Appliance::parse(&file, &text)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { file, text, folder, appliance })
    }

    /// A mistake in the file.
    pub fn error(
        &self,
        at: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Box<FileError> {
        FileError::new(&self.file, &self.text, at, message, hint)
    }

    /// Lines between segments of which nothing comes, in an image with `units`.
    pub fn unused_rules(&self, units: &ImageUnits) -> Result<Vec<FileError>, Box<FileError>> {
        let Some(settings) = self.appliance.cluster_settings() else { return Ok(vec![]) };
        let units: Vec<_> = units.all.iter().map(|it| it.source.unit.clone()).collect();
        Ok(Segments::evaluate(&settings, &units, (&self.file, &self.text))?.1)
    }

    /// The reason that the item at `at` gives: its line, its list, its name.
    pub fn because(&self, at: &Range<usize>, list: &str, name: &str) -> Because {
        let before = self.text.as_bytes().iter().take(at.start);
        let lines = before.filter(|byte| **byte == b'\n').count();
        let text = self.text.lines().nth(lines).unwrap_or_default();
        Because::line(lines + 1, text, format!("{list} = {name}"))
    }
}

/// The hint for a name that is not there: the nearest ones, or what to do without any.
pub fn nearest_hint(near: &[&str], otherwise: &str) -> String {
    match near {
        [] => otherwise.to_owned(),
        [one] => format!("did you mean `{one}`?"),
        _ => format!("the nearest names are: {}", near.join(", ")),
    }
}
