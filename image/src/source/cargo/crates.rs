//! The crates in the programs, from their manifests and Cargo.lock: nothing has to be fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::CargoError;
use super::record::Crate;

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
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The crates of these `manifests`, and which of them each uses.
pub fn list(root: &Path, manifests: &BTreeSet<PathBuf>) -> Result<Vec<Crate>, CargoError> {
    let inherited = read::<Root>(&root.join("Cargo.toml"))?.workspace.package;
    let lock: Lock = read(&root.join("Cargo.lock"))?;
    let mut crates = vec![];
    for path in manifests {
        let package = read::<Manifest>(path)?.package;
        let own = |field: Field, other: &str| match field {
            Field::Own(value) => value,
            Field::Inherited {} => other.to_owned(),
        };
        crates.push(Crate {
            name: package.name,
            version: own(package.version, &inherited.version),
            license: package.license.map(|license| own(license, &inherited.license)),
            uses: vec![],
        });
    }
    // Cargo.lock names a version only where there are several of one name.
    let mut present = BTreeMap::new();
    for it in &crates {
        let whole = format!("{} {}", it.name, it.version);
        present.insert(it.name.clone(), whole.clone());
        present.insert(whole.clone(), whole);
    }
    for it in &mut crates {
        let locked = lock
            .package
            .iter()
            .find(|locked| locked.name == it.name && locked.version == it.version);
        let dependencies = locked.into_iter().flat_map(|locked| &locked.dependencies);
        it.uses = dependencies.filter_map(|name| present.get(name).cloned()).collect();
    }
    crates.sort();
    Ok(crates)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CargoError> {
    let text = fs::read_to_string(path)
        .map_err(|why| CargoError::Unreadable { path: path.to_owned(), why })?;
    toml::from_str(&text)
        .map_err(|error| CargoError::Metadata(format!("{}: {error}", path.display())))
}
