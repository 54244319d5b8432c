//! Programs that cargo makes for a measurement, and the guest that sets the limit: this kernel, and an
//! init that does nothing.

use std::path::PathBuf;
use std::process::Command;

use cargo_metadata::Message;
use miette::{Diagnostic, IntoDiagnostic};
use tempfile::TempDir;

use crate::build;
use crate::output::cpio::Cpio;
use crate::target::Target;

/// The program that is init there.
const PROGRAM: &str = "limit";

/// A program cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{program}` cannot be compiled:\n{said}")]
#[diagnostic(help("see what `cargo build {}` says", words.join(" ")))]
struct NoProgram {
    program: &'static str,
    words: Vec<String>,
    said: String,
}

/// The guest's initramfs, for as long as the value lives.
pub struct Limit {
    /// Its file.
    pub initrd: PathBuf,
    _folder: TempDir,
}

/// Compiles the init and packs it.
pub fn limit(target: Target) -> miette::Result<Limit> {
    let mut cpio = Cpio::default();
    cpio.folder("dev", 0o755);
    cpio.character_device("dev/console", 0o600, (5, 1));
    cpio.file("init", 0o755, &compile(target, PROGRAM)?);
    let folder = tempfile::tempdir().into_diagnostic()?;
    let initrd = folder.path().join("initrd");
    std::fs::write(&initrd, cpio.finish()).into_diagnostic()?;
    Ok(Limit { initrd, _folder: folder })
}

/// Compiles `program` of tests/guests, and returns its bytes.
pub fn compile(target: Target, program: &'static str) -> miette::Result<Vec<u8>> {
    let of = ["--package", "octet-guests", "--bin", program, "--release"];
    let words = [&of[..], &["--target", target.triple()]].concat();
    std::fs::read(cargo(program, &words)?).into_diagnostic()
}

/// Has cargo make `program`, and returns its file.
pub fn cargo(program: &'static str, words: &[&str]) -> miette::Result<PathBuf> {
    let workspace = build::workspace()?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace.root())
        .args(["build", "--quiet", "--locked"])
        .args(words)
        .arg("--message-format=json-render-diagnostics")
        // The host's linker knows only the host's processor; Rust brings one that knows all.
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld")
        // The program is for this machine, if no word says otherwise.
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .into_diagnostic()?;
    let mut messages = Message::parse_stream(output.stdout.as_slice());
    let path = messages.find_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) => artifact.executable,
        _ => None,
    });
    let Some(path) = path.filter(|_| output.status.success()) else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let words = words.iter().map(|&word| word.to_owned()).collect();
        return Err(NoProgram { program, words, said }.into());
    };
    Ok(path.into())
}
