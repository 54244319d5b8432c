//! How long a build takes, as a person waits for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};

use super::sample::Sample;
use crate::build::{self, Options};

/// Builds with a warm store and this workspace's programs compiled.
#[derive(Debug, Clone, Default)]
pub struct Rebuilds {
    /// Into an empty `out/`.
    pub cold: Sample,
    /// Nothing has changed.
    pub unchanged: Sample,
    /// One file of an overlay has changed.
    pub overlay: Sample,
    /// What of that was compression.
    pub compression: Sample,
}

/// A build failed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("a build that was measured failed:\n{0}")]
#[diagnostic(help("see `cargo image build`"))]
struct BuildFailed(String);

/// Builds in a second workspace, made of links to this one, with overlays of its own: no file of
/// this one is touched.
pub fn measure(options: &Options, runs: usize) -> miette::Result<Rebuilds> {
    let workspace = build::workspace()?;
    let folder = tempfile::tempdir().into_diagnostic()?;
    for entry in fs::read_dir(workspace.root()).into_diagnostic()? {
        let entry = entry.into_diagnostic()?;
        if entry.file_name() != "out" && entry.file_name() != "overlays" {
            symlink(entry.path(), folder.path().join(entry.file_name())).into_diagnostic()?;
        }
    }
    copy(&workspace.root().join("overlays"), &folder.path().join("overlays")).into_diagnostic()?;
    let changed =
        folder.path().join("overlays").join(options.target.name()).join("etc/octet-bench");
    fs::create_dir_all(changed.parent().unwrap_or(folder.path())).into_diagnostic()?;

    // Cargo may put another program in this one's place, if a source changes meanwhile.
    let builder = tempfile::tempdir().into_diagnostic()?;
    let program = builder.path().join("octet-image");
    fs::copy("/proc/self/exe", &program).into_diagnostic()?;
    let build = |folder: &Path| timed(Command::new(&program).current_dir(folder).arg("build"));

    let mut rebuilds = Rebuilds::default();
    build(folder.path())?; // what is compiled and unpacked once is not measured
    for run in 0..runs {
        fs::remove_dir_all(folder.path().join("out")).into_diagnostic()?;
        rebuilds.cold.add(build(folder.path())?.0);
        rebuilds.unchanged.add(unchanged(workspace.root(), options)?);
        fs::write(&changed, format!("run {run}\n")).into_diagnostic()?;
        let (whole, said) = build(folder.path())?;
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

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(source)?, target)?;
        } else {
            fs::copy(source, target)?;
        }
    }
    Ok(())
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
