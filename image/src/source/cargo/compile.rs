//! Cargo, in an environment that is the same everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use cargo_metadata::{Artifact, CrateType, Message};
use memchr::memmem;

use super::environment::{flags, sysroot};
use super::linker::Linker;
use super::record::{Compiled, Program};
use super::{CargoError, CargoSource, PROGRAMS, SERVICES_PACKAGE, Unpacked, bundled, crates, home};
use crate::output::file;

/// Cargo as it compiles what ships: with the image's profile, flags, C compiler and linker, into a folder that only
/// programs made like this are in.
pub struct Compiler<'a> {
    source: &'a CargoSource<'a>,
    triple: &'static str,
    sysroot: PathBuf,
    folder: PathBuf,
    home: PathBuf,
    linker: Linker,
    flags: OsString,
}

impl<'a> Compiler<'a> {
    /// Makes cargo's home and the scripts for the linker, and fetches the crates.
    ///
    /// # Errors
    /// The toolchain lacks the target, a folder cannot be written, or the crates cannot be had.
    pub fn new(source: &'a CargoSource<'a>, tools: &Unpacked) -> Result<Self, CargoError> {
        let sysroot = sysroot()?;
        let triple = source.target.triple();
        if !sysroot.join("lib/rustlib").join(triple).join("lib").is_dir() {
            return Err(CargoError::NoTarget { triple });
        }
        let folder = source.root.join("target/appliance");
        let user = home::of_user().ok_or(CargoError::NoHome)?;
        let home = home::own().ok_or(CargoError::NoHome)?;
        let host = source.tools.rustc.lines().find_map(|line| line.strip_prefix("host: "));
        let (tools_in, zig) = (home.join("tools"), tools.zig.join("zig"));
        let one_at_a_time = file::lock(&home.join(".lock"), source.steps)?;
        home::make(&home, &user)?;
        let linker =
            Linker::write(&tools_in, source.target, zig, &sysroot, host.unwrap_or_default())?;
        drop(one_at_a_time);
        if !source.offline {
            let mut cargo = Command::new("cargo");
            home::run_with(&home, &mut cargo).arg("fetch").arg("--manifest-path");
            fetch(cargo.arg(source.root.join("Cargo.toml")), triple)?;
        }
        let flags = flags(&sysroot, [&home, &user]);
        Ok(Self { source, triple, sysroot, folder, home, linker, flags })
    }

    /// Has cargo build what `words` say, with the features of this image's services: what they share with the image is
    /// compiled once. `made` is given each artifact for the target; those for this machine are left out.
    ///
    /// # Errors
    /// Cargo fails.
    pub fn build(&self, words: &[&str], mut made: impl FnMut(Artifact)) -> Result<(), CargoError> {
        let mut command = Command::new("cargo");
        home::run_with(&self.home, &mut command)
            .args(["build", "--profile", "appliance", "--locked", "--target", self.triple])
            .arg("--manifest-path")
            .arg(self.source.root.join("Cargo.toml"))
            .args(["--message-format", "json-render-diagnostics", "--target-dir"])
            .arg(&self.folder);
        if self.source.offline {
            command.arg("--offline");
        }
        for (package, _) in PROGRAMS {
            command.args(["--package", package]);
        }
        let services = self.source.services();
        let features = services.iter().map(|name| format!("{SERVICES_PACKAGE}/{name}"));
        command
            .arg("--no-default-features")
            .args(features.flat_map(|it| ["--features".into(), it]));
        command
            .args(words)
            .env("CARGO_ENCODED_RUSTFLAGS", &self.flags)
            .envs(self.linker.environment())
            .env("ZIG_GLOBAL_CACHE_DIR", self.folder.join("zig/global"))
            .env("ZIG_LOCAL_CACHE_DIR", self.folder.join("zig/local"));
        let no_program = |error| CargoError::NoProgram { program: "cargo".into(), why: error };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_program)?;
        // Both pipes are read at once: a full one would stop cargo.
        let stderr = child.stderr.take();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut stderr) = stderr {
                // Words that are not UTF-8 are lost, the exit status is not.
                let _ = stderr.read_to_string(&mut text);
            }
            text
        });
        let for_target = self.folder.join(self.triple);
        if let Some(stdout) = child.stdout.take() {
            for message in Message::parse_stream(BufReader::new(stdout)) {
                // A build script or a macro runs here, and is in no image.
                if let Ok(Message::CompilerArtifact(artifact)) = message
                    && artifact.filenames.iter().any(|it| it.as_std_path().starts_with(&for_target))
                {
                    made(artifact);
                }
            }
        }
        let status = child.wait().map_err(no_program)?;
        let stderr = stderr.join().unwrap_or_default();
        if status.success() { Ok(()) } else { Err(failed(&stderr)) }
    }

    /// Compiles the programs of the image.
    ///
    /// # Errors
    /// Cargo fails, or what it made cannot be read.
    pub fn image(&self) -> Result<Compiled, CargoError> {
        let step = self.source.steps.start("compile", "crates");
        let words: Vec<_> = PROGRAMS.iter().flat_map(|(program, _)| ["--bin", program]).collect();
        let mut artifacts = Artifacts::default();
        self.build(&words, |artifact| {
            artifacts.add(artifact);
            step.advance();
        })?;
        let root = self.source.root;
        let compiled = artifacts.finish(root, bundled::musl(&self.sysroot, self.triple)?)?;
        step.done(&format!("{} crates compiled for {}", artifacts.compiled, self.triple));
        Ok(compiled)
    }
}

/// Whether a program has the path of a file below `root` in it. A folder of the root folder is not looked for: its name
/// may be any word between slashes.
fn names(program: &[u8], root: &Path) -> bool {
    let below = [root.as_os_str().as_bytes(), b"/"].concat();
    root.components().count() > 2 && memmem::find(program, &below).is_some()
}

/// Fetches the crates' sources first, because the folders that they are unpacked to have to be
/// known before the compiler is told what to call them.
fn fetch(cargo: &mut Command, triple: &str) -> Result<(), CargoError> {
    let output = cargo
        .args(["--quiet", "--locked", "--target", triple])
        .output()
        .map_err(|why| CargoError::NoProgram { program: "cargo".into(), why })?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(&String::from_utf8_lossy(&output.stderr)))
    }
}

fn failed(stderr: &str) -> CargoError {
    let lines: Vec<_> = stderr.lines().collect();
    CargoError::Failed(lines[lines.len().saturating_sub(60)..].join("\n"))
}

/// What cargo says it has made.
#[derive(Default)]
struct Artifacts {
    /// The manifests of crates that went into the programs.
    manifests: BTreeSet<PathBuf>,
    programs: BTreeMap<String, PathBuf>,
    compiled: usize,
}

impl Artifacts {
    fn add(&mut self, artifact: Artifact) {
        if !artifact.fresh {
            self.compiled += 1;
        }
        if artifact.target.crate_types.contains(&CrateType::Bin)
            && let Some(path) = artifact.executable
        {
            self.programs.insert(artifact.target.name, path.into_std_path_buf());
        }
        self.manifests.insert(artifact.manifest_path.into_std_path_buf());
    }

    fn finish(&self, root: &Path, musl: String) -> Result<Compiled, CargoError> {
        let mut programs = vec![];
        for (name, _) in PROGRAMS {
            let path =
                self.programs.get(name).ok_or_else(|| CargoError::NoPackage(name.to_owned()))?;
            let bytes = std::fs::read(path)
                .map_err(|why| CargoError::Unreadable { path: path.clone(), why })?;
            if names(&bytes, root) {
                let (program, root) = (name.to_owned(), root.to_owned());
                return Err(CargoError::NamesClone { program, root });
            }
            programs.push(Program { name: name.to_owned(), bytes });
        }
        Ok(Compiled { programs, crates: crates::list(root, &self.manifests)?, musl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_clone_is_found() {
        let program = b"\x7fELF\0/home/me/octet/services/cache/src/lib.rs\0/usr/lib/octet/octet\0";
        for (root, found) in
            [("/home/me/octet", true), ("/home/me/oct", false), ("/lib", false), ("/octet", false)]
        {
            assert_eq!(names(program, Path::new(root)), found, "{root}");
        }
    }
}
