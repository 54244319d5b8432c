//! What is unpacked from the store's entries: made once, under another name until it is whole.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use zip::ZipArchive;

use super::{InputStore, InputStoreError};
use crate::digest::Sha256;
use crate::lock::{Input, Lock};
use crate::output::file::WriteError;
use crate::steps::Steps;

/// No wheel that is used here has a member above this; anything else is a bomb.
const MAX_MEMBER: u64 = 1 << 30;

/// A folder of files out of one input.
pub struct Derived<'a> {
    /// Its name: what it is.
    pub what: &'static str,
    /// Whether the digests of its files are compared at each use. Not for thousands of files.
    pub checked: bool,
    /// Which members of the archive are taken, and under which names.
    pub pick: &'a dyn Fn(&str) -> Option<PathBuf>,
}

/// An input that has the locked digest, and yet cannot be unpacked.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("input `{name}` cannot be unpacked: {reason}")]
#[diagnostic(help("its version in appliance.lock is not one that this release of Octet can use"))]
pub struct UnpackError {
    name: String,
    reason: String,
}

const SUMS: &str = ".sha256";

/// The folder of `derived` out of `input`, unpacked now if it is not there.
pub fn unpack(
    store: &InputStore,
    lock: &Lock,
    input: &Input,
    derived: &Derived<'_>,
    steps: &Steps,
) -> miette::Result<PathBuf> {
    let root = store.root.parent().unwrap_or(&store.root).join("derived");
    let folder = root.join(format!("{}-{}", input.sha256.get_ref(), derived.what));
    if folder.is_dir() {
        if !derived.checked || matches!(is_intact(&folder), Ok(true)) {
            return Ok(folder);
        }
        steps.warn(&format!("{} is damaged; it is unpacked again", folder.display()));
    }
    let wheel = store.verified(lock, input, steps)?;
    let name = input.name.get_ref();
    let step = steps.start("unpack", name);
    let _one_at_a_time = store.lock(steps)?;
    if folder.is_dir() && matches!(is_intact(&folder), Ok(true)) {
        return Ok(folder); // another build was faster
    }
    let part = root.join(format!(".part-{}", derived.what));
    let clear = |path: &Path| match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WriteError::at(path)(error)),
        _ => Ok(()),
    };
    clear(&part)?;
    let count = extract(&wheel, &part, derived)
        .map_err(|reason| UnpackError { name: name.clone(), reason: reason.to_string() })?;
    clear(&folder)?;
    commit(&part, &folder).map_err(WriteError::at(&folder)).map_err(InputStoreError::from)?;
    step.done(&format!("{name}, {count} files"));
    Ok(folder)
}

fn extract(wheel: &Path, part: &Path, derived: &Derived<'_>) -> io::Result<usize> {
    let mut archive = ZipArchive::new(File::open(wheel)?)?;
    let mut sums = String::new();
    let mut count = 0;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        if member.is_dir() {
            continue;
        }
        if member.size() > MAX_MEMBER {
            return Err(io::Error::other("a member is too large"));
        }
        let Some(name) = member.enclosed_name() else {
            return Err(io::Error::other("a member would leave the folder"));
        };
        let Some(to) = name.to_str().and_then(derived.pick) else { continue };
        let path = part.join(&to);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        io::copy(&mut io::Read::take(&mut member, MAX_MEMBER), &mut File::create(&path)?)?;
        if member.unix_mode().is_some_and(|mode| mode & 0o100 != 0) {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        if derived.checked {
            let _ = writeln!(sums, "{}  {}", Sha256::of_file(&path)?, to.display());
        }
        count += 1;
    }
    if count == 0 {
        return Err(io::Error::other("it has none of the files that are needed"));
    }
    fs::write(part.join(SUMS), sums)?;
    Ok(count)
}

/// Renames `part` to `folder` once all of it is on disk.
fn commit(part: &Path, folder: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(part)?)?;
    fs::rename(part, folder)
}

/// Whether every file has the digest it was unpacked with.
fn is_intact(folder: &Path) -> io::Result<bool> {
    for line in fs::read_to_string(folder.join(SUMS))?.lines() {
        let Some((sum, name)) = line.split_once("  ") else { return Ok(false) };
        if Sha256::of_file(&folder.join(name))?.to_string() != sum {
            return Ok(false);
        }
    }
    Ok(true)
}
