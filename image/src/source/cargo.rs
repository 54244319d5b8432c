//! This workspace's own programs, compiled static.

mod bundled;
mod compile;
mod crate_cache;
mod crates;
mod environment;
mod fingerprint;
mod home;
mod linker;
mod record;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::purl::purl;
use super::{Checksum, Component, ComponentKind, PackageSource, Provided};
use crate::cache;
use crate::output::file::{self, WriteError};
use crate::output::file_lock::FileLock;
use crate::steps::Steps;
use crate::target::Target;
use crate::tree::{Because, ImageUnits, NodeOrigin, Tree, TreeNode};

use compile::Compiler;
use record::{Compiled, Crate};

pub use crate_cache::CRATES_FOLDER;

/// The programs of one image.
pub struct CargoSource<'a> {
    pub root: &'a Path,
    pub target: Target,
    /// Which services are among them.
    pub units: &'a ImageUnits,
    pub tools: Tools,
    /// Where the tools are unpacked, once a compilation is due.
    pub unpack: &'a dyn Fn() -> miette::Result<Unpacked>,
    /// Whether programs are for a quick image: compiled in less time, larger and slower.
    pub quick: bool,
    /// Whether cargo must not use the network.
    pub offline: bool,
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
    pub zig: PathBuf,
}

/// A link to the one program that all services are.
#[derive(Debug)]
struct Link {
    path: String,
    because: Because,
}

/// The workspace's own programs cannot be compiled.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum CargoError {
    /// There is no home of cargo's.
    #[error("nothing says where cargo keeps what it fetches")]
    #[diagnostic(help("set HOME, or CARGO_HOME"))]
    NoHome,
    /// The user's home of cargo's, or ours, cannot be used.
    #[error("cannot use {path} for cargo: {why}")]
    #[diagnostic(help("see that it can be read and written, or set CARGO_HOME to another folder"))]
    Home { path: PathBuf, why: std::io::Error },
    /// What cargo calls cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Write(#[from] WriteError),
    /// The user's configuration of cargo would change the image.
    #[error("{path} cannot be used for an image: {problem}")]
    #[diagnostic(help(
        "crates have to come from a registry, or their place on this machine would be in the image: take that out, or set CARGO_HOME to another folder"
    ))]
    Config { path: PathBuf, problem: String },
    /// A configuration of cargo that nothing keeps from the image.
    #[error("cargo reads {path} wherever it runs, and it could change the image")]
    #[diagnostic(help("move it into the home of a user, and set CARGO_HOME to that"))]
    Everywhere { path: PathBuf },
    /// A program that cannot be run.
    #[error("{program} cannot be run: {why}")]
    #[diagnostic(help("install the Rust toolchain, and see that it is on PATH"))]
    NoProgram { program: String, why: std::io::Error },
    /// The standard library of the target is missing.
    #[error("the Rust toolchain has no target {triple}")]
    #[diagnostic(help("run `cargo image run --setup`, or `rustup target add {triple}`"))]
    NoTarget { triple: &'static str },
    /// The workspace cannot be read.
    #[error("the workspace cannot be read: {0}")]
    #[diagnostic(help("see what `cargo metadata --no-deps` says"))]
    Metadata(String),
    /// A package that is not there.
    #[error("the workspace has no package `{0}`")]
    #[diagnostic(help("bring it back from git"))]
    NoPackage(String),
    /// A service that is not in the program of all services.
    #[error("the program of all services has no feature `{0}`")]
    #[diagnostic(help(
        "add it to services/program/Cargo.toml, with the service's package as a dependency"
    ))]
    NoService(String),
    #[error("the image's programs do not compile:\n{0}")]
    #[diagnostic(help("mend what the compiler complains about"))]
    Failed(String),
    /// It would be another one in another folder.
    #[error("{program} has paths of this clone in it, below {root}")]
    #[diagnostic(help(
        "find who puts them there, mostly `env!(\"CARGO_MANIFEST_DIR\")` or what a build script writes: `strings -a` shows them"
    ))]
    NamesClone { program: String, root: PathBuf },
    /// A file that should be there.
    #[error("cannot read {path}: {why}")]
    #[diagnostic(help("build again; if that does not help, remove target/appliance"))]
    Unreadable { path: PathBuf, why: std::io::Error },
}

/// Where PID 1 is put among the files of an image, until it goes into the initramfs.
pub const INIT: &str = "/init";

/// The package of PID 1 and its program.
const INIT_PACKAGE: &str = "octet-init";

/// The package of the program that all services are, each by the name of a link; and the program.
/// The services of the image are its features.
const SERVICES_PACKAGE: &str = "octet";

const SERVICES_PROGRAM: &str = "/usr/lib/octet/octet";

/// What is compiled, and the path of each in the image.
const PROGRAMS: [(&str, &str); 2] = [(INIT_PACKAGE, INIT), (SERVICES_PACKAGE, SERVICES_PROGRAM)];

/// The folder in the builder's cache for programs that all clones of the user share.
pub const PROGRAMS_FOLDER: &str = "programs";

/// The folder below a workspace that cargo compiles what is in images into.
const COMPILED: &str = "target/appliance";

/// Where the programs of the workspace at `root` are kept, each lot in a folder of its own.
pub fn programs(root: &Path) -> PathBuf {
    root.join(COMPILED).join("octet")
}

/// The same for programs of quick images, which so do not push the others out.
fn quick_programs(root: &Path) -> PathBuf {
    root.join(COMPILED).join("octet-quick")
}

impl CargoSource<'_> {
    /// The names by which the one program of all services is called.
    fn links(&self) -> Vec<Link> {
        let because = Because::always("every image has it");
        let mut links = vec![Link { path: "/usr/bin/octetctl".into(), because }];
        for unit in self.units.octet_units() {
            if let Some(exec) = &unit.source.unit.exec {
                links.push(Link { path: exec.to_string(), because: unit.because.clone() });
            }
        }
        links
    }

    /// The services of this image.
    fn services(&self) -> Vec<String> {
        let programs = self.units.octet_units().filter(|unit| unit.source.unit.exec.is_some());
        let mut names: Vec<_> = programs.map(|unit| unit.source.unit.name.to_string()).collect();
        names.sort();
        names
    }

    /// The programs, if all that they are made of is as it was when they were compiled.
    pub fn current(&self) -> Result<Option<Compiled>, CargoError> {
        Ok(self.load(&fingerprint::compute(self)?))
    }

    fn folder(&self, fingerprint: &str) -> PathBuf {
        let all = if self.quick { quick_programs(self.root) } else { programs(self.root) };
        all.join(fingerprint)
    }

    fn load(&self, fingerprint: &str) -> Option<Compiled> {
        let own = self.folder(fingerprint);
        Compiled::load(&own, self.root).or_else(|| {
            let others = cache::folder(PROGRAMS_FOLDER).filter(|it| cache::is_private(it))?;
            let compiled = Compiled::load(&others.join(fingerprint), self.root)?;
            // `--verify` copies this clone's. If they cannot be written here, they are found there the next time, too.
            let _ = compiled.save(&own);
            Some(compiled)
        })
    }

    /// The programs, compiled now if need be.
    pub fn compiled(&self) -> miette::Result<Compiled> {
        let fingerprint = fingerprint::compute(self)?;
        if let Some(compiled) = self.load(&fingerprint) {
            return Ok(compiled);
        }
        let _one_at_a_time = self.lock()?;
        if let Some(compiled) = self.load(&fingerprint) {
            return Ok(compiled);
        }
        let built = Compiler::new(self, &(self.unpack)()?)?.image()?;
        built.save(&self.folder(&fingerprint))?;
        if !self.quick
            && let Some(others) = cache::folder(PROGRAMS_FOLDER)
            && let Err(error) = self.share_with_clones(&built, &others, &fingerprint)
        {
            self.steps.warn(&format!("{error}: other clones will compile these programs again"));
        }
        Ok(built)
    }

    /// Keeps programs for other clones of the user in the folder `others`.
    fn share_with_clones(
        &self,
        built: &Compiled,
        others: &Path,
        fingerprint: &str,
    ) -> miette::Result<()> {
        let make = || DirBuilder::new().recursive(true).mode(0o700).create(others);
        make().map_err(WriteError::at(others))?;
        let _one_at_a_time = file::lock(&others.join(".lock"), self.steps)?;
        built.save(&others.join(fingerprint))
    }

    /// Programs that no image has, compiled as the image's are, and with the features of its services. `words` are
    /// cargo's, and say which.
    pub fn build_programs(&self, words: &[&str]) -> miette::Result<Vec<PathBuf>> {
        let _one_at_a_time = self.lock()?;
        let mut programs = vec![];
        let compiler = Compiler::new(self, &(self.unpack)()?)?;
        compiler.build(words, |made| programs.extend(made.executable.map(Into::into)))?;
        Ok(programs)
    }

    /// What cargo makes is in one place, and is overwritten by the next build with other services.
    fn lock(&self) -> Result<FileLock, WriteError> {
        file::lock(&self.root.join(COMPILED).join(".lock"), self.steps)
    }
}

impl PackageSource for CargoSource<'_> {
    fn name(&self) -> &'static str {
        "cargo"
    }

    fn progress_text(&self) -> String {
        "compiling this workspace's programs".into()
    }

    fn add_to(&self, tree: &mut Tree) -> miette::Result<Provided> {
        let compiled = self.compiled()?;
        let bytes: BTreeMap<_, _> = compiled
            .programs
            .iter()
            .map(|program| (program.name.as_str(), &program.bytes))
            .collect();
        for (package, path) in PROGRAMS {
            let Some(bytes) = bytes.get(package) else {
                return Err(CargoError::NoPackage(package.to_owned()).into());
            };
            let because = Because::always("every image has it");
            let node = TreeNode::file((*bytes).clone(), 0o755, origin(package), because);
            tree.put(path, node)?;
        }
        for link in self.links() {
            let node =
                TreeNode::link(SERVICES_PROGRAM.to_owned(), origin(SERVICES_PACKAGE), link.because);
            tree.put(&link.path, node)?;
        }
        let mut components: Vec<_> = compiled.crates.iter().map(component).collect();
        components.extend(bundled::components(&self.tools.rustc, &compiled.musl));
        let summary =
            format!("{} programs, {} crates", compiled.programs.len(), compiled.crates.len());
        Ok(Provided { components, summary, ..Provided::default() })
    }
}

fn origin(package: &str) -> NodeOrigin {
    NodeOrigin::Crate { name: package.to_owned() }
}

fn component(it: &Crate) -> Component {
    let crate_of_that = format!("{} {}", it.name, it.version);
    // A crate of this workspace is none of that name which a registry has.
    let (supplier, kind, source) = match &it.checksum {
        Some(sha256) => {
            ("the Rust crate registry", "cargo", format!("crate {crate_of_that}, SHA-256 {sha256}"))
        }
        None => ("Octet", "generic", format!("Octet {}, package {}", it.version, it.name)),
    };
    Component {
        kind: ComponentKind::Crate,
        name: it.name.clone(),
        version: it.version.clone(),
        supplier,
        license: it.license.clone(),
        purl: purl(kind, None, &it.name, &it.version, &[]),
        checksum: it.checksum.clone().map(Checksum::Sha256),
        source,
        common: vec![],
        notices: it.notices.clone(),
        uses: it.uses.clone(),
    }
}
