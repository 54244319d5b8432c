//! Programs that are made for a measurement, and the guest that sets the limit: this kernel, and an
//! init that does nothing.

use std::path::PathBuf;

use miette::IntoDiagnostic;
use tempfile::TempDir;

use octet_image::Cpio;
use octet_image::Target;
use octet_image::build::{self, Options};

/// The program that is init there.
const PROGRAM: &str = "limit";

/// The guest's initramfs, for as long as the value lives.
pub struct Limit {
    pub initrd: PathBuf,
    _folder: TempDir,
}

/// Compiles the init and packs it.
pub fn limit(target: Target) -> miette::Result<Limit> {
    let mut cpio = Cpio::default();
    cpio.folder("dev", 0o755);
    cpio.character_device("dev/console", 0o600, (5, 1));
    cpio.file("init", 0o755, &of_guests(target, PROGRAM)?);
    let folder = tempfile::tempdir().into_diagnostic()?;
    let initrd = folder.path().join("initrd");
    std::fs::write(&initrd, cpio.finish()).into_diagnostic()?;
    Ok(Limit { initrd, _folder: folder })
}

/// Compiles the program `name` of tests/guests, and returns its bytes.
pub fn of_guests(target: Target, name: &str) -> miette::Result<Vec<u8>> {
    let program = compile(target, &["--package", "octet-guests", "--bin", name])?;
    std::fs::read(program).into_diagnostic()
}

/// Compiles the one program that `words`, which are cargo's, select: as what ships for `target`, or nothing that is
/// measured would be so of what ships. Returns its file, in whose place cargo may put another if a source changes.
pub fn compile(target: Target, words: &[&str]) -> miette::Result<PathBuf> {
    let options = Options { target, ..Options::default() };
    let programs = build::programs_beside(&options, words)?;
    let program = programs.into_iter().next();
    program.ok_or_else(|| miette::miette!("cargo made no program of `{}`", words.join(" ")))
}

/// Compiles the example `name` of `package` as what ships for processors like this computer's.
pub fn example(package: &str, name: &str) -> miette::Result<PathBuf> {
    let target = match std::env::consts::ARCH {
        "aarch64" => Target::QemuAarch64,
        _ => Target::QemuX86_64,
    };
    compile(target, &["--package", package, "--example", name])
}
