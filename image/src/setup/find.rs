//! What is there already.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use octet_machine::find_program;

use crate::cache;
use crate::setup::need::{Need, Test};

/// Whether `need` is there.
pub fn is_installed(need: &Need) -> bool {
    match need.test {
        Test::Program(name) => program(name).is_some(),
        Test::File(path) => Path::new(path).is_file(),
        Test::Unpacked(program, args) => starts_unpacked(program, args),
        Test::InGuests(files) => guests_folder()
            .is_some_and(|folder| files.iter().all(|file| folder.join(file).is_file())),
        Test::Succeeds(command) => succeeds(command),
        Test::RustTarget(target) => rust_library(target).is_some_and(|folder| folder.is_dir()),
        Test::Python(release) => python_folder()
            .is_some_and(|folder| folder.join(format!("{release}.dist-info")).is_dir()),
    }
}

/// Where root's programs are: the `PATH` of other users need not have these folders, and Debian's
/// has not. What the tests use of them works for everybody.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

fn program(name: &str) -> Option<PathBuf> {
    let in_sbin = || SBIN.iter().map(|folder| Path::new(folder).join(name));
    find_program(name).or_else(|| in_sbin().find(|path| path.is_file()))
}

/// Where packages of Debian go that only our tests and benchmarks use and that are not to be installed.
pub fn unpacked_folder() -> Option<PathBuf> {
    cache::folder("debian")
}

/// Where packages of Debian go that only guests run. Apart from the others: it has a C library,
/// which programs of this host must not find.
pub fn guests_folder() -> Option<PathBuf> {
    cache::folder("guests")
}

/// Where the libraries of what is unpacked into `folder` are, as `LD_LIBRARY_PATH` has it (ld.so(8)).
pub fn libraries(folder: &Path) -> String {
    let name = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries =
        [format!("usr/lib/{name}/systemd"), format!("usr/lib/{name}"), format!("lib/{name}")];
    libraries.map(|path| folder.join(path).display().to_string()).join(":")
}

/// Whether the `program` of our own folder ends well with the libraries there.
fn starts_unpacked(program: &str, args: &[&str]) -> bool {
    let Some(folder) = unpacked_folder() else { return false };
    let mut command = Command::new(folder.join(program));
    succeeds_as(command.args(args).env("LD_LIBRARY_PATH", libraries(&folder)))
}

/// Where Python packages go that only our tests use. Not where the system's or the user's are: a
/// distribution forbids the first, and the second is nobody's to fill but theirs.
pub fn python_folder() -> Option<PathBuf> {
    cache::folder("python")
}

fn succeeds(command: &[&str]) -> bool {
    let Some((program, args)) = command.split_first() else {
        return false;
    };
    succeeds_as(Command::new(program).args(args))
}

fn succeeds_as(command: &mut Command) -> bool {
    command
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
        // In a folder that the PATH of most users does not have.
        assert!(program("ldconfig").is_some() && program("no-such-program").is_none());
        assert!(succeeds(&["true"]));
        assert!(!succeeds(&["false"]));
        assert!(!succeeds(&["no-such-program"]));
        assert!(rust_library("x86_64-unknown-linux-gnu").is_some());
        assert!(rust_library("no-such-target").is_none());
    }
}
