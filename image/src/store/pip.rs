//! Fetching through pip, the ordinary client of the Python package index.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use miette::Diagnostic;

#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum PipError {
    /// There is no Python, or no pip in it.
    #[error("`python3 -m pip` is not there, and `{name}` has to be fetched with it")]
    #[diagnostic(help("run `cargo image run --setup`, which installs it"))]
    NoPip {
        /// What was to be fetched.
        name: String,
    },
    #[error("`{name}` {version} could not be fetched:\n{reason}")]
    #[diagnostic(help("see that the network works; with a filled store, --offline needs none"))]
    Failed {
        /// What was to be fetched.
        name: String,
        version: String,
        reason: String,
    },
}

/// The first platform of a wheel's name, which pip is to be asked for:
/// `NAME-VERSION-PYTHON-ABI-PLATFORM.whl`, where PLATFORM may be several, joined by dots.
pub fn platform(file: &str) -> &str {
    let stem = file.strip_suffix(".whl").unwrap_or(file);
    let platforms = stem.rsplit('-').next().unwrap_or(stem);
    platforms.split('.').next().unwrap_or(platforms)
}

/// Downloads one wheel into the empty folder `into` and returns its path.
pub fn download(
    name: &str,
    version: &str,
    platform: &str,
    into: &Path,
) -> Result<PathBuf, PipError> {
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--no-cache-dir", "--platform", platform, "--dest"])
        .arg(into)
        .arg(format!("{name}=={version}"))
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PipError::NoPip { name: name.to_owned() });
        }
        Err(error) => return Err(failed(name, version, &error.to_string())),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("No module named pip") {
        return Err(PipError::NoPip { name: name.to_owned() });
    }
    if !output.status.success() {
        return Err(failed(name, version, &stderr));
    }
    let mut files = std::fs::read_dir(into)
        .map_err(|error| failed(name, version, &error.to_string()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()));
    files.next().ok_or_else(|| failed(name, version, "pip succeeded, but there is no file"))
}

fn failed(name: &str, version: &str, words: &str) -> PipError {
    let lines: Vec<_> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    let reason = lines[lines.len().saturating_sub(5)..].join("\n");
    PipError::Failed { name: name.to_owned(), version: version.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_platform() {
        assert_eq!(
            platform("a-1-py3-none-manylinux_2_5_x86_64.manylinux1_x86_64.whl"),
            "manylinux_2_5_x86_64"
        );
        assert_eq!(platform("a-1-py3-none-any.whl"), "any");
    }

    proptest! {
        #[test]
        fn never_panics(file in "\\PC*") {
            let _ = platform(&file);
        }
    }
}
