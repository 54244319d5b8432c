//! One thing that cargo makes of a crate, and its files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cargo_metadata::{Message, PackageId};
use serde::{Deserialize, Serialize};

use super::entry::EXTENSION;

/// A library, a macro, a build script, or what such a script has made: of a registry's crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CrateUnit {
    /// The folder of its profile, in the folder into which cargo compiles.
    pub place: PathBuf,
    pub name: String,
    pub version: String,
    /// What cargo puts behind the names of its files: a digest of the crate, its features, its profile, the compiler, its
    /// flags, and all that it depends on.
    pub hash: String,
}

/// Those that one run of cargo has made, or found made.
#[derive(Debug, Default)]
pub struct CompiledCrates(BTreeSet<CrateUnit>);

impl CompiledCrates {
    /// Takes note of what cargo says of a crate that it compiles into `target`.
    pub fn record(&mut self, target: &Path, message: &Message) {
        let (package, file) = match message {
            Message::CompilerArtifact(artifact) => {
                let Some(file) = artifact.filenames.first() else { return };
                (&artifact.package_id, file.as_std_path())
            }
            Message::BuildScriptExecuted(script) => {
                (&script.package_id, script.out_dir.as_std_path())
            }
            _ => return,
        };
        if let Some((name, version)) = registry_package(package)
            && let Some((place, hash)) = parse_path(target, file)
        {
            self.0.insert(CrateUnit { place, name, version, hash });
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &CrateUnit> {
        self.0.iter()
    }
}

/// Name and version of a crate that a registry has (Package ID Specifications, the Cargo Book).
fn registry_package(package: &PackageId) -> Option<(String, String)> {
    let (_, of) = package.repr.strip_prefix("registry+")?.rsplit_once('#')?;
    let (name, version) = of.split_once('@')?;
    Some((name.to_owned(), version.to_owned()))
}

/// The folder of the profile, and the hash, of what cargo has made at `file`: `deps/libNAME-HASH.rlib`, or below
/// `build/NAME-HASH`.
fn parse_path(target: &Path, file: &Path) -> Option<(PathBuf, String)> {
    let inside = file.strip_prefix(target).ok()?;
    let parts: Vec<_> = inside.iter().collect();
    let at = parts.iter().position(|part| *part == "deps" || *part == "build")?;
    let hash = hash(Path::new(parts.get(at + 1)?).file_stem()?)?;
    Some((parts[..at].iter().collect(), hash.to_owned()))
}

/// The hash behind a name.
fn hash(stem: &OsStr) -> Option<&str> {
    let (_, hash) = stem.to_str()?.rsplit_once('-')?;
    (hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(hash)
}

impl CrateUnit {
    /// The name of its file in the store.
    pub fn file_name(&self) -> String {
        let place: Vec<_> = self.place.iter().map(OsStr::to_string_lossy).collect();
        format!("{}.{}-{}-{}.{EXTENSION}", place.join("."), self.name, self.version, self.hash)
    }

    /// Where cargo keeps what it has to know of it.
    fn fingerprint(&self) -> PathBuf {
        self.place.join(".fingerprint").join(format!("{}-{}", self.name, self.hash))
    }

    /// Whether `target` has it.
    pub fn is_in(&self, target: &Path) -> bool {
        target.join(self.fingerprint()).exists()
    }

    /// Whether `path`, inside the folder into which cargo compiles, is a place of its files.
    pub fn may_contain(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.place) else { return false };
        let parts: Vec<_> = inside.iter().filter_map(OsStr::to_str).collect();
        let ours = |name: &str| {
            let name = name.split('.').next().unwrap_or_default();
            hash(name.as_ref()) == Some(&self.hash)
        };
        match parts[..] {
            ["deps", name] => ours(name),
            [".fingerprint" | "build", folder, _, ..] => {
                ours(folder) && !parts.contains(&"..") && inside.iter().count() == parts.len()
            }
            _ => false,
        }
    }
}

/// The files of each of `units`, by their paths inside `target`.
pub fn files<'a>(
    target: &Path,
    units: &[&'a CrateUnit],
) -> io::Result<Vec<(&'a CrateUnit, BTreeSet<PathBuf>)>> {
    // What lies in `deps`, by folder and hash: there are thousands.
    let mut libraries: BTreeMap<(&Path, String), BTreeSet<PathBuf>> = BTreeMap::new();
    let places: BTreeSet<_> = units.iter().map(|unit| unit.place.as_path()).collect();
    for place in places {
        let deps = place.join("deps");
        for entry in read_dir(&target.join(&deps))? {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.split('.').next()).unwrap_or_default();
            if let Some(hash) = hash(stem.as_ref()) {
                let all = libraries.entry((place, hash.to_owned())).or_default();
                all.insert(deps.join(name));
            }
        }
    }
    let mut all = vec![];
    for unit in units {
        let mut files =
            libraries.remove(&(unit.place.as_path(), unit.hash.clone())).unwrap_or_default();
        let build = unit.place.join("build").join(format!("{}-{}", unit.name, unit.hash));
        for folder in [unit.fingerprint(), build] {
            walk(target, &folder, &mut files)?;
        }
        all.push((*unit, files));
    }
    Ok(all)
}

/// Adds the files below `folder`, if it is there.
fn walk(target: &Path, folder: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in read_dir(&target.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            walk(target, &path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// What is in a folder; nothing, if it is not there.
fn read_dir(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_which_unit_it_is_of() {
        let target = Path::new("/w/target/appliance");
        let of = |path: &str| parse_path(target, Path::new(path));
        let hash = "0123456789abcdef";
        let wanted = Some((PathBuf::from("musl/appliance"), hash.to_owned()));
        for path in ["deps/liba_b-0123456789abcdef.rlib", "build/a-b-0123456789abcdef/out"] {
            assert_eq!(of(&format!("/w/target/appliance/musl/appliance/{path}")), wanted);
        }
        assert_eq!(of("/w/target/appliance/musl/appliance/octet"), None);
        assert_eq!(of("/other/deps/liba-0123456789abcdef.rlib"), None);
        assert_eq!(of("/w/target/appliance/appliance/deps/liba-0123.rlib"), None);
    }

    #[test]
    fn a_unit_has_its_own_files_alone() {
        let unit = CrateUnit {
            place: "appliance".into(),
            name: "a-b".into(),
            version: "1.0.0".into(),
            hash: "0123456789abcdef".into(),
        };
        let may = |path: &str| unit.may_contain(Path::new(path));
        assert!(may("appliance/deps/liba_b-0123456789abcdef.rlib"));
        assert!(may("appliance/deps/a_b-0123456789abcdef.d"));
        assert!(may("appliance/build/a-b-0123456789abcdef/out/x/y"));
        assert!(may("appliance/.fingerprint/a-b-0123456789abcdef/lib-a_b"));
        for path in [
            "appliance/deps/liba_b-fedcba9876543210.rlib",
            "appliance/deps/x/liba_b-0123456789abcdef.rlib",
            "appliance/build/a-b-0123456789abcdef/../../../x",
            "appliance/build/a-b-0123456789abcdef",
            "appliance/a-b-0123456789abcdef",
            "musl/appliance/deps/liba_b-0123456789abcdef.rlib",
            "/appliance/deps/liba_b-0123456789abcdef.rlib",
        ] {
            assert!(!may(path), "{path}");
        }
    }

    #[test]
    fn only_what_a_registry_has_is_named() {
        let of = |repr: &str| registry_package(&PackageId { repr: repr.to_owned() });
        let serde = of("registry+https://github.com/rust-lang/crates.io-index#serde@1.0.229");
        assert_eq!(serde, Some(("serde".to_owned(), "1.0.229".to_owned())));
        assert_eq!(of("path+file:///w/netd#octet-netd@0.1.0"), None);
        assert_eq!(of("git+https://example.org/serde#1.0.0"), None);
    }
}
