//! How long a build takes, as a person waits for it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};

use super::sample::TimeSample;
use octet_image::build::{self, Options};
use octet_image::copy;

/// What is to be changed is not there.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{file} has no `{text}`, which this changes")]
#[diagnostic(help("name another text in tests/bench/src/rebuild.rs"))]
struct NoText {
    file: String,
    text: String,
}

/// Builds with a warm store and this workspace's programs compiled.
#[derive(Debug, Clone, Default)]
pub struct Rebuilds {
    /// Into an empty `out/`.
    pub cold: TimeSample,
    pub unchanged: TimeSample,
    /// One file of an overlay has changed.
    pub overlay: TimeSample,
    /// What of that was compression.
    pub compression: TimeSample,
    /// The first image of another clone.
    pub clone: TimeSample,
    /// The same with a line changed: it compiles what is its own.
    pub crates: TimeSample,
    /// Then a line of a small service has changed.
    pub console: TimeSample,
    /// And one of a large one.
    pub forward: TimeSample,
    /// Its first image with `--quick`.
    pub quick: TimeSample,
    /// Such a one, when a line of a large service has changed.
    pub quick_forward: TimeSample,
    /// And when a line has changed that all services are compiled with.
    pub quick_node: TimeSample,
}

/// A file of a service, and a text in it that boxes show.
const CONSOLE: [&str; 2] = ["services/console/src/screen.rs", "no board number"];
const FORWARD: [&str; 2] = ["services/forward/src/daemon/answer.rs", "there is no path"];
const NODE: [&str; 2] = ["services/node/src/names.rs", "give an object as"];

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("a build that was measured failed:\n{0}")]
#[diagnostic(help("see `cargo image build`"))]
struct BuildFailed(String);

/// Builds in copies of this workspace: no file of this one is touched.
pub fn measure(options: &Options, runs: usize) -> miette::Result<Rebuilds> {
    let root = build::workspace()?.root().to_owned();
    build::build(options)?;
    let builder = tempfile::tempdir().into_diagnostic()?;
    let program = builder.path().join("octet-image");
    fs::copy(options.builder(), &program).into_diagnostic()?;
    let folder = tempfile::tempdir().into_diagnostic()?;
    let clone = folder.path().join("clone");
    copy::copy(&root, &copy::files(&root).into_diagnostic()?, &clone).into_diagnostic()?;
    let build_with = |options: &[&str]| {
        let mut command = Command::new(&program);
        timed(command.current_dir(&clone).arg("build").args(options))
    };
    let build = || build_with(&[]);
    let quick = || build_with(&["--quick"]);
    let change = |[file, text]: [&str; 2], to: &str| -> miette::Result<()> {
        let source = fs::read_to_string(root.join(file)).into_diagnostic()?;
        if !source.contains(text) {
            return Err(NoText { file: file.to_owned(), text: text.to_owned() }.into());
        }
        fs::write(clone.join(file), source.replace(text, to)).into_diagnostic()
    };

    let forward = |run: usize| format!("there are {run} paths");
    let mut rebuilds = Rebuilds::default();
    rebuilds.clone.add(build()?.0);
    change(CONSOLE, "no board number yet")?;
    rebuilds.crates.add(build()?.0);
    for run in 0..runs {
        change(CONSOLE, &format!("no board number {run}"))?;
        rebuilds.console.add(build()?.0);
        change(FORWARD, &forward(run))?;
        rebuilds.forward.add(build()?.0);
    }
    rebuilds.quick.add(quick()?.0);
    for run in 0..runs {
        change(FORWARD, &format!("there are {run} quick paths"))?;
        rebuilds.quick_forward.add(quick()?.0);
        change(NODE, &format!("give object {run} as"))?;
        rebuilds.quick_node.add(quick()?.0);
    }
    // As they were when the image was built last, so that what follows compiles nothing.
    change(FORWARD, &forward(runs.saturating_sub(1)))?;
    change(NODE, NODE[1])?;

    let changed = clone.join("overlays").join(options.target.name()).join("etc/octet-bench");
    fs::create_dir_all(changed.parent().unwrap_or(&clone)).into_diagnostic()?;
    for run in 0..runs {
        fs::remove_dir_all(clone.join("out")).into_diagnostic()?;
        rebuilds.cold.add(build()?.0);
        rebuilds.unchanged.add(unchanged(&root, options)?);
        fs::write(&changed, format!("run {run}\n")).into_diagnostic()?;
        let (whole, said) = build()?;
        rebuilds.overlay.add(whole);
        rebuilds.compression.add(step(&said, "squashfs"));
    }
    Ok(rebuilds)
}

/// `cargo image build` as a person types it, with cargo's own look at what has changed.
fn unchanged(workspace: &Path, options: &Options) -> miette::Result<Duration> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace).args(["image", "build"]);
    for (name, value) in [("--out", &options.out), ("--appliance", &options.appliance)] {
        if let Some(value) = value {
            cargo.arg(name).arg(std::path::absolute(value).into_diagnostic()?);
        }
    }
    Ok(timed(&mut cargo)?.0)
}

/// Runs one build, and returns what it says.
fn timed(command: &mut Command) -> miette::Result<(Duration, String)> {
    let started = Instant::now();
    let output = command.output().into_diagnostic()?;
    let took = started.elapsed();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok((took, said)) } else { Err(BuildFailed(said).into()) }
}

/// How long the step `name` took, by the builder's own words: `name … (1.23 s)`.
fn step(said: &str, name: &str) -> Duration {
    said.lines()
        .filter(|line| line.split_whitespace().next() == Some(name))
        .filter_map(|line| line.rsplit_once('(')?.1.strip_suffix(" s)")?.parse().ok())
        .map(Duration::from_secs_f64)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_time_of_a_step() {
        let said =
            "seed       24 packages (0.80 s)\nsquashfs   8.0 MB (5.25 s)\nimage      x (0.1 s)\n";
        assert_eq!(step(said, "squashfs"), Duration::from_millis(5250));
        assert_eq!(step(said, "nothing"), Duration::ZERO);
    }
}
