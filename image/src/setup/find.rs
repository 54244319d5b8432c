//! What is there already.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use octet_machine::find_program;

use crate::setup::need::{Need, Test};

/// Whether `need` is there.
pub fn is_there(need: &Need) -> bool {
    match need.test {
        Test::Program(name) => find_program(name).is_some(),
        Test::Succeeds(command) => succeeds(command),
        Test::RustTarget(target) => rust_library(target).is_some_and(|folder| folder.is_dir()),
        Test::Python(release) => python_folder()
            .is_some_and(|folder| folder.join(format!("{release}.dist-info")).is_dir()),
    }
}

/// Where Python packages go that only our tests use. Not where the system's or the user's are: a
/// distribution forbids the first, and the second is nobody's to fill but theirs.
pub fn python_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("octet/python"))
}

fn succeeds(command: &[&str]) -> bool {
    let Some((program, args)) = command.split_first() else {
        return false;
    };
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where the compiler looks for the standard library of `target`, there or not.
fn rust_library(target: &str) -> Option<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let args = ["--print", "target-libdir", "--target", target];
    let output = Command::new(rustc).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_there() {
        assert!(succeeds(&["true"]));
        assert!(!succeeds(&["false"]));
        assert!(!succeeds(&["no-such-program"]));
        assert!(rust_library("x86_64-unknown-linux-gnu").is_some());
        assert!(rust_library("no-such-target").is_none());
    }
}
