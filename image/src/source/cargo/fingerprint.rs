//! Whether anything that the programs are made of has changed since they were compiled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;

use super::linker::Linker;
use super::{CargoError, CargoSource, PROGRAMS, SERVICES_PACKAGE};
use crate::digest::{Hasher, Sha256};

/// A digest over the sources of the programs and everything they are compiled with.
pub fn of(source: &CargoSource<'_>) -> Result<String, CargoError> {
    let mut hasher = Hasher::default();
    hasher
        .field(env!("CARGO_PKG_VERSION"))
        // What was compiled with the user's configuration is not taken.
        .field("a cargo home of our own")
        .field(Linker::flags().join(" "))
        .field(source.target.triple())
        .field(&source.tools.rustc);
    for digest in &source.tools.digests {
        hasher.field(digest);
    }
    for file in ["Cargo.toml", "Cargo.lock"] {
        let path = source.root.join(file);
        hasher.field(fs::read(&path).map_err(|why| CargoError::Unreadable { path, why })?);
    }
    let services = source.services();
    for folder in folders(source.root, &services)? {
        let inside = folder.strip_prefix(source.root).unwrap_or(&folder);
        hasher.field(inside.to_string_lossy().as_bytes());
        walk(&folder, &folder, &mut hasher)?;
    }
    for service in &services {
        hasher.field(service);
    }
    Ok(hasher.finish().to_string())
}

/// The folders of the programs' packages and of all packages of this workspace that they use, in
/// order. Each of `services` must be among what the program of all services can be made of.
fn folders(root: &Path, services: &[String]) -> Result<BTreeSet<PathBuf>, CargoError> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .map_err(|error| CargoError::Metadata(error.to_string()))?;
    let mut found = BTreeSet::new();
    let mut names: Vec<_> = PROGRAMS.iter().map(|(package, _)| (*package).to_owned()).collect();
    while let Some(name) = names.pop() {
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == name)
            .ok_or_else(|| CargoError::NoPackage(name.clone()))?;
        if name == SERVICES_PACKAGE
            && let Some(service) =
                services.iter().find(|service| !package.features.contains_key(*service))
        {
            return Err(CargoError::NoService(service.clone()));
        }
        let folder = package.manifest_path.parent().map(PathBuf::from).unwrap_or_default();
        if found.insert(folder) {
            let local = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
            names.extend(local.map(|dependency| dependency.name.clone()));
        }
    }
    Ok(found)
}

/// Adds the files below `folder`, but not those of another package inside it.
fn walk(package: &Path, folder: &Path, hasher: &mut Hasher) -> Result<(), CargoError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |why| CargoError::Unreadable { path, why }
    };
    let mut paths = vec![];
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        paths.push(entry.map_err(unreadable(folder))?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !path.join("Cargo.toml").is_file() && !path.ends_with("target") {
                walk(package, &path, hasher)?;
            }
        } else {
            let inside = path.strip_prefix(package).unwrap_or(&path);
            hasher.field(inside.to_string_lossy().as_bytes());
            hasher.field(Sha256::of_file(&path).map_err(unreadable(&path))?);
        }
    }
    Ok(())
}
