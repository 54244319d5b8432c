//! Maps on this computer itself, by cluster's example `spread`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use miette::{Diagnostic, IntoDiagnostic};
use serde::Deserialize;
use tempfile::TempDir;

use super::{MAX, Maps};
use crate::guest;

const PROGRAM: &str = "spread";

pub const ROUNDS: usize = 20;

/// Files that are in memory: each board has a flash of its own, and this computer only one disk.
const IN_MEMORY: &str = "/dev/shm";

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("maps to {MAX} boards were not measured:\n{said}")]
#[diagnostic(help("see services/cluster/examples/spread for what it does"))]
struct Failed {
    said: String,
}

/// What it prints, in nanoseconds but for the first.
#[derive(Debug, Deserialize)]
struct Line {
    bytes: u64,
    maps: Vec<u64>,
    bare: Vec<u64>,
}

pub struct Spread {
    program: PathBuf,
    _folder: TempDir,
}

impl Spread {
    pub fn new() -> miette::Result<Self> {
        let made = guest::example("octet-cluster", PROGRAM)?;
        let folder = tempfile::tempdir().into_diagnostic()?;
        // Cargo may put another in its place, if a source changes meanwhile.
        let program = folder.path().join(PROGRAM);
        std::fs::copy(made, &program).into_diagnostic()?;
        Ok(Self { program, _folder: folder })
    }

    /// Changes the map of a new box some times.
    pub fn run(&self, all: &mut Maps) -> miette::Result<()> {
        let shared = Path::new(IN_MEMORY);
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("octet-").tempdir_in(parent);
        let folder = folder.into_diagnostic()?;
        let mut command = Command::new(&self.program);
        command.arg(folder.path()).args([MAX.to_string(), ROUNDS.to_string()]);
        let output = command.stdin(Stdio::null()).output().into_diagnostic()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failed { said }.into());
        }
        let line: Line = serde_json::from_slice(&output.stdout).into_diagnostic()?;
        all.bytes = line.bytes;
        for (sample, times) in [(&mut all.maps, line.maps), (&mut all.bare, line.bare)] {
            times.into_iter().for_each(|ns| sample.add(Duration::from_nanos(ns)));
        }
        Ok(())
    }
}
