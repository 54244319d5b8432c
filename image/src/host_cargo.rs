//! Cargo, for programs that run on this machine.

use std::env;
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Stdio};

use cargo_metadata::{Artifact, Message};
use miette::{Diagnostic, IntoDiagnostic, WrapErr};

/// Beginnings of variables that cargo sets for a package's programs (the Cargo Book, "Environment Variables").
const OF_PACKAGE: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// The programs cannot be compiled.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cargo {0} failed")]
#[diagnostic(help("mend what the compiler complains about above"))]
struct CompileFailed(String);

/// Cargo in the workspace at `root`.
pub fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` says of this program's package is in the way: crates whose build scripts look at it would be
    // compiled again whenever it is there or not.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|it| OF_PACKAGE.iter().any(|prefix| it.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command
        .current_dir(root)
        .args(args)
        .args(["--locked", "--message-format=json-render-diagnostics"]);
    command
}

/// Runs such a command, which shows its progress, and gives what it made or found made.
pub fn build(command: &mut Command) -> miette::Result<Vec<Artifact>> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .into_diagnostic()
        .wrap_err("cargo cannot be run")?;
    let mut artifacts = vec![];
    for message in
        child.stdout.take().into_iter().flat_map(|it| Message::parse_stream(BufReader::new(it)))
    {
        if let Message::CompilerArtifact(artifact) = message.into_diagnostic()? {
            artifacts.push(artifact);
        }
    }
    if child.wait().into_diagnostic()?.success() {
        Ok(artifacts)
    } else {
        let words = command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>();
        Err(CompileFailed(words.join(" ")).into())
    }
}
