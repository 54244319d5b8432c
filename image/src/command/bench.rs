//! `cargo image bench`: benchmarks are a program of their own, `tests/bench`, which uses this crate's library.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use miette::{IntoDiagnostic, WrapErr};

use crate::build;
use crate::host_cargo;

/// The program of benchmarks.
pub const PROGRAM: &str = "octet-bench";

/// The variable by which it is told where the builder is.
pub const BUILDER: &str = "OCTET_BUILDER";

/// Measures the image against its limits and other programs; writes docs/BENCHMARKS.md
#[derive(clap::Args)]
pub struct Args {
    /// Install missing Debian packages and Rust targets first
    #[arg(long)]
    pub setup: bool,
    /// The number of runs of each measurement
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Measure this part only; the rest of docs/BENCHMARKS.md is kept
    #[arg(long, value_enum, value_name = "PART")]
    pub only: Option<Part>,
    #[command(flatten)]
    pub build: build::Options,
}

/// A part that can be measured by itself, and has a section of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Boot time beside the bare kernel and stock Alpine, memory, slot size
    Image,
    /// Build and flash times
    Building,
    /// PID 1 beside s6, runit and finit
    Supervisors,
    /// Gate and updates of a running box, and the gate's memory
    Box,
    /// A router's plan and rules, and their cost for each packet
    Segments,
    /// Power-on of a whole box, a router's memory with 32 leases, time for a membership map to reach 32 boards
    Cluster,
    /// Cache beside nginx and iroh-blobs, and its memory while serving
    Cache,
    /// Simulated networks of up to 10 000 forwarding nodes
    Forward,
    /// Message latency, size of a mailbox, cost of both
    Messenger,
    /// A file through the gate over a way that takes time
    Upload,
    /// Claims a second of four validators, time to decide, with one of them dead, and what a validator takes
    Ledger,
    /// Path throughput beside WireGuard, Yggdrasil and Nebula, set-up time, 960 paths through one relay
    Paths,
}

/// Compiles the program of benchmarks as this one was, and becomes it. It reads the same arguments once more.
pub fn run(_: Args) -> miette::Result<ExitCode> {
    let root = build::workspace()?.root().to_owned();
    let mut words = vec!["build", "--bin", PROGRAM];
    if !cfg!(debug_assertions) {
        words.push("--release");
    }
    let made = host_cargo::build(&mut host_cargo::command(&root, &words))?;
    let program = made.into_iter().find_map(|artifact| artifact.executable);
    let program = program.ok_or_else(|| miette::miette!("cargo made no program {PROGRAM}"))?;
    // The first argument is this program, the second this subcommand.
    let arguments = env::args_os().skip(2);
    let builder = env::current_exe().into_diagnostic()?;
    let error = Command::new(&program).args(arguments).env(BUILDER, builder).exec();
    Err(error).into_diagnostic().wrap_err_with(|| format!("cannot run {program}"))
}
