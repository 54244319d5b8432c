//! Whether anything that the programs are made of has changed since they were compiled.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;

use super::{CargoError, CargoSource, PROGRAMS, SERVICES_PACKAGE};
use crate::digest::{FieldHasher, Sha256};

/// How the builder has cargo compile: with another version of these files, programs may have other bytes.
const RECIPE: [&str; 4] = [
    include_str!("compile.rs"),
    include_str!("environment.rs"),
    include_str!("home.rs"),
    include_str!("linker.rs"),
];

/// A digest over the sources of the programs and everything they are compiled with.
pub fn compute(source: &CargoSource<'_>) -> Result<String, CargoError> {
    let mut hasher = FieldHasher::default();
    hasher
        .field(RECIPE.concat())
        .field([u8::from(source.quick)])
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
    for folder in packages(source.root, &services)?.into_keys() {
        let inside = folder.strip_prefix(source.root).unwrap_or(&folder);
        hasher.field(inside.to_string_lossy().as_bytes());
        walk(&folder, &folder, &mut hasher)?;
    }
    for service in &services {
        hasher.field(service);
    }
    Ok(hasher.finish().to_string())
}

/// What the programs in `folder` are made of besides, by cargo's word: files in no folder of theirs, which a crate
/// includes. Their paths are from the workspace's folder, as long as they are in it.
pub fn extra_files(
    source: &CargoSource<'_>,
    folder: &Path,
) -> Result<Vec<(PathBuf, Sha256)>, CargoError> {
    let looked_at = packages(source.root, &source.services())?;
    let is_looked_at = |path: &PathBuf| {
        let inside = looked_at.keys().find_map(|folder| path.strip_prefix(folder).ok());
        inside.is_some_and(|inside| !inside.iter().next().is_some_and(is_excluded))
    };
    let mut found = vec![];
    for (program, _) in PROGRAMS {
        let path = folder.join(program).with_extension("d");
        let unreadable = |why| CargoError::Unreadable { path: path.clone(), why };
        let text = fs::read_to_string(&path).map_err(unreadable)?;
        for path in dep_info_files(&text).filter(|path| !is_looked_at(path)) {
            let sha256 = Sha256::of_file(&path).map_err(unreadable)?;
            found.push((path.strip_prefix(source.root).unwrap_or(&path).to_owned(), sha256));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The files that a program needs, as cargo writes it for make(1): `PROGRAM: FILE …`, blanks in paths behind a backslash.
fn dep_info_files(text: &str) -> impl Iterator<Item = PathBuf> {
    const BLANK: char = '\0';
    let files = text.lines().filter_map(|line| line.split_once(": ")).map(|(_, files)| files);
    files.flat_map(|files| {
        let files = files.replace("\\ ", &BLANK.to_string());
        files.split(' ').map(|it| it.replace(BLANK, " ").into()).collect::<Vec<PathBuf>>()
    })
}

/// Whether a file or folder of a package is in none of its programs.
fn is_excluded(name: &OsStr) -> bool {
    ["benches", "examples", "target", "tests"].iter().any(|it| name == *it)
}

/// The programs' packages and all packages of this workspace that they use: their names by their folders. Each of
/// `services` must be among what the program of all services can be made of.
pub fn packages(root: &Path, services: &[String]) -> Result<BTreeMap<PathBuf, String>, CargoError> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .map_err(|error| CargoError::Metadata(error.to_string()))?;
    let mut found = BTreeMap::new();
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
        if found.insert(folder, name).is_none() {
            let local = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
            names.extend(local.map(|dependency| dependency.name.clone()));
        }
    }
    Ok(found)
}

/// Adds the files below `folder`, but not those of another package inside it.
fn walk(package: &Path, folder: &Path, hasher: &mut FieldHasher) -> Result<(), CargoError> {
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
            let is_packages = path.parent() == Some(package);
            let is_left_out = is_packages && path.file_name().is_some_and(is_excluded);
            if !path.join("Cargo.toml").is_file() && !is_left_out {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_program_needs() {
        let text = "/w/octet: /w/a/src/lib.rs /w/b\\ c/main.rs\n";
        let files: Vec<_> = dep_info_files(text).collect();
        assert_eq!(files, [Path::new("/w/a/src/lib.rs"), Path::new("/w/b c/main.rs")]);
    }

    #[test]
    fn tests_and_examples_are_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let digest = || {
            let mut hasher = FieldHasher::default();
            walk(folder.path(), folder.path(), &mut hasher).unwrap();
            hasher.finish()
        };
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/tests/data.txt", "1");
        let before = digest();
        write("tests/daemon.rs", "1");
        write("examples/a/main.rs", "1");
        write("inner/Cargo.toml", "1");
        assert_eq!(digest(), before);
        write("src/tests/data.txt", "2");
        assert_ne!(digest(), before);
    }
}
