//! Objects on this computer itself, by cache's example `serve`.

mod table;

use std::path::Path;
use std::process::{Command, Stdio};

use miette::{Diagnostic, IntoDiagnostic};
use serde::Deserialize;

use super::sample::middle;
use super::{guest, packages};
use octet_image::setup::{libraries, unpacked_folder};

pub use table::TITLE;

const PROGRAM: &str = "serve";

const NGINX: &str = "nginx";

/// The object that is given by HTTP, and the one that goes from node to node, in bytes.
const LARGE: u64 = 1 << 30;
const BETWEEN: u64 = 256 << 20;

/// How often in a run, and how many seconds small objects are asked for each time.
const ROUNDS: usize = 2;
const SECONDS: usize = 3;

/// Connections by which they are asked for.
const CONNECTIONS: [usize; 3] = [1, 16, 256];

/// Where nothing waits for a disk.
const IN_MEMORY: &str = "/dev/shm";

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("objects were not measured:\n{said}")]
#[diagnostic(help(
    "see services/cache/examples/serve for what it does; it needs 2 GiB in /dev/shm, and UDP port 4433 of 127.0.1.1 and \
     of 127.0.1.2"
))]
struct Failed {
    said: String,
}

/// What it prints, in bytes, and bytes or requests a second.
#[derive(Debug, Deserialize)]
struct Line {
    idle_bytes: f64,
    peak_bytes: f64,
    whole: Pairs,
    small: [Pairs; CONNECTIONS.len()],
    fetched: Pairs,
    through: ThroughLine,
}

/// A web origin through the cache.
#[derive(Debug, Deserialize)]
struct ThroughLine {
    missed_seconds: Pairs,
    whole: Pairs,
    small: [Pairs; CONNECTIONS.len()],
    peak_bytes: f64,
}

#[derive(Debug, Clone, Default)]
pub struct CacheRuns {
    /// How many there were, each with nodes of its own.
    pub runs: usize,
    pub nginx: String,
    /// Memory of a node that nobody asks, in bytes.
    pub idle: Vec<f64>,
    /// The most that it has while it gives the large object by HTTP.
    pub peak: Vec<f64>,
    /// That object, beside nginx, in bytes a second.
    pub whole: Pairs,
    /// A small one, by so many connections each, in requests a second.
    pub small: [Pairs; CONNECTIONS.len()],
    /// From node to node, beside iroh-blobs alone, in bytes a second.
    pub fetched: Pairs,
    pub through: ThroughRuns,
}

/// A web origin through the cache, beside nginx with `proxy_cache`.
#[derive(Debug, Clone, Default)]
pub struct ThroughRuns {
    /// To the first byte of what is not stored yet, beside the origin itself, in seconds.
    pub missed: Pairs,
    /// A large response that is stored, in bytes a second.
    pub whole: Pairs,
    /// A small one, by so many connections each, in requests a second.
    pub small: [Pairs; CONNECTIONS.len()],
    /// The most memory that the node has had for all of it, in bytes.
    pub peak: Vec<f64>,
}

/// What cache does in a second, and what the other does, measured one right after the other.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Pairs(Vec<[f64; 2]>);

impl Pairs {
    pub fn cache(&self) -> f64 {
        middle(self.0.iter().map(|pair| pair[0]))
    }

    pub fn other(&self) -> f64 {
        middle(self.0.iter().map(|pair| pair[1]))
    }

    /// How much more the cache's value is.
    pub fn excess(&self) -> f64 {
        middle(self.0.iter().map(|[cache, other]| cache - other))
    }

    /// How many times as much as the other cache does.
    pub fn ratio(&self) -> f64 {
        middle(self.0.iter().map(|[cache, other]| cache / other))
    }
}

/// Measures it `runs` times.
pub fn measure(runs: usize) -> miette::Result<CacheRuns> {
    eprintln!("cache      objects by HTTP and from node to node, {runs} times");
    let program = guest::example("octet-cache", PROGRAM)?;
    let unpacked = unpacked_folder().ok_or(packages::NoFolder)?;
    let nginx = packages::version(&unpacked, NGINX);
    let mut all = CacheRuns { runs, nginx, ..CacheRuns::default() };
    for _ in 0..runs {
        all.add(run(&program, &unpacked)?);
        eprintln!("           {}", table::brief(&all));
    }
    Ok(all)
}

/// One run, with what is unpacked in that folder.
fn run(program: &Path, unpacked: &Path) -> miette::Result<Line> {
    let shared = Path::new(IN_MEMORY);
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("octet-").tempdir_in(parent);
    let folder = folder.into_diagnostic()?;
    let mut command = Command::new(program);
    command.arg(folder.path()).arg(unpacked.join("usr/sbin").join(NGINX));
    command.args([LARGE, BETWEEN].map(|bytes| bytes.to_string()));
    command.args([ROUNDS, SECONDS].iter().chain(&CONNECTIONS).map(ToString::to_string));
    command.env("LD_LIBRARY_PATH", libraries(unpacked));
    let output = command.stdin(Stdio::null()).output().into_diagnostic()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failed { said }.into());
    }
    serde_json::from_slice(&output.stdout).into_diagnostic()
}

impl CacheRuns {
    fn add(&mut self, line: Line) {
        self.idle.push(line.idle_bytes);
        self.peak.push(line.peak_bytes);
        self.whole.0.extend(line.whole.0);
        for (all, pairs) in self.small.iter_mut().zip(line.small) {
            all.0.extend(pairs.0);
        }
        self.fetched.0.extend(line.fetched.0);
        self.through.missed.0.extend(line.through.missed_seconds.0);
        self.through.whole.0.extend(line.through.whole.0);
        for (all, pairs) in self.through.small.iter_mut().zip(line.through.small) {
            all.0.extend(pairs.0);
        }
        self.through.peak.push(line.through.peak_bytes);
    }
}
