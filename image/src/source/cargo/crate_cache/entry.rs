//! A unit in the store: one file, which vouches for itself.
//!
//! Its bytes are the SHA-256 of all that follows, the length of its head, the head as JSON, and the files' contents one
//! behind the other. It is there whole or not at all, and no byte of it is used before all were looked at.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::sources::SourceFiles;
use super::unit::CrateUnit;
use crate::digest::Sha256;

/// The ending of its name.
pub const EXTENSION: &str = "unit";

/// What is known of the unit, and which files it has.
#[derive(Debug, Serialize, Deserialize)]
pub struct CachedCrateHead {
    pub unit: CrateUnit,
    /// The SHA-256 that the registry gives of its crate.
    pub checksum: String,
    /// What it was compiled from.
    pub sources: SourceFiles,
    /// Its files: path in the folder into which cargo compiles, permissions, size.
    files: Vec<(PathBuf, u32, usize)>,
}

#[derive(Debug)]
pub struct CachedCrate<'a> {
    pub head: CachedCrateHead,
    contents: &'a [u8],
}

/// The unit that the file at `path` says it has; of use only to see that it need not be read.
pub fn unit(path: &Path) -> Option<CrateUnit> {
    let mut file = File::open(path).ok()?;
    let mut begin = [0; 36];
    file.read_exact(&mut begin).ok()?;
    let [.., a, b, c, d] = begin;
    let mut head = vec![];
    file.take(u32::from_le_bytes([a, b, c, d]).into()).read_to_end(&mut head).ok()?;
    Some(serde_json::from_slice::<CachedCrateHead>(&head).ok()?.unit)
}

impl<'a> CachedCrate<'a> {
    /// Reads one; why it is none otherwise.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let damaged = || "it is damaged".to_owned();
        let (digest, rest) = bytes.split_first_chunk::<32>().ok_or_else(damaged)?;
        if Sha256::of(rest).as_ref() != digest {
            return Err(damaged());
        }
        let (size, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (head, contents) =
            rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or_else(damaged)?;
        let head: CachedCrateHead =
            serde_json::from_slice(head).map_err(|error| error.to_string())?;
        let mut sum = Some(0_usize);
        for (path, _, size) in &head.files {
            if !head.unit.may_contain(path) {
                return Err(format!("it has {}, which is no file of its unit", path.display()));
            }
            sum = sum.and_then(|sum| sum.checked_add(*size));
        }
        if sum == Some(contents.len()) { Ok(Self { head, contents }) } else { Err(damaged()) }
    }

    /// Writes its files into `target`, each as if it was changed at `time`. What tells cargo that the unit is there comes
    /// last.
    pub fn write(&self, target: &Path, time: SystemTime) -> io::Result<()> {
        let mut rest = self.contents;
        let mut last = vec![];
        for (path, mode, size) in &self.head.files {
            let Some(bytes) = rest.split_off(..*size) else { break };
            if path.iter().any(|part| part == ".fingerprint") {
                last.push((path, *mode, bytes));
            } else {
                write(&target.join(path), *mode, bytes, time)?;
            }
        }
        last.into_iter()
            .try_for_each(|(path, mode, bytes)| write(&target.join(path), mode, bytes, time))
    }

    /// The bytes of one for `unit`, whose `files` are in `target`.
    pub fn render(
        target: &Path,
        unit: &CrateUnit,
        checksum: &str,
        sources: SourceFiles,
        files: &BTreeSet<PathBuf>,
    ) -> io::Result<Vec<u8>> {
        let mut contents = vec![];
        let mut listed = vec![];
        for path in files {
            let bytes = fs::read(target.join(path))?;
            let mode = fs::metadata(target.join(path))?.permissions().mode() & 0o777;
            listed.push((path.clone(), mode, bytes.len()));
            contents.extend(bytes);
        }
        let checksum = checksum.to_owned();
        let head = CachedCrateHead { unit: unit.clone(), checksum, sources, files: listed };
        let head = serde_json::to_vec(&head)?;
        let size = u32::try_from(head.len()).map_err(io::Error::other)?.to_le_bytes();
        let digest = Sha256::of_parts([&size[..], &head, &contents]);
        Ok([digest.as_ref(), &size, &head, &contents].concat())
    }
}

fn write(path: &Path, mode: u32, bytes: &[u8], time: SystemTime) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Not into a file that is there: cargo links programs to theirs.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_modified(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let sized = [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], &bytes].concat();
            for body in [&bytes, &sized] {
                prop_assert!(CachedCrate::parse(&[Sha256::of(body).as_ref(), body].concat()).is_err());
            }
        }
    }
}
