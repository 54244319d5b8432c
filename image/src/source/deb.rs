//! Debian packages: what the seed lacks. Nothing of them is in the root file system yet: the boot
//! loader goes onto the ESP.

mod archive;
mod copyright;

use std::fs;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use self::archive::Package;
use super::{Component, Kind, Source, Taken};
use crate::lock::Input;
use crate::target::Target;
use crate::tree::Tree;

/// The package with the boot loader.
const BOOT_LOADER: &str = "systemd-boot-efi";

/// The packages of one image.
pub struct DebSource {
    target: Target,
    packages: Vec<(String, Package)>,
}

/// A package cannot be used, though it is the one that is locked.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum DebError {
    /// It is damaged, or is not what the lock says.
    #[error("input `{name}` {version} cannot be used: {reason}")]
    #[diagnostic(help(
        "what is locked is not what it should be: `cargo image lock --update {name}`"
    ))]
    Unusable {
        /// The input.
        name: String,
        /// Its version.
        version: String,
        /// What is wrong.
        reason: String,
    },
    /// The store's file cannot be read.
    #[error("cannot read {path}: {source}")]
    #[diagnostic(help("see that the store can be read"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that the image needs is in none of the packages.
    #[error("no locked Debian package has {path}, which the image for {target} needs")]
    #[diagnostic(help("appliance.lock has to have `{BOOT_LOADER}` for {target}: restore it"))]
    NoFile {
        /// The file.
        path: String,
        /// What the image is for.
        target: Target,
    },
}

impl DebSource {
    /// Reads the packages that are locked for `target`, each from a file that was compared with
    /// the lock.
    pub fn read(target: Target, inputs: &[(&Input, PathBuf)]) -> Result<Self, DebError> {
        let read = |(input, path): &(&Input, PathBuf)| package(target, input, path);
        Ok(Self { target, packages: inputs.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// The program that firmware starts.
    pub fn boot_loader(&self) -> Result<Vec<u8>, DebError> {
        let path = format!("/usr/lib/systemd/boot/efi/{}", self.target.systemd_boot_name());
        let found = self.packages.iter().find_map(|(_, package)| package.file(&path));
        found.map(<[u8]>::to_vec).ok_or(DebError::NoFile { path, target: self.target })
    }
}

impl Source for DebSource {
    fn name(&self) -> &'static str {
        "deb"
    }

    fn doing(&self) -> String {
        "Debian packages".into()
    }

    fn take(&self, _tree: &mut Tree) -> miette::Result<Taken> {
        let components: Vec<_> =
            self.packages.iter().map(|(name, package)| component(name, package)).collect();
        let names: Vec<_> = self
            .packages
            .iter()
            .map(|(name, package)| format!("{name} {}", package.field("Version")))
            .collect();
        Ok(Taken { components, summary: names.join(", "), ..Taken::default() })
    }
}

/// Reads one package and sees that it is the one that the lock means.
fn package(target: Target, input: &Input, path: &Path) -> Result<(String, Package), DebError> {
    let name = input.name.get_ref();
    let unusable = |reason: String| DebError::Unusable {
        name: name.clone(),
        version: input.version.clone(),
        reason,
    };
    let bytes =
        fs::read(path).map_err(|source| DebError::Unreadable { path: path.to_owned(), source })?;
    let package = Package::read(&bytes).map_err(|error| unusable(error.to_string()))?;
    for (field, wanted) in [
        ("Package", name.as_str()),
        ("Version", &input.version),
        ("Architecture", target.debian_architecture()),
    ] {
        let found = package.field(field);
        if found != wanted && (field, found) != ("Architecture", "all") {
            return Err(unusable(format!("its {field} is `{found}`, not `{wanted}`")));
        }
    }
    Ok((name.clone(), package))
}

fn component(name: &str, package: &Package) -> Component {
    let version = package.field("Version");
    // A package URL has a meaning of its own for these two (purl-spec, "Rules").
    let escaped = version.replace('+', "%2B").replace(':', "%3A");
    let copyright = package.file(&format!("/usr/share/doc/{name}/copyright"));
    Component {
        kind: Kind::Debian,
        name: name.to_owned(),
        version: Some(version.to_owned()),
        license: copyright.and_then(|text| copyright::license(&String::from_utf8_lossy(text))),
        purl: Some(format!(
            "pkg:deb/debian/{name}@{escaped}?arch={}",
            package.field("Architecture")
        )),
        uses: vec![],
    }
}
