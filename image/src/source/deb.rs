//! Debian packages: what the seed lacks. The boot loader goes onto the ESP; of programs only these and
//! their libraries are taken.

mod archive;
mod copyright;
mod kernel;
mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use octet_appliance::FileError;

pub use self::archive::DebPackage;
use super::kernel::{MissingModule, NamedModule};
use super::purl::purl;
use super::{Checksum, Component, ComponentKind, PackageSource, Provided};
use crate::lock::Input;
use crate::seed::Handled;
use crate::store::{debian_name, is_kernel};
use crate::target::{KernelOrigin, Target};
use crate::tree::{Because, NodeOrigin, Tree};

/// The package with the boot loader.
const BOOT_LOADER: &str = "systemd-boot-efi";

/// The packages of one image, and what is wanted of them.
pub struct DebSource {
    target: Target,
    packages: Vec<(String, DebPackage)>,
    requested: Vec<NamedProgram>,
    /// The kernel's modules that somebody names, if the kernel is Debian's.
    modules: Vec<NamedModule>,
    handled: Handled,
}

/// A program that somebody names.
#[derive(Debug, Clone)]
pub struct NamedProgram {
    /// Where it is, in its package and in the image.
    pub path: String,
    pub because: Because,
}

/// A package cannot be used, though it is the one that is locked.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum DebError {
    /// It is damaged, or is not what the lock says.
    #[error("input `{name}` {version} cannot be used: {reason}")]
    #[diagnostic(help(
        "what is locked is not what it should be: `cargo image lock --update {name}`"
    ))]
    Unusable { name: String, version: String, reason: String },
    /// The store's file cannot be read.
    #[error("cannot read {path}: {why}")]
    #[diagnostic(help("see that the store can be read"))]
    Unreadable { path: PathBuf, why: std::io::Error },
    /// A file that the image needs is in none of the packages.
    #[error("no locked Debian package has {path}, which the image for {target} needs")]
    #[diagnostic(help("appliance.lock has to have `{BOOT_LOADER}` for {target}: restore it"))]
    NoFile {
        path: String,
        /// What the image is for.
        target: Target,
    },
    /// A program that is in none of them.
    #[error("no locked Debian package has {path} ({because})")]
    #[diagnostic(help(
        "find the package that has it (https://packages.debian.org), then: `cargo image lock --add PACKAGE`"
    ))]
    NoProgram { path: String, because: String },
    /// A library that is in none of them.
    #[error("{program} of package {package} needs {library}, which no locked Debian package has")]
    #[diagnostic(help(
        "`Depends` of package {package} names the one that has it: `cargo image lock --add PACKAGE`"
    ))]
    NoLibrary {
        /// The program, or a library that it needs.
        program: String,
        package: String,
        library: String,
    },
    /// A kernel module that somebody names.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Module(#[from] Box<FileError>),
    /// A kernel module that every image has.
    #[error("Debian's kernel: {0}")]
    #[diagnostic(help(
        "its version in appliance.lock is not one that this release of Octet can use"
    ))]
    Kernel(String),
    #[error(
        "Debian package {package} ({because}) has scripts ({kinds}), which never run when an image is built"
    )]
    #[diagnostic(help(
        "look at what they would do, put that into overlays/, then list the package in overlays/scripts.toml"
    ))]
    Script { package: String, because: String, kinds: String },
}

impl From<MissingModule> for DebError {
    fn from(error: MissingModule) -> Self {
        match error {
            MissingModule::Named(error) => Self::Module(error),
            MissingModule::Required(message) => Self::Kernel(message),
        }
    }
}

impl DebSource {
    /// Reads the packages that are locked for `target`, each from a file that was compared with
    /// the lock. The programs that are `requested` will be taken out of them, if the scripts of their
    /// packages are `handled`.
    pub fn read(
        target: Target,
        inputs: &[(&Input, PathBuf)],
        requested: Vec<NamedProgram>,
        modules: Vec<NamedModule>,
        handled: Handled,
    ) -> Result<Self, DebError> {
        let read = |(input, path): &(&Input, PathBuf)| package(target, input, path);
        let packages = inputs.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { target, packages, requested, modules, handled })
    }

    /// The package with the kernel, if the kernel is Debian's.
    fn kernel(&self) -> Result<Option<&(String, DebPackage)>, DebError> {
        if self.target.kernel() != KernelOrigin::Debian {
            return Ok(None);
        }
        let package = self.packages.iter().find(|(name, _)| is_kernel(name));
        let path = "/boot/vmlinuz-VERSION".to_owned();
        Ok(Some(package.ok_or(DebError::NoFile { path, target: self.target })?))
    }

    /// The kernel as UEFI starts it, if it is Debian's.
    pub fn linux(&self) -> Result<Option<Vec<u8>>, DebError> {
        let package = self.kernel()?;
        Ok(package.and_then(|(_, package)| kernel::linux(package)).map(<[u8]>::to_vec))
    }

    /// The device trees of boards by the names that U-Boot gives them, if the kernel is Debian's.
    pub fn device_trees(&self) -> Result<BTreeMap<&str, &[u8]>, DebError> {
        let Some((_, package)) = self.kernel()? else { return Ok(BTreeMap::new()) };
        let trees = kernel::device_trees(package);
        if trees.is_empty() {
            let path = format!("{}VERSION/", kernel::DEVICE_TREES);
            return Err(DebError::NoFile { path, target: self.target });
        }
        Ok(trees)
    }

    /// The program that firmware starts, and whose it is.
    pub fn boot_loader(&self) -> Result<(Vec<u8>, NodeOrigin), DebError> {
        let path = format!("/usr/lib/systemd/boot/efi/{}", self.target.systemd_boot_name());
        let mut packages = self.packages.iter();
        let found =
            packages.find_map(|(name, package)| Some((name, package, package.file(&path)?)));
        let (name, package, bytes) = found.ok_or(DebError::NoFile { path, target: self.target })?;
        Ok((bytes.to_vec(), package.origin(name)))
    }
}

impl PackageSource for DebSource {
    fn name(&self) -> &'static str {
        "deb"
    }

    fn progress_text(&self) -> String {
        "Debian packages".into()
    }

    fn add_to(&self, tree: &mut Tree) -> miette::Result<Provided> {
        let gathered =
            programs::gather(self.target, &self.packages, &self.requested, &self.handled)?;
        let files = gathered.nodes.len();
        // The boot loader's package has no file in the root, so there is no record of it.
        let is_there = |(name, package): &&(String, DebPackage)| {
            let origin = package.origin(name);
            gathered.nodes.values().any(|node| node.origin == origin)
        };
        let packages = self.packages.iter().filter(is_there);
        let records = packages.map(|(name, package)| package.record(name)).collect();
        for (path, node) in gathered.nodes {
            tree.put(&path, node)?;
        }
        let mut provided = Provided::default();
        if let Some(package) = self.kernel()? {
            for (path, node) in kernel::gather(package, self.target, &self.modules, &mut provided)?
            {
                tree.put(&path, node)?;
            }
        }
        let of = |name: &str| gathered.uses.get(name).into_iter().flatten().cloned().collect();
        let release = release(&self.packages);
        let packages = self.packages.iter();
        let components: Vec<_> =
            packages.map(|(name, package)| component(name, package, release, of(name))).collect();
        let summary = format!("{} packages, {files} files for the root", components.len());
        Ok(Provided { components, records, summary, ..provided })
    }
}

/// Reads one package and sees that it is the one that the lock means.
pub fn package(
    target: Target,
    input: &Input,
    path: &Path,
) -> Result<(String, DebPackage), DebError> {
    let name = input.name.get_ref();
    let kernel = is_kernel(name);
    let unusable = |reason: String| DebError::Unusable {
        name: name.clone(),
        version: input.version.clone(),
        reason,
    };
    let bytes =
        fs::read(path).map_err(|why| DebError::Unreadable { path: path.to_owned(), why })?;
    let package = DebPackage::read(&bytes).map_err(|error| unusable(error.to_string()))?;
    for (field, wanted) in [
        ("Package", name.as_str()),
        ("Version", &input.version),
        ("Architecture", debian_name(target.architecture())),
    ] {
        let found = package.field(field);
        // What is locked as `linux-image-arm64` is the kernel that this package depends on.
        let is_it = match field {
            "Architecture" => found == wanted || found == "all",
            "Package" if kernel => is_kernel(found),
            _ => found == wanted,
        };
        if !is_it {
            return Err(unusable(format!("its {field} is `{found}`, not `{wanted}`")));
        }
    }
    Ok((package.field("Package").to_owned(), package))
}

/// The release of Debian that the packages are of: updates of a stable release have its number in
/// their versions, such as `+deb12u2`.
fn release(packages: &[(String, DebPackage)]) -> Option<u32> {
    let versions = packages.iter().map(|(_, package)| package.field("Version"));
    let numbers = versions.filter_map(|version| {
        let (_, rest) = version.rsplit_once("deb")?;
        rest.split_once('u')?.0.parse().ok()
    });
    numbers.max()
}

fn component(
    name: &str,
    package: &DebPackage,
    release: Option<u32>,
    uses: Vec<String>,
) -> Component {
    let version = package.field("Version");
    // `Source: NAME (VERSION)`, where one differs from the package's.
    let field = package.field("Source");
    let (source, of) = match field.split_once(" (") {
        Some((source, of)) => (source, of.trim_end_matches(')')),
        None if field.is_empty() => (name, version),
        None => (field, version),
    };
    let upstream = if of == version { source.to_owned() } else { format!("{source}@{of}") };
    let mut qualifiers =
        vec![("arch", package.field("Architecture").to_owned()), ("upstream", upstream)];
    qualifiers.extend(release.map(|number| ("distro", format!("debian-{number}"))));
    let copyright = package.file(&format!("/usr/share/doc/{name}/copyright"));
    let copyright = copyright.map(|text| String::from_utf8_lossy(text).into_owned());
    let reference = format!("LicenseRef-Debian-{}", name.replace('+', "-"));
    Component {
        kind: ComponentKind::Debian,
        name: name.to_owned(),
        version: version.to_owned(),
        supplier: "Debian",
        license: copyright.as_deref().map(|text| copyright::license(text, &reference)),
        purl: purl("deb", Some("debian"), name, version, &qualifiers),
        checksum: Some(Checksum::Sha256(package.sha256().to_string())),
        source: format!(
            "Debian's source package {source} {of}; what was built from it has SHA-256 {}",
            package.sha256()
        ),
        common: copyright.as_deref().map(copyright::common_licenses).unwrap_or_default(),
        notices: copyright.into_iter().collect(),
        uses,
    }
}
