//! Netd's own code on this computer, by its example `measure`: compiled as what ships, each time a new
//! process in a network of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::text::{LARGE, PolicyCount, SMALL, text};
use super::{Applications, Planned};
use crate::guest;
use octet_image::build;

const PROGRAM: &str = "measure";

/// The unit that built-in lines are about.
const GATE: &str = "services/gate/unit.toml";

/// Network and mounts of its own. In a user namespace, which needs no root, the kernel does not take as
/// many rules at once (SO_SNDBUFFORCE, socket(7), asks for a capability outside of it).
const NAMESPACES: [&str; 3] = ["--net", "--mount", "--"];

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{words}` failed:\n{said}")]
#[diagnostic(help("only root may do this, and the kernel has to have nf_tables and veth"))]
struct Failed {
    words: String,
    said: String,
}

/// By which means the kernel gets what a box wants (netd/examples/measure/kernel.rs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NativeMeans {
    Netd,
    Whole,
    Least,
}

/// What it prints, in nanoseconds but for the last.
#[derive(Debug, Deserialize)]
struct PlanLine {
    parse: u64,
    plan: u64,
    text: u64,
    bytes: u64,
}

/// The same of changes in the kernel.
#[derive(Debug, Deserialize)]
struct ApplyLine {
    first: u64,
    change: u64,
    flows: u64,
}

/// The program, and the files that it reads.
pub struct Native {
    program: PathBuf,
    gate: PathBuf,
    folder: TempDir,
}

impl Native {
    pub fn new() -> miette::Result<Self> {
        let made = guest::example("octet-netd", PROGRAM)?;
        let folder = tempfile::tempdir().into_diagnostic()?;
        // Cargo may put another in its place, if a source changes meanwhile.
        let program = folder.path().join(PROGRAM);
        std::fs::copy(made, &program).into_diagnostic()?;
        let gate = build::workspace()?.root().join(GATE);
        let native = Self { program, gate, folder };
        for size in [LARGE, SMALL] {
            for changed in [false, true] {
                std::fs::write(native.file(size, changed), text(size, changed))
                    .into_diagnostic()?;
            }
        }
        Ok(native)
    }

    fn file(&self, size: PolicyCount, changed: bool) -> PathBuf {
        let PolicyCount { boards, policies } = size;
        let changed = if changed { "-changed" } else { "" };
        self.folder.path().join(format!("{boards}-{policies}{changed}.toml"))
    }

    /// Plans a box of `size` once.
    pub fn plan(&self, size: PolicyCount, planned: &mut Planned) -> miette::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg(&self.gate).arg("plan").arg(self.file(size, false));
        let line: PlanLine = ask(&mut command)?;
        let PlanLine { parse, plan, text, bytes } = line;
        let of = [
            (&mut planned.parse, parse),
            (&mut planned.plan, plan),
            (&mut planned.text, text),
            (&mut planned.both, plan + text),
        ];
        for (sample, nanoseconds) in of {
            sample.add(Duration::from_nanos(nanoseconds));
        }
        planned.bytes = bytes;
        Ok(())
    }

    /// Has a new kernel's network be as a box of `size` wants, then with another policy.
    pub fn apply(
        &self,
        size: PolicyCount,
        how: NativeMeans,
        all: &mut Applications,
    ) -> miette::Result<()> {
        let how = match how {
            NativeMeans::Netd => "netd",
            NativeMeans::Whole => "whole",
            NativeMeans::Least => "least",
        };
        let mut command = Command::new("unshare");
        command.args(NAMESPACES).arg(&self.program).arg(&self.gate).args(["apply", how]);
        let files: [&Path; 2] = [&self.file(size, false), &self.file(size, true)];
        let line: ApplyLine = ask(command.args(files))?;
        all.first.add(Duration::from_nanos(line.first));
        all.change.add(Duration::from_nanos(line.change));
        all.flows.add(Duration::from_nanos(line.flows));
        Ok(())
    }
}

/// How many buckets the kernel's table of flows has (Documentation/networking/nf_conntrack-sysctl.rst).
pub fn buckets() -> miette::Result<u64> {
    let file = "/proc/sys/net/netfilter/nf_conntrack_buckets";
    let text = std::fs::read_to_string(file).into_diagnostic().wrap_err(file)?;
    text.trim().parse().into_diagnostic().wrap_err(file)
}

/// Runs `command`, and returns what it prints.
fn ask<T: DeserializeOwned>(command: &mut Command) -> miette::Result<T> {
    let words = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().into_diagnostic()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failed { words, said }.into());
    }
    serde_json::from_slice(&output.stdout).into_diagnostic()
}
