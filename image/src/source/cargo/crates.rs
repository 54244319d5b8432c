//! The crates in the programs, from their manifests and Cargo.lock: nothing has to be fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::CargoError;
use super::record::Crate;

/// How the names of such files begin, in capitals.
const NOTICES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

#[derive(Deserialize)]
struct Manifest {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Field,
    license: Option<Field>,
}

/// A value, or `{ workspace = true }`, which only this workspace's own crates have.
#[derive(Deserialize)]
#[serde(untagged)]
enum Field {
    Own(String),
    Inherited {},
}

#[derive(Deserialize)]
struct Root {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    package: Inherited,
}

#[derive(Deserialize)]
struct Inherited {
    version: String,
    license: String,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The SHA-256 that the registry gives of each crate of its, by name and version, as the workspace at `root` locks them.
pub fn checksums(root: &Path) -> Result<BTreeMap<(String, String), String>, CargoError> {
    let lock: Lock = read(&root.join("Cargo.lock"))?;
    let checksum = |it: Locked| Some(((it.name, it.version), it.checksum?));
    Ok(lock.package.into_iter().filter_map(checksum).collect())
}

/// The crates of these `manifests`, and which of them each uses.
pub fn list(root: &Path, manifests: &BTreeSet<PathBuf>) -> Result<Vec<Crate>, CargoError> {
    let inherited = read::<Root>(&root.join("Cargo.toml"))?.workspace.package;
    let lock: Lock = read(&root.join("Cargo.lock"))?;
    let mut found = vec![];
    for path in manifests {
        let package = read::<Manifest>(path)?.package;
        let own = |field: Field, other: &str| match field {
            Field::Own(value) => value,
            Field::Inherited {} => other.to_owned(),
        };
        found.push((
            path,
            Crate {
                name: package.name,
                version: own(package.version, &inherited.version),
                license: package.license.map(|license| own(license, &inherited.license)),
                checksum: None,
                notices: vec![],
                uses: vec![],
            },
        ));
    }
    // Cargo.lock names a version only where there are several of one name.
    let mut present = BTreeMap::new();
    for (_, it) in &found {
        let whole = format!("{} {}", it.name, it.version);
        present.insert(it.name.clone(), whole.clone());
        present.insert(whole.clone(), whole);
    }
    for (path, it) in &mut found {
        let locked = lock
            .package
            .iter()
            .find(|locked| locked.name == it.name && locked.version == it.version);
        let dependencies = locked.into_iter().flat_map(|locked| &locked.dependencies);
        it.uses = dependencies.filter_map(|name| present.get(name).cloned()).collect();
        it.checksum = locked.and_then(|locked| locked.checksum.clone());
        // The workspace's own have theirs in common.
        let folder = if it.checksum.is_some() { path.parent().unwrap_or(root) } else { root };
        it.notices = notices(folder)?;
    }
    let mut crates: Vec<_> = found.into_iter().map(|(_, it)| it).collect();
    crates.sort();
    Ok(crates)
}

/// The texts of `folder` by whose names authors say that they are licences or notices, by name.
fn notices(folder: &Path) -> Result<Vec<String>, CargoError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |why| CargoError::Unreadable { path, why }
    };
    let mut paths = vec![];
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if NOTICES.iter().any(|begin| name.starts_with(begin)) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let text = |path: &PathBuf| {
        let bytes = fs::read(path).map_err(unreadable(path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    paths.iter().map(text).collect()
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CargoError> {
    let text = fs::read_to_string(path)
        .map_err(|why| CargoError::Unreadable { path: path.to_owned(), why })?;
    toml::from_str(&text)
        .map_err(|error| CargoError::Metadata(format!("{}: {error}", path.display())))
}
