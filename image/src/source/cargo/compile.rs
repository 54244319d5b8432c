//! One run of cargo, in an environment that is the same everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use cargo_metadata::{Artifact, CrateType, Message};

use super::environment::{flags, sysroot};
use super::linker::Linker;
use super::record::{Compiled, Program};
use super::{CargoError, CargoSource, PROGRAMS, SERVICES_PACKAGE, Unpacked, bundled, crates, home};

/// Compiles the programs.
pub fn run(source: &CargoSource<'_>, tools: &Unpacked) -> Result<Compiled, CargoError> {
    let sysroot = sysroot()?;
    let triple = source.target.triple();
    if !sysroot.join("lib/rustlib").join(triple).join("lib").is_dir() {
        return Err(CargoError::NoTarget { triple });
    }
    let folder = source.root.join("target/appliance");
    let features: Vec<_> =
        source.services().iter().map(|name| format!("{SERVICES_PACKAGE}/{name}")).collect();
    let user = home::of_user().ok_or(CargoError::NoHome)?;
    let own = folder.join("home");
    home::make(&own, &user)?;
    let manifest = source.root.join("Cargo.toml");
    let host = source.tools.rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let (tools_in, zig) = (folder.join("tools"), tools.zig.join("zig"));
    let linker = Linker::write(&tools_in, source.target, zig, &sysroot, host.unwrap_or_default())
        .map_err(|why| CargoError::Home { path: tools_in, why })?;
    let step = source.steps.start("compile", "crates");
    if !source.offline {
        let mut cargo = Command::new("cargo");
        home::run_with(&own, &mut cargo);
        fetch(cargo.arg("fetch").arg("--manifest-path").arg(&manifest), triple)?;
    }
    let mut command = Command::new("cargo");
    home::run_with(&own, &mut command)
        .args(["build", "--profile", "appliance", "--locked", "--target", triple])
        .arg("--manifest-path")
        .arg(&manifest)
        .args(["--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(&folder);
    if source.offline {
        command.arg("--offline");
    }
    for (package, _) in PROGRAMS {
        command.args(["--package", package, "--bin", package]);
    }
    command.args(["--no-default-features", "--features", &features.join(",")]);
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags(source.root, &sysroot, [&own, &user]))
        .envs(linker.environment())
        .env("ZIG_GLOBAL_CACHE_DIR", folder.join("zig/global"))
        .env("ZIG_LOCAL_CACHE_DIR", folder.join("zig/local"));
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
    let mut artifacts = Artifacts::new(&folder.join(triple));
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)) {
            let Ok(Message::CompilerArtifact(artifact)) = message else { continue };
            artifacts.add(artifact);
            step.advance();
        }
    }
    let status = child.wait().map_err(no_program)?;
    let stderr = stderr.join().unwrap_or_default();
    if !status.success() {
        return Err(failed(&stderr));
    }
    let compiled = artifacts.finish(source.root, bundled::musl(&sysroot, triple)?)?;
    step.done(&format!("{} crates compiled for {triple}", artifacts.compiled));
    Ok(compiled)
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
struct Artifacts {
    /// Where things for the target are, as opposed to those for this machine.
    target: PathBuf,
    /// The manifests of crates that went into the programs.
    manifests: BTreeSet<PathBuf>,
    programs: BTreeMap<String, PathBuf>,
    compiled: usize,
}

impl Artifacts {
    fn new(target: &Path) -> Self {
        let (manifests, programs) = (BTreeSet::new(), BTreeMap::new());
        Self { target: target.to_owned(), manifests, programs, compiled: 0 }
    }

    fn add(&mut self, artifact: Artifact) {
        if !artifact.filenames.iter().any(|file| file.as_std_path().starts_with(&self.target)) {
            return; // a build script or a macro: it runs here and is not in the image
        }
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
            programs.push(Program { name: name.to_owned(), bytes });
        }
        Ok(Compiled { programs, crates: crates::list(root, &self.manifests)?, musl })
    }
}
