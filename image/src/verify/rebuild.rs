//! The second build.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use miette::IntoDiagnostic;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use super::VerifyError;
use super::other_host::OtherHost;
use super::scratch::ScratchFolders;
use crate::build::Options;
use crate::steps::Steps;

pub enum SecondBuild {
    /// With an image; this is what the builder said.
    Succeeded(String),
    Failed,
}

/// Sees that cargo has all crates: with a clock that is ahead, no server's certificate is valid.
pub fn fetch(copy: &Path, triple: &str) -> miette::Result<()> {
    let output = Command::new("cargo")
        .current_dir(copy)
        .args(["fetch", "--quiet", "--locked", "--target", triple])
        .output()
        .into_diagnostic()?;
    if output.status.success() {
        return Ok(());
    }
    Err(miette::miette!(
        help = "with all crates there, --offline does without",
        "cargo cannot fetch the crates: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Builds in the copy of the workspace at `root`, into the folder `out`.
pub fn run(
    host: &OtherHost,
    scratch: &ScratchFolders,
    out: &Path,
    root: &Path,
    options: &Options,
    steps: &Steps,
) -> miette::Result<SecondBuild> {
    // Ctrl-C ends the builder, which is in the same terminal; then what it left is removed here.
    let stop = Arc::new(AtomicBool::new(false));
    flag::register(SIGINT, Arc::clone(&stop)).into_diagnostic()?;
    let step = steps.start("verify", "building a second time; this takes minutes");
    let mut command = host.command(&scratch.builder());
    command.current_dir(&scratch.copy);
    command.args(["build", "--offline", "--target", options.target.name(), "--out"]).arg(out);
    if let Some(appliance) = &options.appliance {
        let path = std::path::absolute(appliance).into_diagnostic()?;
        // One that is in the workspace is in the copy, too.
        command.arg("--appliance").arg(path.strip_prefix(root).unwrap_or(&path));
    }
    if options.locked {
        command.arg("--locked");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .into_diagnostic()?;
    let mut output = String::new();
    for line in child.stderr.take().into_iter().flat_map(|it| BufReader::new(it).split(b'\n')) {
        let line = line.into_diagnostic()?;
        let line = String::from_utf8_lossy(&line);
        steps.quote(&line);
        output += &line;
        output.push('\n');
    }
    let status = child.wait().into_diagnostic()?;
    if stop.load(Ordering::Relaxed) {
        return Err(VerifyError::Stopped.into());
    }
    if !status.success() {
        return Ok(SecondBuild::Failed);
    }
    step.done("built a second time");
    Ok(SecondBuild::Succeeded(output))
}

/// What the builder says of compiling, if it compiled anything: `45 crates compiled for …`.
pub fn compile_summary(output: &str) -> Option<String> {
    let line = output.lines().find_map(|line| line.strip_prefix("compile "))?.trim();
    let count: u32 = line.split(' ').next()?.parse().ok()?;
    (count > 0).then(|| line.split(" (").next().unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_whether_anything_was_compiled() {
        let said = "check      x (0.1 s)\ncompile    45 crates compiled for a-b-c (177.58 s)\n";
        assert_eq!(compile_summary(said).as_deref(), Some("45 crates compiled for a-b-c"));
        assert_eq!(compile_summary("compile    0 crates compiled for a-b-c (1.00 s)\n"), None);
        assert_eq!(compile_summary("cargo      3 programs, 45 crates (0.01 s)\n"), None);
    }
}
