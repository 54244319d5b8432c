//! Large networks of nodes that forward, in virtual time, by forward's example `simulation`.

mod table;

use std::process::{Command, Stdio};

use miette::{Diagnostic, IntoDiagnostic};
use serde::Deserialize;

use super::guest;

pub use table::TITLE;

const PROGRAM: &str = "simulation";

/// What it is called with: the graph, how many nodes, how many of them announce themselves to all, for how many
/// each has room, and how many of a thousand messages are lost.
const RUNS: [(&str, [u32; 4]); 7] = [
    ("boxes", [300, 300, 300, 0]),
    ("boxes", [1000, 1000, 1000, 0]),
    ("boxes", [2000, 2000, 2000, 0]),
    ("boxes", [10_000, 300, 10_000, 0]),
    ("plane", [10_000, 300, 10_000, 0]),
    ("boxes", [300, 300, 120, 0]),
    ("boxes", [1000, 1000, 1000, 10]),
];

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{nodes} nodes were not simulated:\n{said}")]
#[diagnostic(help("see services/forward/examples/simulation for what it does"))]
struct Failed {
    nodes: u32,
    said: String,
}

#[derive(Debug, Clone, Default)]
pub struct ForwardRuns(Vec<Run>);

/// One of them, as it is printed. Times that end in `_us` are real ones; the others are virtual.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Run {
    #[serde(skip)]
    graph: &'static str,
    nodes: u32,
    links: u32,
    announced: u32,
    room: u32,
    lost: u32,
    /// How often a node does not know another that has announced itself.
    unknown: u64,
    /// Of how many nodes that knows fewest knows, of those that have announced themselves.
    fewest_known: u32,
    messages: u64,
    /// From an announcement until the last node has it.
    seconds: Spread,
    announcement_bytes: f64,
    node_bytes: Spread,
    link_bytes: Spread,
    sought: u32,
    found: u32,
    found_two: u32,
    hops: Spread,
    stretch: Spread,
    graph_us: Spread,
    path_us: Spread,
    paths_us: Spread,
    two_us: Spread,
    set_ups: Vec<SetUps>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Spread {
    mean: f64,
    median: f64,
    most: f64,
}

/// Set-ups over so many hops.
#[derive(Debug, Clone, Default, Deserialize)]
struct SetUps {
    hops: u32,
    asked: u32,
    stand: u32,
    milliseconds: Spread,
    round_trips: Spread,
    message_us: Spread,
}

/// Runs each once: but for the real times, what comes of it is the same each time.
pub fn measure() -> miette::Result<ForwardRuns> {
    eprintln!("forward    networks of up to 10 000 nodes, in virtual time");
    let program = guest::example("octet-forward", PROGRAM)?;
    let run = |(graph, numbers): &(&'static str, [u32; 4])| {
        let mut command = Command::new(&program);
        command.arg(graph).args(numbers.map(|it| it.to_string()));
        let output = command.stdin(Stdio::null()).output().into_diagnostic()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failed { nodes: numbers[0], said }.into());
        }
        let run: Run = serde_json::from_slice(&output.stdout).into_diagnostic()?;
        eprintln!("           {graph} {}: {} messages", run.nodes, run.messages);
        Ok(Run { graph, ..run })
    };
    RUNS.iter().map(run).collect::<miette::Result<_>>().map(ForwardRuns)
}
