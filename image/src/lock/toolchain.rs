//! What the image's programs are compiled with, recorded and compared.

use std::process::Command;

use miette::Diagnostic;
use serde::Deserialize;

/// The C library that the programs carry.
const LIBC: &str = "musl, bundled with rustc";

/// A compiler, linker and C library. Others give other bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// What `rustc -Vv` says.
    pub rustc: String,
    pub linker: String,
    pub libc: String,
}

/// The compiler does not run.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`rustc -Vv` does not work: {0}")]
#[diagnostic(help("install the Rust toolchain, and see that `rustc` is on PATH"))]
pub struct UnusableCompiler(String);

impl Toolchain {
    /// The toolchain that a build with this version of ziglang would use here.
    pub fn detect(zig: &str) -> Result<Self, UnusableCompiler> {
        let output = Command::new("rustc")
            .arg("-Vv")
            .env_remove("RUSTC_WRAPPER")
            .output()
            .map_err(|error| UnusableCompiler(error.to_string()))?;
        if !output.status.success() {
            return Err(UnusableCompiler(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        Ok(Self {
            rustc: String::from_utf8_lossy(&output.stdout).into_owned(),
            linker: format!("rust-lld, bundled with rustc; C by zig cc, ziglang {zig}"),
            libc: LIBC.to_owned(),
        })
    }

    /// What differs from `locked`, each named: `rustc: locked …, here …`.
    pub fn differences(&self, locked: &Self) -> Vec<String> {
        let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        let mut found = vec![];
        for (name, here, locked) in [
            ("rustc", &self.rustc, &locked.rustc),
            ("linker", &self.linker, &locked.linker),
            ("libc", &self.libc, &locked.libc),
        ] {
            if here.trim() == locked.trim() {
                continue;
            }
            let differ: Vec<_> = here.lines().zip(locked.lines()).filter(|(a, b)| a != b).collect();
            let (here, locked) = match differ.first() {
                Some((here, locked)) => ((*here).to_owned(), (*locked).to_owned()),
                None => (first_line(here), first_line(locked)),
            };
            found.push(format!("{name}: locked `{locked}`, here `{here}`"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let one = Toolchain {
            rustc: "rustc 1\nhost: a\n".into(),
            linker: "zig 1".into(),
            libc: "musl".into(),
        };
        assert!(one.differences(&one).is_empty());
        let two =
            Toolchain { rustc: "rustc 1\nhost: b\n".into(), libc: "glibc".into(), ..one.clone() };
        assert_eq!(
            one.differences(&two),
            ["rustc: locked `host: b`, here `host: a`", "libc: locked `glibc`, here `musl`"]
        );
    }
}
