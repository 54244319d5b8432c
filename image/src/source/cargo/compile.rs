//! Cargo, in an environment that is the same everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use cargo_metadata::{Artifact, CrateType, Message};
use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::crate_cache::{CRATES_FOLDER, CompiledCrates, CrateCache};
use super::environment::{flags, sysroot};
use super::linker::Linker;
use super::record::{Compiled, ProgramRecord};
use super::{
    COMPILED, CargoError, CargoSource, PROGRAMS, SERVICES_PACKAGE, Unpacked, bundled, crates,
    fingerprint, home,
};
use crate::cache;
use crate::digest::{FieldHasher, Sha256};
use crate::output::file;

/// Into how many pieces the compiler takes a crate apart at most: as many as where cargo compiles for debugging.
const CODEGEN_UNITS: u16 = 256;

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
        let folder = source.root.join(COMPILED);
        let user = home::user_home().ok_or(CargoError::NoHome)?;
        let home = home::builder_home().ok_or(CargoError::NoHome)?;
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
    pub fn build(&self, words: &[&str], mut made: impl FnMut(Artifact)) -> Result<(), CargoError> {
        let others = self.crate_cache()?;
        if let Some(others) = &others {
            let step = self.source.steps.start("copy", "crates that other clones have compiled");
            match others.restore().copied {
                0 => drop(step),
                copied => step.done(&format!("{copied} artifacts of crates, from another clone")),
            }
        }
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
        if self.source.quick {
            let own = fingerprint::packages(self.source.root, &self.source.services())?;
            command.env("CARGO_INCREMENTAL", "1").args(quick(own.into_values()));
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
        let mut units = CompiledCrates::default();
        if let Some(stdout) = child.stdout.take() {
            for message in Message::parse_stream(BufReader::new(stdout)).map_while(Result::ok) {
                units.record(&self.folder, &message);
                // A build script or a macro runs here, and is in no image.
                if let Message::CompilerArtifact(artifact) = message
                    && artifact.filenames.iter().any(|it| it.as_std_path().starts_with(&for_target))
                {
                    made(artifact);
                }
            }
        }
        let status = child.wait().map_err(no_program)?;
        let stderr = stderr.join().unwrap_or_default();
        if !status.success() {
            return Err(compile_error(&stderr));
        }
        if let Some(others) = &others
            && let Err(error) = others.store(&units)
        {
            self.source
                .steps
                .warn(&format!("{error}: other clones will compile these crates again"));
        }
        Ok(())
    }

    /// What other clones have compiled of others' crates, if there is a place for it.
    fn crate_cache(&self) -> Result<Option<CrateCache<'_>>, CargoError> {
        let Some(store) = cache::folder(CRATES_FOLDER) else { return Ok(None) };
        let checksums = crates::checksums(self.source.root)?;
        let steps = self.source.steps;
        let (target, home) = (&self.folder, &self.home);
        Ok(Some(CrateCache::new(store, self.key()?, target, home, checksums, steps)))
    }

    /// A digest over what all of these are compiled with. What a crate is compiled with besides, cargo puts into the
    /// names of its files.
    fn key(&self) -> Result<Sha256, CargoError> {
        let mut hasher = FieldHasher::default();
        hasher.field(&self.source.tools.rustc).field(self.triple);
        hasher.field(self.flags.as_encoded_bytes());
        for digest in &self.source.tools.digests {
            hasher.field(digest);
        }
        let cargo = Command::new("cargo").arg("-Vv").output();
        let cargo = cargo.map_err(|why| CargoError::NoProgram { program: "cargo".into(), why })?;
        hasher.field(cargo.stdout);
        // The compiler's own libraries have digests in their names.
        let standard = self.sysroot.join("lib/rustlib").join(self.triple).join("lib");
        for folder in [self.sysroot.join("lib"), standard] {
            let unreadable = |why| CargoError::Unreadable { path: folder.clone(), why };
            let mut names = vec![];
            for entry in fs::read_dir(&folder).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                names.push((entry.file_name(), entry.metadata().map_err(unreadable)?.len()));
            }
            names.sort();
            for (name, size) in names {
                hasher.field(name.as_encoded_bytes()).field(size.to_le_bytes());
            }
        }
        Ok(hasher.finish())
    }

    /// Compiles the programs of the image.
    ///
    /// # Errors
    /// Cargo fails, or what it made cannot be read.
    pub fn image(&self) -> Result<Compiled, CargoError> {
        let last = LastBuild::read();
        // What a quick image's programs take says nothing about others'.
        let is_first = !self.source.quick && !self.folder.join(self.triple).is_dir();
        if is_first {
            let took = last.as_ref().map(|it| format!("the last clone took {} s", it.seconds));
            let took = took.unwrap_or_else(|| "it takes minutes".to_owned());
            self.source
                .steps
                .note(&format!("this clone has nothing compiled for {}: {took}", self.triple));
        }
        let step = self.source.steps.start("compile", "crates");
        if let Some(last) = &last {
            step.total(last.crates);
        }
        let began = Instant::now();
        let words: Vec<_> = PROGRAMS.iter().flat_map(|(program, _)| ["--bin", program]).collect();
        let mut artifacts = Artifacts::default();
        self.build(&words, |artifact| {
            artifacts.add(artifact);
            step.advance();
        })?;
        let root = self.source.root;
        let also = fingerprint::extra_files(
            self.source,
            &self.folder.join(self.triple).join("appliance"),
        )?;
        let musl = bundled::musl(&self.sysroot, self.triple)?;
        let compiled = Compiled { also, ..artifacts.finish(root, musl)? };
        if is_first {
            let seconds = began.elapsed().as_secs();
            LastBuild { seconds, crates: artifacts.manifests.len() as u64 }.write();
        }
        step.done(&format!("{} crates compiled for {}", artifacts.compiled, self.triple));
        Ok(compiled)
    }
}

/// What has cargo compile these packages without optimising them, and piece by piece, so that a changed line is one
/// piece. All others' crates stay as the image has them: both kinds of images share those.
fn quick(own: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let profile = |name| format!("profile.appliance.package.{name}");
    let lines =
        |it: String| [format!("{it}.opt-level=0"), format!("{it}.codegen-units={CODEGEN_UNITS}")];
    own.flat_map(move |name| lines(profile(name))).flat_map(|line| ["--config".to_owned(), line])
}

/// What a clone's first compilation took the last time, for whoever waits for the next.
#[derive(Serialize, Deserialize)]
struct LastBuild {
    seconds: u64,
    crates: u64,
}

impl LastBuild {
    fn file() -> Option<PathBuf> {
        cache::folder("compiled.json")
    }

    fn read() -> Option<Self> {
        serde_json::from_slice(&fs::read(Self::file()?).ok()?).ok()
    }

    fn write(&self) {
        if let (Some(path), Ok(text)) = (Self::file(), serde_json::to_vec(self)) {
            let _ = file::write(&path, &text);
        }
    }
}

/// Whether a program has the path of a file below `root` in it. A folder of the root folder is not looked for: its name
/// may be any word between slashes.
fn contains_path(program: &[u8], root: &Path) -> bool {
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
        Err(compile_error(&String::from_utf8_lossy(&output.stderr)))
    }
}

fn compile_error(stderr: &str) -> CargoError {
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
            let bytes =
                fs::read(path).map_err(|why| CargoError::Unreadable { path: path.clone(), why })?;
            if contains_path(&bytes, root) {
                let (program, root) = (name.to_owned(), root.to_owned());
                return Err(CargoError::NamesClone { program, root });
            }
            programs.push(ProgramRecord { name: name.to_owned(), bytes });
        }
        let crates = crates::list(root, &self.manifests)?;
        Ok(Compiled { programs, crates, musl, also: vec![] })
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
            assert_eq!(contains_path(program, Path::new(root)), found, "{root}");
        }
    }

    #[test]
    fn only_given_packages_are_compiled_quickly() {
        let words: Vec<_> = quick(["octet-cache".to_owned()].into_iter()).collect();
        let profile = "profile.appliance.package.octet-cache";
        let [level, pieces] =
            ["opt-level=0", "codegen-units=256"].map(|it| format!("{profile}.{it}"));
        assert_eq!(words, ["--config", &level, "--config", &pieces]);
    }
}
