//! Everything a build is made from, read and checked before anything is made.

use std::fs;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, WrapErr};

use super::Options;
use crate::appliance_file::{ApplianceFile, Mistake};
use crate::digest::{FieldHasher, Sha256};
use crate::lock::{Input, Lock, Toolchain};
use crate::source::{CargoSource, DebSource, NamedModule, Tools, Unpacked, WantedProgram};
use crate::steps::Steps;
use crate::store::{Derived, InputStore, unpack};
use crate::target::Target;
use crate::tree::{ImageUnits, Overlays};
use crate::workspace::Workspace;

/// The inputs of one build.
pub struct BuildInputs {
    pub root: PathBuf,
    pub target: Target,
    pub appliance: ApplianceFile,
    pub lock: Lock,
    pub toolchain: Toolchain,
    pub units: ImageUnits,
    pub overlays: Overlays,
    pub store: InputStore,
    /// Whether the image is a quick one ([`Options::quick`]).
    quick: bool,
    /// The builder's program.
    builder: PathBuf,
}

impl BuildInputs {
    /// Reads and checks all of them.
    pub fn load(workspace: &Workspace, options: &Options) -> miette::Result<Self> {
        let root = workspace.root().to_owned();
        let appliance = ApplianceFile::read(&options.appliance_file(workspace))?;
        let lock = Lock::read(&options.lock_file(workspace))?;
        let units = ImageUnits::load(&root, &appliance).map_err(Mistake::from)?;
        let overlays = Overlays::load(&root, options.target)?;
        let toolchain = Toolchain::detect(&lock.tool("ziglang")?.version)?;
        let store = InputStore::open(options.offline)?;
        Ok(Self {
            root,
            target: options.target,
            appliance,
            lock,
            toolchain,
            units,
            overlays,
            store,
            quick: options.quick,
            builder: options.builder().to_owned(),
        })
    }

    pub fn summary(&self) -> String {
        let image = &self.appliance.appliance.image;
        format!(
            "{}: {} packages, {} modules, {} units",
            self.appliance.file,
            image.packages.len(),
            image.modules.len(),
            self.units.all.len()
        )
    }

    /// This workspace's programs; `unpack` is called if they have to be compiled.
    pub fn cargo<'a>(
        &'a self,
        steps: &'a Steps,
        unpack: &'a dyn Fn() -> miette::Result<Unpacked>,
    ) -> CargoSource<'a> {
        let zig = self.lock.tool("ziglang").ok();
        let digests = zig.map(|input| input.sha256.get_ref().to_string()).into_iter().collect();
        CargoSource {
            root: &self.root,
            target: self.target,
            units: &self.units,
            tools: Tools { rustc: self.toolchain.rustc.clone(), digests },
            unpack,
            quick: self.quick,
            offline: self.store.offline(),
            steps,
        }
    }

    /// Unpacks what compiles and links, if it is not there.
    pub fn unpack_tools(&self, steps: &Steps) -> miette::Result<Unpacked> {
        let zig = self.derived(self.lock.tool("ziglang")?, "zig", false, steps, &|member| {
            member.strip_prefix("ziglang/").map(PathBuf::from)
        })?;
        Ok(Unpacked { zig })
    }

    /// The folder with `linux` and `qcow2` out of the seed.
    pub fn seed(&self, steps: &Steps) -> miette::Result<PathBuf> {
        let input = self.lock.seed(self.target)?;
        self.derived(input, "seed", true, steps, &|member| {
            let (_, ending) = member.rsplit_once('.')?;
            match ending {
                "kernel" => Some(PathBuf::from("linux")),
                "qcow2" => Some(PathBuf::from("qcow2")),
                _ => None,
            }
        })
    }

    /// The kernel's modules that somebody names.
    pub fn modules(&self) -> Vec<NamedModule> {
        NamedModule::all(&self.appliance, &self.units)
    }

    pub fn debs(&self, steps: &Steps) -> miette::Result<DebSource> {
        let mut files = vec![];
        for input in self.lock.debs(self.target) {
            files.push((input, self.store.verified(&self.lock, input, steps)?));
        }
        let requested = self.appliance.appliance.image.debian.iter().map(|path| WantedProgram {
            path: path.get_ref().to_string(),
            because: self.appliance.because(&path.span(), "debian", path.get_ref().as_str()),
        });
        let (handled, modules) = (self.overlays.handled.clone(), self.modules());
        Ok(DebSource::read(self.target, &files, requested.collect(), modules, handled)?)
    }

    /// The folder with `linux`, `initrd` and `qcow2`: the seed as its publisher boots it.
    pub fn stock(&self, steps: &Steps) -> miette::Result<PathBuf> {
        let input = self.lock.seed(self.target)?;
        self.derived(input, "stock", true, steps, &|member| {
            let (_, ending) = member.rsplit_once('.')?;
            match ending {
                "kernel" => Some(PathBuf::from("linux")),
                "initrd" | "qcow2" => Some(PathBuf::from(ending)),
                _ => None,
            }
        })
    }

    fn derived(
        &self,
        input: &Input,
        what: &'static str,
        checked: bool,
        steps: &Steps,
        pick: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> miette::Result<PathBuf> {
        unpack(&self.store, &self.lock, input, &Derived { what, checked, pick }, steps)
    }

    /// A digest of everything the image depends on, `programs` being that of this workspace's own.
    /// The builder itself is part of it.
    pub fn key(&self, programs: Sha256) -> String {
        let mut hasher = FieldHasher::default();
        hasher.field(digest(&self.builder)).field(self.target.name()).field(programs);
        hasher.field(&self.appliance.text).field(&self.lock.text).field(self.overlays.digest());
        for unit in &self.units.all {
            hasher.field(&unit.source.file).field(&unit.source.text);
            if let Some(owner) = &unit.owner {
                hasher.field(&owner.bytes);
            }
        }
        hasher.finish().to_string()
    }
}

fn digest(file: &Path) -> Vec<u8> {
    Sha256::of_file(file).map(|sha256| sha256.as_ref().to_vec()).unwrap_or_default()
}

/// The content of a file that the builder has made itself.
pub fn read(path: &Path) -> miette::Result<Vec<u8>> {
    fs::read(path).into_diagnostic().wrap_err_with(|| format!("cannot read {}", path.display()))
}
