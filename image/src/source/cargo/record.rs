//! The compiled programs, kept under their fingerprint.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::CargoError;
use crate::digest::{FieldHasher, Sha256};
use crate::output::file;

/// How many sets of programs are kept: going back and forth between two branches compiles nothing.
const MAX_SETS: usize = 8;

/// Programs, and the crates that were compiled into them.
#[derive(Debug)]
pub struct Compiled {
    pub programs: Vec<ProgramRecord>,
    /// The crates, by name and version.
    pub crates: Vec<Crate>,
    /// The version of musl that the compiler brings along.
    pub musl: String,
    /// Files that they are made of, and that the fingerprint does not look at.
    pub also: Vec<(PathBuf, Sha256)>,
}

#[derive(Debug)]
pub struct ProgramRecord {
    pub name: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Crate {
    pub name: String,
    pub version: String,
    /// Its licence, an SPDX expression by crates' rules.
    pub license: Option<String>,
    /// The SHA-256 of what the registry gives; the workspace's own have none.
    pub checksum: Option<String>,
    /// Its licences and notices, in full.
    pub notices: Vec<String>,
    /// `NAME VERSION` of the crates that it uses.
    pub uses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    programs: Vec<(String, Sha256)>,
    crates: Vec<Crate>,
    musl: String,
    also: Vec<(PathBuf, Sha256)>,
}

const RECORD: &str = "programs.json";

impl Compiled {
    /// The programs in `folder`, if all are there and whole, and what else they are made of is in the workspace at `root`
    /// as it was.
    pub fn load(folder: &Path, root: &Path) -> Option<Self> {
        let record: Record = serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()?;
        for (path, sha256) in &record.also {
            if Sha256::of_file(&root.join(path)).ok()? != *sha256 {
                return None;
            }
        }
        let mut programs = vec![];
        for (name, sha256) in record.programs {
            let bytes = fs::read(folder.join(&name)).ok()?;
            if Sha256::of(&bytes) != sha256 {
                return None;
            }
            programs.push(ProgramRecord { name, bytes });
        }
        Some(Self { programs, crates: record.crates, musl: record.musl, also: record.also })
    }

    /// Keeps the programs in `folder`; the record comes last, so that it vouches for all.
    pub fn save(&self, folder: &Path) -> miette::Result<()> {
        let mut programs = vec![];
        for program in &self.programs {
            file::write(&folder.join(&program.name), &program.bytes)?;
            programs.push((program.name.clone(), Sha256::of(&program.bytes)));
        }
        let (crates, musl, also) = (self.crates.clone(), self.musl.clone(), self.also.clone());
        let record = Record { programs, crates, musl, also };
        let text = serde_json::to_vec_pretty(&record)
            .map_err(io::Error::other)
            .map_err(|why| CargoError::Unreadable { path: folder.join(RECORD), why })?;
        file::write(&folder.join(RECORD), &text)?;
        if let Some(all) = folder.parent() {
            evict(all);
        }
        Ok(())
    }

    /// A digest over all of it.
    pub fn digest(&self) -> Sha256 {
        let mut hasher = FieldHasher::default();
        for program in &self.programs {
            hasher.field(&program.name).field(&program.bytes);
        }
        // A list of texts and of lists of them has nothing that JSON could not say.
        hasher.field(serde_json::to_vec(&self.crates).unwrap_or_default()).field(&self.musl);
        hasher.finish()
    }
}

/// Removes the oldest sets. A set that cannot be removed does no harm but takes space.
fn evict(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    let mut folders: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    folders.sort();
    for (_, folder) in folders.iter().rev().skip(MAX_SETS) {
        let _ = fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_those_that_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (root, set) = (folder.path(), folder.path().join("programs/of these sources"));
        let included = PathBuf::from("notice.txt");
        fs::write(root.join(&included), "1").unwrap();
        let compiled = Compiled {
            programs: ["octet-init", "octet"]
                .map(|name| ProgramRecord { name: name.into(), bytes: name.into() })
                .into(),
            crates: vec![],
            musl: "1.2.5".into(),
            also: vec![(included.clone(), Sha256::of(b"1"))],
        };
        assert!(Compiled::load(&set, root).is_none());
        compiled.save(&set).unwrap();
        // The same for another clone, whose files are the same.
        let clone = tempfile::tempdir().unwrap();
        fs::write(clone.path().join(&included), "1").unwrap();
        for root in [root, clone.path()] {
            let loaded = Compiled::load(&set, root).unwrap();
            assert_eq!(loaded.digest(), compiled.digest());
        }
        fs::write(clone.path().join(&included), "2").unwrap();
        assert!(Compiled::load(&set, clone.path()).is_none(), "an included file is another one");
        for name in ["octet", RECORD] {
            let whole = fs::read(set.join(name)).unwrap();
            let mut flipped = whole.clone();
            flipped[0] ^= 1;
            for damaged in [&flipped[..], &whole[1..], b""] {
                fs::write(set.join(name), damaged).unwrap();
                assert!(Compiled::load(&set, root).is_none(), "{name}");
            }
            fs::write(set.join(name), whole).unwrap();
            assert!(Compiled::load(&set, root).is_some());
        }
    }
}
