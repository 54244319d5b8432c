//! The builder, which some of what is measured starts.

use std::env;
use std::fs::File;
use std::os::fd::IntoRawFd;
use std::path::PathBuf;

use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use octet_image::BUILDER;

/// Somebody else than the builder has started this program.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{BUILDER} does not say where the builder is")]
#[diagnostic(help("start this program by `cargo image bench`"))]
struct NoBuilder;

/// The builder that has started this program. The name is for this process and what it starts itself.
pub fn find() -> miette::Result<PathBuf> {
    let path = PathBuf::from(env::var_os(BUILDER).ok_or(NoBuilder)?);
    let file = File::open(&path).into_diagnostic().wrap_err_with(|| path.display().to_string())?;
    // It is never closed: cargo may put another program in its place, if a source changes meanwhile.
    Ok(format!("/proc/self/fd/{}", file.into_raw_fd()).into())
}
