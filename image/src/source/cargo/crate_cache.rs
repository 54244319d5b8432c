//! What cargo has compiled of crates from registries, kept for the user's other clones.
//!
//! A folder that two clones compile into is wrong: cargo takes one's crates of the workspace for the other's. So what is
//! not the clone's own is copied: before cargo runs, from the store into the clone's folder; afterwards, what was new
//! there, into the store. Cargo itself finds out what it can use: it knows each crate, its features, its flags, and those
//! of all that it depends on, by the hash in the names of its files. The store sees to what cargo does not look at: that
//! the bytes are those that were compiled, by the same compiler, from the sources that are there now.

mod entry;
mod sources;
mod unit;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use crate::cache;
use crate::digest::Sha256;
use crate::output::file::{self, WriteError};
use crate::steps::Steps;

use self::entry::CachedCrate;
use self::sources::Sources;
use self::unit::CrateUnit;

pub use self::unit::CompiledCrates;

/// Its folder in the builder's cache.
pub const CRATES_FOLDER: &str = "crates";

/// The store is kept below this many bytes: those of some toolchains, or of some states of `Cargo.lock`.
const MAX_BYTES: u64 = 4 << 30;

/// So many toolchains have a part of the store.
const MAX_KEYS: usize = 4;

/// The part of the store that is for one compiler with its flags, and the clone that uses it.
pub struct CrateCache<'a> {
    store: PathBuf,
    /// A name for the compiler, its flags, and what else it calls.
    key: String,
    target: &'a Path,
    /// Where it unpacks the sources of crates.
    sources: Sources<'a>,
    /// What the lock says of each crate, by name and version: the SHA-256 that the registry gives.
    checksums: BTreeMap<(String, String), String>,
    steps: &'a Steps,
}

/// What of the store was copied.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub copied: usize,
    /// Those that are not what they should be, each with why. They are gone, and cargo compiles them.
    pub refused: Vec<(PathBuf, String)>,
}

impl<'a> CrateCache<'a> {
    /// The part for `key` of the store in the folder `store`.
    pub fn new(
        store: PathBuf,
        key: Sha256,
        target: &'a Path,
        home: &'a Path,
        checksums: BTreeMap<(String, String), String>,
        steps: &'a Steps,
    ) -> Self {
        let key = key.to_string()[..16].to_owned();
        Self { store, key, target, sources: Sources::of(home), checksums, steps }
    }

    fn part(&self) -> PathBuf {
        self.store.join(&self.key)
    }

    /// Copies what the clone lacks. Whatever is wrong costs time, nothing else: cargo compiles what is not there.
    pub fn restore(&self) -> Restored {
        let part = self.part();
        if !cache::is_private(&self.store) {
            return Restored::default();
        }
        let names: Vec<_> = fs::read_dir(&part)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|it| it == entry::EXTENSION))
            .collect();
        // All at one time: cargo compiles again what is older than what it depends on.
        let now = SystemTime::now();
        let (next, restored) = (AtomicUsize::new(0), Mutex::new(Restored::default()));
        let work = || {
            while let Some(path) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = self.restore_one(path, now);
                let mut restored = restored.lock().unwrap_or_else(PoisonError::into_inner);
                match outcome {
                    Ok(true) => restored.copied += 1,
                    Ok(false) => {}
                    Err(why) => {
                        // Another clone's build may have done so already.
                        let _ = fs::remove_file(path);
                        restored.refused.push((path.clone(), why));
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
                scope.spawn(work);
            }
        });
        let mut restored = restored.into_inner().unwrap_or_else(PoisonError::into_inner);
        restored.refused.sort();
        for (path, why) in &restored.refused {
            self.steps.warn(&format!("{}: {why}; it is compiled again", path.display()));
        }
        restored
    }

    /// Whether the entry at `path` was copied: one that is not for this clone is left alone.
    fn restore_one(&self, path: &Path, now: SystemTime) -> Result<bool, String> {
        // Most of them the clone has, after its first build: their contents need not be read.
        let named = |unit: &CrateUnit| path.file_name() == Some(unit.file_name().as_ref());
        if entry::unit(path).is_some_and(|unit| named(&unit) && unit.is_in(self.target)) {
            return Ok(false);
        }
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            // It was cleaned up meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        let entry = CachedCrate::parse(&bytes)?;
        let unit = &entry.head.unit;
        if !named(unit) {
            return Err(format!("it is {}, which has another name", unit.file_name()));
        }
        match self.checksums.get(&(unit.name.clone(), unit.version.clone())) {
            Some(checksum) if *checksum == entry.head.checksum => {}
            // Cargo.lock of another clone has another version.
            None => return Ok(false),
            Some(_) => {
                return Err("it was compiled from another source than Cargo.lock names".into());
            }
        }
        if !self.sources.match_digest(&entry.head.sources) {
            return Err(format!(
                "the sources of {} {} are others than it was compiled from",
                unit.name, unit.version
            ));
        }
        entry.write(self.target, now).map_err(|error| error.to_string())?;
        // Used now: what was not for longest goes first. An entry that cannot be marked goes earlier.
        let _ = File::open(path).and_then(|file| file.set_modified(now));
        Ok(true)
    }

    /// Keeps those of `units` that the store lacks.
    pub fn store(&self, units: &CompiledCrates) -> Result<usize, WriteError> {
        let part = self.part();
        let make = || DirBuilder::new().recursive(true).mode(0o700).create(&part);
        make().map_err(WriteError::at(&part))?;
        if !cache::is_private(&self.store) {
            return Ok(0);
        }
        let _one_at_a_time = file::lock(&self.store.join(".lock"), self.steps)?;
        let mut kept = 0;
        let missing: Vec<_> =
            units.iter().filter(|unit| !part.join(unit.file_name()).exists()).collect();
        let listed = unit::files(self.target, &missing).map_err(WriteError::at(self.target))?;
        for (unit, files) in listed {
            let checksum = self.checksums.get(&(unit.name.clone(), unit.version.clone()));
            let sources = self.sources.read(self.target, unit, &files);
            // What is compiled from files of elsewhere, or was patched, is the clone's own.
            let (Some(checksum), Some(sources)) = (checksum, sources) else { continue };
            let path = part.join(unit.file_name());
            let bytes = CachedCrate::render(self.target, unit, checksum, sources, &files)
                .map_err(WriteError::at(&path))?;
            file::write(&path, &bytes)?;
            kept += 1;
        }
        if kept > 0 {
            evict(&self.store, MAX_KEYS, MAX_BYTES).map_err(WriteError::at(&self.store))?;
        }
        Ok(kept)
    }
}

/// Removes what was not used for longest: whole parts first, until `keys` are left, then entries, until they have no
/// more than `bytes`.
fn evict(store: &Path, keys: usize, bytes: u64) -> io::Result<()> {
    let mut parts = vec![];
    for part in fs::read_dir(store)? {
        let part = part?.path();
        if !part.is_dir() {
            continue;
        }
        let mut entries = vec![];
        for entry in fs::read_dir(&part)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            entries.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        entries.sort();
        let used = entries.last().map(|(used, ..)| *used);
        parts.push((used, part, entries));
    }
    parts.sort();
    for (_, part, _) in parts.drain(..parts.len().saturating_sub(keys)) {
        fs::remove_dir_all(part)?;
    }
    let mut entries: Vec<_> = parts.into_iter().flat_map(|(_, _, entries)| entries).collect();
    entries.sort();
    let mut sum: u64 = entries.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in entries {
        if sum <= bytes {
            break;
        }
        fs::remove_file(path)?;
        sum -= size;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
