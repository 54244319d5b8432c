//! Messages on this computer itself, by messenger's example `post`.

mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use miette::{Diagnostic, IntoDiagnostic};
use serde::Deserialize;

use super::guest;
use super::sample::TimeSample;

pub use table::TITLE;

const PROGRAM: &str = "post";

/// Messages in a run, and how many each of eight addresses leaves at once: a mailbox takes 1000 of one.
const LETTERS: usize = 100;
const LOAD: usize = 900;

/// Where nothing waits for a disk.
const IN_MEMORY: &str = "/dev/shm";

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("messages were not measured:\n{said}")]
#[diagnostic(help("see services/messenger/examples/post for what it does"))]
struct Failed {
    said: String,
}

/// What it prints, in nanoseconds and bytes.
#[derive(Debug, Deserialize)]
struct Line {
    shown: Vec<u64>,
    left: Vec<u64>,
    sent_bytes: u64,
    fetched_bytes: u64,
    olm_in_json_bytes: u64,
    load: u64,
    load_ns: u64,
    floor_ns: u64,
    idle_bytes: u64,
    busy_bytes: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Messenger {
    /// How many there were, each with mailboxes of its own.
    pub runs: usize,
    /// With all files in memory, and on this computer's disk.
    pub places: [Runs; 2],
    /// Bytes of requests and answers that a message costs its writer.
    pub sent: u64,
    pub fetched: u64,
    /// Bytes of the same text by Olm within JSON.
    pub olm_in_json: u64,
}

/// The runs with files in one place.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// From the word until the other, who follows, shows the message.
    pub shown: TimeSample,
    /// From the word until it lies in the other's mailbox.
    pub left: TimeSample,
    /// Messages that one mailbox takes in a second, of each run.
    pub taken: Vec<f64>,
    /// Commits of as many bytes in a second, of each run.
    pub floor: Vec<f64>,
    /// Memory of a mailbox that nobody has used, in bytes.
    pub idle: Vec<f64>,
    /// And of one that has taken all that.
    pub busy: Vec<f64>,
}

/// Measures it `runs` times, in memory and on disk in turn.
pub fn measure(runs: usize) -> miette::Result<Messenger> {
    eprintln!("messenger  messages between two mailboxes, {runs} times");
    let program = guest::example("octet-messenger", PROGRAM)?;
    let shared = Path::new(IN_MEMORY);
    let memory = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let mut all = Messenger { runs, ..Messenger::default() };
    for _ in 0..runs {
        for (at, parent) in [&memory, &std::env::temp_dir()].into_iter().enumerate() {
            let line = run(&program, parent)?;
            (all.sent, all.fetched, all.olm_in_json) =
                (line.sent_bytes, line.fetched_bytes, line.olm_in_json_bytes);
            all.places[at].add(&line);
        }
        eprintln!("           {}", table::brief(&all));
    }
    Ok(all)
}

/// One run with its files below `parent`.
fn run(program: &PathBuf, parent: &Path) -> miette::Result<Line> {
    let folder = tempfile::Builder::new().prefix("octet-").tempdir_in(parent);
    let folder = folder.into_diagnostic()?;
    let mut command = Command::new(program);
    command.arg(folder.path()).args([LETTERS.to_string(), LOAD.to_string()]);
    let output = command.stdin(Stdio::null()).output().into_diagnostic()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failed { said }.into());
    }
    serde_json::from_slice(&output.stdout).into_diagnostic()
}

impl Runs {
    fn add(&mut self, line: &Line) {
        for (sample, times) in [(&mut self.shown, &line.shown), (&mut self.left, &line.left)] {
            times.iter().for_each(|ns| sample.add(Duration::from_nanos(*ns)));
        }
        let rate = |ns: u64| line.load as f64 / Duration::from_nanos(ns).as_secs_f64();
        self.taken.push(rate(line.load_ns));
        self.floor.push(rate(line.floor_ns));
        self.idle.push(line.idle_bytes as f64);
        self.busy.push(line.busy_bytes as f64);
    }
}
