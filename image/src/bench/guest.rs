//! The guest that sets the limit: this kernel, and an init that does nothing.

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

/// It cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the bare init cannot be compiled:\n{0}")]
#[diagnostic(help("see what `cargo build --package octet-guests --bins` says"))]
struct NoLimit(String);

/// The guest's initramfs, for as long as the value lives.
pub struct Limit {
    /// Its file.
    pub initrd: PathBuf,
    _folder: TempDir,
}

/// Compiles the init and packs it.
pub fn limit(target: Target) -> miette::Result<Limit> {
    let workspace = build::workspace()?;
    let target = target.triple();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace.root())
        .args(["build", "--quiet", "--locked", "--release", "--package", "octet-guests"])
        .args(["--bin", PROGRAM, "--target", target])
        .arg("--message-format=json-render-diagnostics")
        // The host's linker knows only the host's processor; Rust brings one that knows all.
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld")
        .output()
        .into_diagnostic()?;
    let program =
        Message::parse_stream(output.stdout.as_slice()).find_map(|message| match message {
            Ok(Message::CompilerArtifact(artifact)) => artifact.executable,
            _ => None,
        });
    let Some(program) = program.filter(|_| output.status.success()) else {
        return Err(NoLimit(String::from_utf8_lossy(&output.stderr).into_owned()).into());
    };
    let mut cpio = Cpio::default();
    cpio.folder("dev", 0o755);
    cpio.character_device("dev/console", 0o600, (5, 1));
    cpio.file("init", 0o755, &std::fs::read(program).into_diagnostic()?);
    let folder = tempfile::tempdir().into_diagnostic()?;
    let initrd = folder.path().join("initrd");
    std::fs::write(&initrd, cpio.finish()).into_diagnostic()?;
    Ok(Limit { initrd, _folder: folder })
}
