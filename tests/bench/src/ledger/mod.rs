//! Four validators of a ledger on this computer itself, by ledger's example `claims`.

mod table;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use miette::{Diagnostic, IntoDiagnostic};
use serde::Deserialize;

use super::guest;
use super::sample::{TimeSample, middle};

pub use table::TITLE;

const PROGRAM: &str = "claims";

/// Owners with a bound key and a lock each.
const ACCOUNTS: usize = 700;

/// Claims that are submitted in a second, and for so many seconds.
const CLAIMS: usize = 700;
const LOAD: u64 = 20;

/// Seconds in which nothing happens, in which one of four is dead, and of heights without transactions.
const IDLE: u64 = 15;
const DEAD: u64 = 20;
const DAY: u64 = 60;

/// At the default spacing.
const HEIGHTS_OF_A_DAY: u64 = 8640;

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("a ledger was not measured:\n{said}")]
#[diagnostic(help("see services/ledger/examples/claims for what it does"))]
struct Failed {
    said: String,
}

/// What it prints, in nanoseconds and bytes.
#[derive(Debug, Deserialize)]
struct Line {
    receipts_signed: f64,
    receipts_verified: f64,
    claims: u64,
    took_ns: u64,
    decisions_ns: Vec<u64>,
    resident_bytes: Vec<f64>,
    anonymous_bytes: Vec<f64>,
    peak_bytes: Vec<f64>,
    idle_cpu_ns: Vec<u64>,
    idle_written_bytes: Vec<u64>,
    gap_ns: u64,
    day_written_bytes: Vec<u64>,
    day_heights: u64,
}

#[derive(Debug, Clone, Default)]
pub struct LedgerRuns {
    /// How many there were, each with validators of its own.
    pub runs: usize,
    /// That were decided in a second, of each run.
    pub claims: Vec<f64>,
    /// From the proposal of a block until the last validator has it on its disk.
    pub decisions: TimeSample,
    /// The longest time between two blocks beyond the spacing, with one of four dead.
    pub gap: TimeSample,
    /// Of each validator after the load, in bytes: resident, of it anonymous, and the most that was resident.
    pub resident: Vec<f64>,
    pub anonymous: Vec<f64>,
    pub peak: Vec<f64>,
    /// Of each validator, the share of a core that it takes while nothing happens, and bytes that it writes.
    pub idle: Vec<f64>,
    pub idle_written: Vec<f64>,
    /// Bytes that a validator writes in a day of heights without transactions, and how many heights were measured.
    pub day: Vec<f64>,
    pub heights: Vec<f64>,
    /// A second, by one core.
    pub signed: Vec<f64>,
    pub verified: Vec<f64>,
}

/// Measures it `runs` times.
pub fn measure(runs: usize) -> miette::Result<LedgerRuns> {
    eprintln!("ledger     claims of {ACCOUNTS} accounts by four validators, {runs} times");
    let program = guest::example("octet-ledger", PROGRAM)?;
    let mut all = LedgerRuns { runs, ..LedgerRuns::default() };
    for _ in 0..runs {
        all.add(run(&program)?);
        eprintln!("           {}", table::brief(&all));
    }
    Ok(all)
}

/// One run, with its files on this computer's disk.
fn run(program: &Path) -> miette::Result<Line> {
    let folder = tempfile::Builder::new().prefix("octet-").tempdir().into_diagnostic()?;
    let mut command = Command::new(program);
    command.arg(folder.path()).args([ACCOUNTS, CLAIMS].map(|it| it.to_string()));
    command.args([LOAD, IDLE, DEAD, DAY].map(|it| it.to_string()));
    let output = command.stdin(Stdio::null()).output().into_diagnostic()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failed { said }.into());
    }
    serde_json::from_slice(&output.stdout).into_diagnostic()
}

impl LedgerRuns {
    fn add(&mut self, line: Line) {
        self.claims.push(line.claims as f64 / Duration::from_nanos(line.took_ns).as_secs_f64());
        line.decisions_ns.iter().for_each(|ns| self.decisions.add(Duration::from_nanos(*ns)));
        self.gap.add(Duration::from_nanos(line.gap_ns));
        self.resident.extend(line.resident_bytes);
        self.anonymous.extend(line.anonymous_bytes);
        self.peak.extend(line.peak_bytes);
        let seconds = |ns: &u64| Duration::from_nanos(*ns).as_secs_f64();
        self.idle.extend(line.idle_cpu_ns.iter().map(|ns| seconds(ns) / IDLE as f64));
        self.idle_written.extend(line.idle_written_bytes.iter().map(|it| *it as f64));
        let of_a_day = |bytes: &u64| (bytes * HEIGHTS_OF_A_DAY / line.day_heights.max(1)) as f64;
        self.day.extend(line.day_written_bytes.iter().map(of_a_day));
        self.heights.push(line.day_heights as f64);
        self.signed.push(line.receipts_signed);
        self.verified.push(line.receipts_verified);
    }
}

/// The middle one.
fn of(all: &[f64]) -> f64 {
    middle(all.iter().copied())
}
