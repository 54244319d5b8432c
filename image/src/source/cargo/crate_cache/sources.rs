//! What a unit was compiled from: files of its crate, as cargo has unpacked them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::unit::CrateUnit;
use crate::digest::{FieldHasher, Sha256};

/// Where the sources of crates are, in a home of cargo's.
const REGISTRY_SOURCES: &str = "registry/src";

/// The sources in one home of cargo's.
pub struct Sources<'a> {
    home: &'a Path,
}

/// Some of them, as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFiles {
    /// Their paths in the home, in order.
    paths: BTreeSet<PathBuf>,
    /// A digest of paths and contents.
    digest: Sha256,
}

impl<'a> Sources<'a> {
    /// Those in the home `home`.
    pub fn of(home: &'a Path) -> Self {
        Self { home }
    }

    /// What `unit`, whose `files` are in `target`, was compiled from: files that rustc has named, or all of a crate whose
    /// build script has run. None if one is of elsewhere.
    pub fn read(
        &self,
        target: &Path,
        unit: &CrateUnit,
        files: &BTreeSet<PathBuf>,
    ) -> Option<SourceFiles> {
        let mut paths = BTreeSet::new();
        let mut compiled = false;
        for file in files.iter().filter(|file| is_dep_info(file)) {
            compiled = true;
            for path in dep_info_files(&fs::read_to_string(target.join(file)).ok()?) {
                // What a build script has made is a unit of its own.
                if !path.starts_with(target) {
                    paths.insert(path.strip_prefix(self.home).ok()?.to_owned());
                }
            }
        }
        if !compiled {
            self.walk(&self.package(unit)?, &mut paths)?;
            // Code that a script has made to include a file of this clone by its path would include it in others, too.
            let mut made =
                files.iter().filter(|file| file.extension().is_some_and(|it| it == "rs"));
            let folder = target.as_os_str().as_encoded_bytes();
            if made.any(|file| {
                fs::read(target.join(file)).is_ok_and(|text| memmem::find(&text, folder).is_some())
            }) {
                return None;
            }
        }
        let digest = self.digest(&paths)?;
        paths
            .iter()
            .all(|path| path.starts_with(REGISTRY_SOURCES))
            .then_some(SourceFiles { paths, digest })
    }

    /// Whether they are still as they were.
    pub fn match_digest(&self, read: &SourceFiles) -> bool {
        self.digest(&read.paths) == Some(read.digest)
    }

    /// The folder of the unit's crate, from the home.
    fn package(&self, unit: &CrateUnit) -> Option<PathBuf> {
        let registries =
            fs::read_dir(self.home.join(REGISTRY_SOURCES)).ok()?.filter_map(Result::ok);
        let name = format!("{}-{}", unit.name, unit.version);
        let mut folders =
            registries.map(|it| Path::new(REGISTRY_SOURCES).join(it.file_name()).join(&name));
        folders.find(|folder| self.home.join(folder).is_dir())
    }

    fn walk(&self, folder: &Path, paths: &mut BTreeSet<PathBuf>) -> Option<()> {
        for entry in fs::read_dir(self.home.join(folder)).ok()? {
            let entry = entry.ok()?;
            let path = folder.join(entry.file_name());
            if entry.file_type().ok()?.is_dir() {
                self.walk(&path, paths)?;
            } else {
                paths.insert(path);
            }
        }
        Some(())
    }

    fn digest(&self, paths: &BTreeSet<PathBuf>) -> Option<Sha256> {
        let mut hasher = FieldHasher::default();
        for path in paths {
            hasher.field(path.as_os_str().as_encoded_bytes());
            hasher.field(Sha256::of_file(&self.home.join(path)).ok()?);
        }
        Some(hasher.finish())
    }
}

/// Whether rustc has written this to say which files it has read: beside a library or a build script, and not among what
/// such a script has made.
fn is_dep_info(file: &Path) -> bool {
    let mut folders = file.iter().rev().skip(1);
    file.extension().is_some_and(|it| it == "d")
        && (folders.next().is_some_and(|it| it == "deps")
            || folders.next().is_some_and(|it| it == "build"))
}

/// The files that rustc names in what it writes for make(1): each has a line of its own, without anything that it needs.
fn dep_info_files(text: &str) -> impl Iterator<Item = PathBuf> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.strip_suffix(':')?.replace("\\ ", " ").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_rustc_names() {
        let text = "/t/deps/a-1.d: /h/a/src/lib.rs /h/a\\ b/c.rs\n\n/t/deps/liba-1.rlib: /h/a/src/lib.rs\n\n\
                    /h/a/src/lib.rs:\n/h/a\\ b/c.rs:\n\n# env-dep:CARGO_PKG_VERSION=1:\n";
        let paths: Vec<_> = dep_info_files(text).collect();
        assert_eq!(paths, [Path::new("/h/a/src/lib.rs"), Path::new("/h/a b/c.rs")]);
    }

    #[test]
    fn generated_code_with_a_path_of_the_clone_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let [home, target] = ["home", "target"].map(|name| folder.path().join(name));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(home.join("registry/src/index/a-1.0.0/build.rs"), "fn main() {}");
        let hash = "0123456789abcdef".to_owned();
        let (name, version) = ("a".to_owned(), "1.0.0".to_owned());
        let unit = CrateUnit { place: "debug".into(), name, version, hash };
        let made = PathBuf::from("debug/build/a-0123456789abcdef/out/made.rs");
        let files = BTreeSet::from([made.clone()]);
        let read = |text: &str| {
            write(target.join(&made), text);
            Sources::of(&home).read(&target, &unit, &files)
        };
        let kept = read("include!(\"other.rs\");").unwrap();
        assert!(Sources::of(&home).match_digest(&kept));
        let path = target.join("debug/build/a-0123456789abcdef/out/other.rs");
        assert_eq!(read(&format!("include!({path:?});")), None);
    }
}
