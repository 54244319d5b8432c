//! Everything that tests start, compiled before the first of them runs.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::Artifact;
use miette::{IntoDiagnostic, WrapErr};

use crate::build::{self, Options};
use crate::command::bench::PROGRAM as BENCHMARKS;
use crate::host_cargo;
use crate::target::Target;

/// Where tests find what was compiled for them, by name; what guests run is in a folder of their target's name.
const PROGRAMS: &str = "target/tested";

/// The packages of what guests run: the programs of `tests/guests`, and the double of a router.
const GUEST_PACKAGES: [&str; 4] =
    ["--package", "octet-guests", "--package", "octet-openwrt-double"];

/// The double's program.
const DOUBLE: &str = "openwrt-double";

/// PID 1 with faults.
const FAULTS: [&str; 4] = ["--bin", "octet-init-with-faults", "--features", "octet-init/fault"];

/// And netd with faults, in the long tier.
const FAULTS_OF_NETD: [&str; 6] =
    ["--package", "octet-netd", "--bin", "octet-netd", "--features", "octet-netd/fault"];

pub struct CompiledTests {
    /// A folder with links to all programs that tests start.
    pub programs: PathBuf,
    /// The programs that are tests.
    pub tests: Vec<TestProgram>,
}

/// A program of tests, as rustc's harness makes it.
pub struct TestProgram {
    /// Its source's path without its end: `services/logd/tests/daemon`.
    pub name: String,
    pub path: PathBuf,
    /// The folder of its package, in which cargo runs it.
    pub package: PathBuf,
}

impl CompiledTests {
    /// Compiles for the workspace at `root` what runs on this machine; what only the long tier compiles, if `soak`.
    pub fn compile(root: &Path, soak: bool) -> miette::Result<Self> {
        let programs = programs(root);
        fs::create_dir_all(&programs)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot make {}", programs.display()))?;
        // By a binary's name cargo chooses the features of all crates, as for the tests. No dev-dependency adds a feature to
        // a crate of the workspace, so nothing is compiled twice.
        let mut args = vec!["build", "--bin", "octetctl", "--bin", "octet-msg"];
        // Guests run others of these, made for them, and no test runs benchmarks; these are made so that whoever wraps the
        // compiler to lint sees them.
        let mut unused = guest_programs(root)?;
        unused.push(BENCHMARKS.to_owned());
        args.extend(unused.iter().flat_map(|name| ["--bin", name]));
        let made = cargo(root, &args)?;
        let people = made.iter().filter(|artifact| !unused.contains(&artifact.target.name));
        for program in people.filter_map(|artifact| artifact.executable.as_ref()) {
            link(program.as_std_path(), &programs)?;
        }
        let builder = env::current_exe().into_diagnostic()?;
        replace(&builder, &programs.join("octet-image"))?;
        let mut args = vec!["test", "--workspace", "--no-run"];
        // Those of benchmarks are examples, too: `--tests` leaves them out.
        if !soak {
            args.push("--tests");
        }
        let tests = cargo(root, &args)?.into_iter().filter(|artifact| artifact.profile.test);
        Ok(Self { programs, tests: tests.filter_map(|it| TestProgram::of(root, it)).collect() })
    }
}

/// The programs of `tests/guests`.
fn guest_programs(root: &Path) -> miette::Result<Vec<String>> {
    let folder = root.join("tests/guests/src/bin");
    let mut names = vec![];
    for entry in fs::read_dir(&folder).into_diagnostic().wrap_err(folder.display().to_string())? {
        let path = entry.into_diagnostic()?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    Ok(names)
}

/// Compiles what guests of the tests run beside the image that `options` asks for, as that image's programs are compiled:
/// it shares most of its crates with them. Links to all of it are in a folder of the target's name among `programs`.
pub fn guests(options: &Options, programs: &Path, soak: bool) -> miette::Result<()> {
    let mut names = guest_programs(build::workspace()?.root())?;
    names.push(DOUBLE.to_owned());
    // By name: the image's programs may be there already, from another clone, and `--bins` would compile them, too.
    let bins = names.iter().flat_map(|name| ["--bin", name]);
    let mut made = build::programs_beside(
        options,
        &GUEST_PACKAGES.into_iter().chain(bins).collect::<Vec<_>>(),
    )?;
    if options.target == Target::QemuX86_64 {
        let more = if soak { &FAULTS_OF_NETD[..] } else { &[] };
        made.extend(build::programs_beside(options, &[&FAULTS[..], more].concat())?);
    }
    let folder = programs.join(options.target.triple());
    fs::create_dir_all(&folder).into_diagnostic()?;
    made.iter().try_for_each(|program| link(program, &folder))
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
    let mut command = host_cargo::command(root, args);
    // Tests are of programs for this machine, whatever the builder was compiled for.
    command.env_remove("CARGO_BUILD_TARGET");
    command
}

/// Where the programs are, for the workspace at `root`.
pub fn programs(root: &Path) -> PathBuf {
    root.join(PROGRAMS)
}

fn cargo(root: &Path, args: &[&str]) -> miette::Result<Vec<Artifact>> {
    host_cargo::build(&mut command(root, args))
}

/// A link in `folder` to `program`.
fn link(program: &Path, folder: &Path) -> miette::Result<()> {
    program.file_name().map_or(Ok(()), |name| replace(program, &folder.join(name)))
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
