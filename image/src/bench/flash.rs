//! `cargo image flash` beside dd(1): 1 GiB onto a file that is there already.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};

use super::sample::Sample;

/// What is written, in bytes.
const SIZE: u64 = 1 << 30;

/// Where little differs: so many bytes, evenly spread.
const CHANGES: u64 = 64;

/// How long each took.
#[derive(Debug, Clone, Default)]
pub struct Flashes {
    /// All differs; reading back what was written included.
    pub all: Sample,
    /// Little differs.
    pub little: Sample,
    /// `dd bs=4M conv=fsync,notrunc`, which reads nothing back.
    pub dd: Sample,
}

/// One of the two failed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{program} failed:\n{said}")]
#[diagnostic(help("is there room for 3 GiB in the folder for temporary files (TMPDIR)?"))]
struct Failed {
    program: String,
    said: String,
}

/// Measures in turn, `runs` times.
pub fn measure(runs: usize) -> miette::Result<Flashes> {
    let folder = tempfile::tempdir().into_diagnostic()?;
    let [image, other, target] = ["image", "other", "target"].map(|name| folder.path().join(name));
    let mut seed = 1;
    fill(&image, &mut seed)?;
    fill(&other, &mut seed)?;
    fill(&target, &mut seed)?;
    let mut flashes = Flashes::default();
    for _ in 0..runs {
        // Each time everything on the target differs from what it is to become.
        flashes.dd.add(dd(&other, &target)?);
        flashes.all.add(flash(&image, &target)?);
        change(&target)?;
        flashes.little.add(flash(&image, &target)?);
    }
    Ok(flashes)
}

fn flash(image: &Path, target: &Path) -> miette::Result<Duration> {
    let mut command = Command::new("/proc/self/exe");
    timed(command.arg("flash").arg(target).arg("--image").arg(image).arg("--yes"))
}

fn dd(image: &Path, target: &Path) -> miette::Result<Duration> {
    let file = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut command = Command::new("dd");
    timed(
        command
            .args([&file("if", image), &file("of", target)])
            .args(["bs=4M", "conv=fsync,notrunc"]),
    )
}

fn timed(command: &mut Command) -> miette::Result<Duration> {
    // What is written before is not to be waited for in here.
    rustix::fs::sync();
    let began = Instant::now();
    let output = command.output().into_diagnostic()?;
    let took = began.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(Failed { program, said: String::from_utf8_lossy(&output.stderr).into_owned() }.into())
}

/// Fills a file with bytes that no file system could store as holes or copies of others (a xorshift
/// generator, Marsaglia 2003).
fn fill(path: &PathBuf, seed: &mut u64) -> miette::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).into_diagnostic()?);
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ *seed;
    *seed += 1;
    for _ in 0..SIZE / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes()).into_diagnostic()?;
    }
    file.into_inner().into_diagnostic()?.sync_all().into_diagnostic()
}

fn change(target: &Path) -> miette::Result<()> {
    let file = File::options().read(true).write(true).open(target).into_diagnostic()?;
    for change in 0..CHANGES {
        let at = SIZE / CHANGES * change + 12_345;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).into_diagnostic()?;
        file.write_all_at(&[!byte[0]], at).into_diagnostic()?;
    }
    Ok(())
}
