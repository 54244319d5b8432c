//! `cargo image flash` beside dd(1): 1 GiB onto a file that is there already.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};

use super::sample::TimeSample;
use octet_image::{FlashReport, FlashTarget, Host, ImageFile, Unwatched, flash};

/// What is written, in bytes.
const SIZE: u64 = 1 << 30;

/// Where little differs: so many bytes, evenly spread.
const CHANGES: u64 = 64;

/// How long each took. What is read is in the host's cache before, on both sides.
#[derive(Debug, Clone, Default)]
pub struct Flashes {
    /// All differs: until all is on the medium.
    pub write: TimeSample,
    /// The same, and what was written is read back from the medium and compared.
    pub all: TimeSample,
    /// Little differs; reading back included.
    pub little: TimeSample,
    /// `dd bs=4M conv=fsync`, which reads nothing back.
    pub dd: TimeSample,
}

/// `dd` failed.
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
    for file in [&image, &other, &target] {
        fill(file, &mut seed)?;
    }
    let mut flashes = Flashes::default();
    for _ in 0..runs {
        // Each time everything on the target differs from what it is to become.
        warm(&[&other, &target])?;
        flashes.dd.add(dd(&other, &target)?);

        warm(&[&image, &target])?;
        let report = write(&image, &target)?;
        flashes.write.add(report.writing);
        flashes.all.add(report.writing + report.verifying);

        change(&target)?;
        warm(&[&image, &target])?;
        let report = write(&image, &target)?;
        flashes.little.add(report.writing + report.verifying);
    }
    Ok(flashes)
}

fn write(image: &Path, target: &Path) -> miette::Result<FlashReport> {
    let (image, target) = (ImageFile::open(image)?, FlashTarget::open(target, &Host::local())?);
    Ok(flash(&image, &target, &Unwatched)?)
}

fn dd(image: &Path, target: &Path) -> miette::Result<Duration> {
    let file = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut command = Command::new("dd");
    timed(command.args([&file("if", image), &file("of", target)]).args(["bs=4M", "conv=fsync"]))
}

fn timed(command: &mut Command) -> miette::Result<Duration> {
    let began = Instant::now();
    let output = command.output().into_diagnostic()?;
    let took = began.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(Failed { program, said: String::from_utf8_lossy(&output.stderr).into_owned() }.into())
}

/// Has the host read all of the files, and write out what it still has to.
fn warm(files: &[&PathBuf]) -> miette::Result<()> {
    rustix::fs::sync();
    for file in files {
        io::copy(&mut File::open(file).into_diagnostic()?, &mut io::sink()).into_diagnostic()?;
    }
    Ok(())
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
