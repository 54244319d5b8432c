//! `octetctl cache add` through the gate on this computer itself, by the example `upload` of the services' program.

mod table;

use std::path::Path;
use std::process::{Command, Stdio};

use miette::{Diagnostic, IntoDiagnostic};
use serde::Deserialize;

use super::guest;

pub use table::TITLE;

/// The example of the services' program.
const PROGRAM: &str = "upload";

/// The file, in bytes, and how long a round trip takes, in milliseconds.
const SIZE: u64 = 256 << 20;
const ROUND_TRIP: u32 = 50;

/// Where nothing waits for a disk.
const IN_MEMORY: &str = "/dev/shm";

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("no upload was measured:\n{said}")]
#[diagnostic(help(
    "see services/program/examples/upload for what it does; it needs 1 GiB in /dev/shm"
))]
struct Failed {
    said: String,
}

/// What it prints: bytes a second, and bytes of memory.
#[derive(Debug, Deserialize)]
struct Line {
    delayed: f64,
    direct: f64,
    tcp: f64,
    gate_bytes: f64,
    cache_bytes: f64,
}

/// All runs, each with a gate and a cache of its own.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// Through the way that takes time, in bytes a second.
    pub delayed: Vec<f64>,
    /// Through one that takes none.
    pub direct: Vec<f64>,
    /// TCP alone through the first one.
    pub tcp: Vec<f64>,
    /// The most memory of the gate after the first, in bytes.
    pub gate: Vec<f64>,
    pub cache: Vec<f64>,
}

/// Measures it `runs` times.
pub fn measure(runs: usize) -> miette::Result<Upload> {
    eprintln!("upload     a file through the gate, {runs} times");
    let program = guest::example("octet", PROGRAM)?;
    let mut all = Upload::default();
    for _ in 0..runs {
        all.add(&run(&program)?);
        eprintln!("           {}", table::brief(&all));
    }
    Ok(all)
}

fn run(program: &Path) -> miette::Result<Line> {
    let shared = Path::new(IN_MEMORY);
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("octet-").tempdir_in(parent);
    let folder = folder.into_diagnostic()?;
    let mut command = Command::new(program);
    command.arg(folder.path()).args([SIZE.to_string(), ROUND_TRIP.to_string()]);
    let output = command.stdin(Stdio::null()).output().into_diagnostic()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failed { said }.into());
    }
    serde_json::from_slice(&output.stdout).into_diagnostic()
}

impl Upload {
    fn add(&mut self, line: &Line) {
        self.delayed.push(line.delayed);
        self.direct.push(line.direct);
        self.tcp.push(line.tcp);
        self.gate.push(line.gate_bytes);
        self.cache.push(line.cache_bytes);
    }
}
