//! This workspace's own programs, compiled static.

mod compile;
mod crates;
mod environment;
mod fingerprint;
mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::{Component, Kind, Source, Taken};
use crate::steps::Steps;
use crate::target::Target;
use crate::tree::{Because, Node, Origin, Tree, Units};

use record::{Compiled, Crate};

/// The programs of one image.
pub struct CargoSource<'a> {
    /// The workspace.
    pub root: &'a Path,
    /// What they run on.
    pub target: Target,
    /// Which services are among them.
    pub units: &'a Units,
    /// What compiles and links.
    pub tools: Tools,
    /// Where the tools are unpacked, once a compilation is due.
    pub unpack: &'a dyn Fn() -> miette::Result<Unpacked>,
    /// Whether cargo must not use the network.
    pub offline: bool,
    /// Where progress is told.
    pub steps: &'a Steps,
}

/// Everything about the compiler and the linker that the programs' bytes depend on.
#[derive(Debug, Clone)]
pub struct Tools {
    /// What `rustc -Vv` says.
    pub rustc: String,
    /// Digests of the tools' files.
    pub digests: Vec<String>,
}

/// The tools, ready to run.
pub struct Unpacked {
    /// The folder of ziglang.
    pub zig: PathBuf,
    /// The program cargo-zigbuild.
    pub zigbuild: PathBuf,
}

/// One program of this workspace that the image has.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its package, and the program's name.
    pub package: String,
    /// Where it goes.
    pub path: String,
    /// Why it is there.
    pub because: Because,
}

/// The workspace's own programs cannot be compiled.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum CargoError {
    /// A program that cannot be run.
    #[error("{program} cannot be run: {source}")]
    #[diagnostic(help("install the Rust toolchain, and see that it is on PATH"))]
    NoProgram {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The standard library of the target is missing.
    #[error("the Rust toolchain has no target {triple}")]
    #[diagnostic(help("run `cargo image run --setup`, or `rustup target add {triple}`"))]
    NoTarget {
        /// The target.
        triple: &'static str,
    },
    /// The workspace cannot be read.
    #[error("the workspace cannot be read: {0}")]
    #[diagnostic(help("see what `cargo metadata --no-deps` says"))]
    Metadata(String),
    /// A service without a package of its name.
    #[error("the workspace has no package `{0}`")]
    #[diagnostic(help("a service NAME is the package octet-NAME with a program of the same name"))]
    NoPackage(String),
    /// It does not compile.
    #[error("the image's programs do not compile:\n{0}")]
    #[diagnostic(help("mend what the compiler complains about"))]
    Failed(String),
    /// A file that should be there.
    #[error("cannot read {path}: {source}")]
    #[diagnostic(help("build again; if that does not help, remove target/appliance"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Where PID 1 is put among the files of an image, until it goes into the initramfs.
pub const INIT: &str = "/init";

impl CargoSource<'_> {
    /// Every program of this workspace that the image has.
    pub fn wanted(&self) -> Vec<Wanted> {
        let always = || Because::always("every image has it");
        let mut wanted = vec![
            Wanted { package: "octet-init".into(), path: INIT.into(), because: always() },
            Wanted {
                package: "octetctl".into(),
                path: "/usr/bin/octetctl".into(),
                because: always(),
            },
        ];
        for unit in self.units.own() {
            if let Some(exec) = &unit.source.unit.exec {
                let package = format!("octet-{}", unit.source.unit.name);
                wanted.push(Wanted {
                    package,
                    path: exec.to_string(),
                    because: unit.because.clone(),
                });
            }
        }
        wanted
    }

    /// The programs, if all that they are made of is as it was when they were compiled.
    pub fn current(&self) -> Result<Option<Compiled>, CargoError> {
        let fingerprint = fingerprint::of(self)?;
        Ok(Compiled::load(&self.folder(&fingerprint)))
    }

    fn folder(&self, fingerprint: &str) -> PathBuf {
        self.root.join("target/appliance/octet").join(fingerprint)
    }

    /// The programs, compiled now if need be.
    pub fn compiled(&self) -> miette::Result<Compiled> {
        let fingerprint = fingerprint::of(self)?;
        let folder = self.folder(&fingerprint);
        if let Some(compiled) = Compiled::load(&folder) {
            return Ok(compiled);
        }
        let tools = (self.unpack)()?;
        let built = compile::run(self, &tools)?;
        built.save(&folder)?;
        Ok(built)
    }
}

impl Source for CargoSource<'_> {
    fn name(&self) -> &'static str {
        "cargo"
    }

    fn doing(&self) -> String {
        "compiling this workspace's programs".into()
    }

    fn take(&self, tree: &mut Tree) -> miette::Result<Taken> {
        let compiled = self.compiled()?;
        let bytes: BTreeMap<_, _> = compiled
            .programs
            .iter()
            .map(|program| (program.name.as_str(), &program.bytes))
            .collect();
        for wanted in self.wanted() {
            let Some(bytes) = bytes.get(wanted.package.as_str()) else {
                return Err(CargoError::NoPackage(wanted.package).into());
            };
            let origin = Origin::Crate { name: wanted.package.clone() };
            tree.put(&wanted.path, Node::file((*bytes).clone(), 0o755, origin, wanted.because))?;
        }
        let components = compiled.crates.iter().map(component).collect();
        let summary =
            format!("{} programs, {} crates", compiled.programs.len(), compiled.crates.len());
        Ok(Taken { components, summary, ..Taken::default() })
    }
}

fn component(it: &Crate) -> Component {
    Component {
        kind: Kind::Crate,
        name: it.name.clone(),
        version: Some(it.version.clone()),
        license: it.license.clone(),
        purl: Some(format!("pkg:cargo/{}@{}", it.name, it.version)),
        uses: it.uses.clone(),
    }
}
