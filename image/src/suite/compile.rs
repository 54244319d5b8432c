//! Everything that tests start, compiled before the first of them runs.

use std::env;
use std::fs;
use std::io::BufReader;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cargo_metadata::{Artifact, Message};
use miette::{Diagnostic, IntoDiagnostic, WrapErr};

use crate::target::Target;

/// Where tests find what was compiled for them, by name; what guests run is in a folder of their target's name.
const PROGRAMS: &str = "target/tested";

/// What guests run beside the programs of `tests/guests`: PID 1 with faults, and the double of a router.
const BESIDE: [&str; 6] = [
    "--package",
    "octet-openwrt-double",
    "--package",
    "octet-init",
    "--features",
    "octet-init/fault",
];

/// What they run beside that in the long tier: netd with faults.
const BESIDE_LONG: [&str; 4] = ["--package", "octet-netd", "--features", "octet-netd/fault"];

/// Beginnings of variables that cargo sets for a package's programs (the Cargo Book, "Environment Variables").
const OF_PACKAGE: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// The tests, or what they need, cannot be compiled.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cargo {0} failed")]
#[diagnostic(help("mend what the compiler complains about above"))]
struct Failed(String);

/// What was compiled.
pub struct Made {
    /// A folder with links to all programs that tests start.
    pub programs: PathBuf,
    /// The programs that are tests.
    pub tests: Vec<TestProgram>,
}

/// A program of tests, as rustc's harness makes it.
pub struct TestProgram {
    /// Its source's path without its end: `services/logd/tests/daemon`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The folder of its package, in which cargo runs it.
    pub package: PathBuf,
}

impl Made {
    /// Compiles for the workspace at `root`; what only the long tier starts, as all for guests with an Arm
    /// processor, if `soak`.
    pub fn compile(root: &Path, soak: bool) -> miette::Result<Self> {
        let programs = root.join(PROGRAMS);
        let folder = |path: &Path| {
            fs::create_dir_all(path)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot make {}", path.display()))
        };
        folder(&programs)?;
        // By a binary's name cargo chooses the features of all crates, as for the tests: nothing is compiled twice.
        let people = ["build", "--bin", "octetctl", "--bin", "octet-msg"];
        link(&cargo(root, &people)?, &programs)?;
        let builder = env::current_exe().into_diagnostic()?;
        replace(&builder, &programs.join("octet-image"))?;
        for target in [Target::QemuX86_64, Target::QemuAarch64] {
            let mut args =
                vec!["build", "--profile", "guests", "--bins", "--package", "octet-guests"];
            args.extend(["--target", target.triple()]);
            match target {
                Target::QemuX86_64 if soak => args.extend(BESIDE.iter().chain(&BESIDE_LONG)),
                Target::QemuX86_64 => args.extend(BESIDE),
                Target::QemuAarch64 if soak => {}
                Target::QemuAarch64 => continue,
            }
            let guests = programs.join(target.triple());
            folder(&guests)?;
            link(&cargo(root, &args)?, &guests)?;
        }
        let tests = cargo(root, &["test", "--workspace", "--no-run"])?;
        let tests = tests.into_iter().filter(|artifact| artifact.profile.test);
        Ok(Self { programs, tests: tests.filter_map(|it| TestProgram::of(root, it)).collect() })
    }
}

impl TestProgram {
    fn of(root: &Path, artifact: Artifact) -> Option<Self> {
        let source = artifact.target.src_path.into_std_path_buf();
        let name = source.strip_prefix(root).unwrap_or(&source).to_string_lossy().into_owned();
        let name = name.strip_suffix(".rs").unwrap_or(&name);
        Some(Self {
            name: name.strip_suffix("/main").unwrap_or(name).to_owned(),
            path: artifact.executable?.into_std_path_buf(),
            package: artifact.manifest_path.parent()?.as_std_path().to_owned(),
        })
    }
}

/// Cargo in the workspace at `root`, for this machine if `args` name no other.
fn command(root: &Path, args: &[&str]) -> Command {
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
        .args(["--locked", "--message-format=json-render-diagnostics"])
        // Tests are of programs for this machine, whatever the builder was compiled for.
        .env_remove("CARGO_BUILD_TARGET")
        // The host's linker knows only the host's processor; Rust brings one that knows all.
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
    command
}

/// Runs cargo, which shows its progress, and gives what it made or found made.
fn cargo(root: &Path, args: &[&str]) -> miette::Result<Vec<Artifact>> {
    let mut child = command(root, args)
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
        Err(Failed(args.join(" ")).into())
    }
}

/// Links in `folder` to every program among `artifacts`.
fn link(artifacts: &[Artifact], folder: &Path) -> miette::Result<()> {
    let executables = artifacts.iter().filter_map(|artifact| artifact.executable.as_ref());
    for program in executables.map(|path| path.as_std_path()) {
        if let Some(name) = program.file_name() {
            replace(program, &folder.join(name))?;
        }
    }
    Ok(())
}

fn replace(program: &Path, link: &Path) -> miette::Result<()> {
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link).into_diagnostic()?;
    }
    symlink(program, link).into_diagnostic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_compiled_for_this_machine() {
        let command = command(Path::new("/w"), &["test"]);
        assert!(
            command
                .get_envs()
                .any(|(name, value)| { name == "CARGO_BUILD_TARGET" && value.is_none() })
        );
    }
}
