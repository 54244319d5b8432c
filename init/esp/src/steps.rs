//! The steps in which a slot is written, each on the medium before the next begins: unneeded
//! entries and files are removed, entries first; new files are written, and read back; the entry is
//! written last. Whatever a power cut leaves, either a kept slot boots, or the complete new one.

use std::io;

use octet_bundle::{BootEntry, Digest, ENTRIES, EntryName, Hasher, MAX_CHUNK, Manifest, TRIES};

use crate::boot_counter::staged_entry;
use crate::contents::{MAX_ENTRY, PresentSlot};
use crate::medium::{Medium, staged, write_whole};
use crate::plan::EspPlan;

/// Written data cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    #[error("{0}: {1}")]
    Unreadable(String, io::Error),
    #[error("{0} is not what it should be")]
    Mismatch(String),
}

/// Removes what is no longer needed. Entries are removed before the files that they name.
///
/// # Errors
/// The medium refuses, as with all other steps.
pub fn make_room(medium: &mut impl Medium, plan: &EspPlan) -> io::Result<()> {
    if !plan.entries.is_empty() {
        plan.entries.iter().try_for_each(|entry| medium.remove(entry))?;
        medium.sync()?;
    }
    plan.files.iter().try_for_each(|file| medium.remove(file))?;
    plan.folders.iter().try_for_each(|folder| medium.remove_folder(folder))?;
    medium.sync()
}

/// Renames files to their final names, once all of them are on the medium.
pub fn finish(medium: &mut impl Medium, written: &[String]) -> io::Result<()> {
    written.iter().try_for_each(|path| medium.rename(&staged(path), path))?;
    medium.sync()
}

/// Reads everything that the new slot needs from the medium, including files shared with another
/// slot.
///
/// # Errors
/// A digest differs, or a file cannot be read.
pub fn read_back(
    medium: &impl Medium,
    manifest: &Manifest,
    plan: &EspPlan,
) -> Result<(), ReadBackError> {
    let unread = |path: &str| {
        let path = path.to_owned();
        move |error| ReadBackError::Unreadable(path, error)
    };
    for (kind, file) in manifest.files.all() {
        let path = plan.path(manifest, kind);
        if digest(medium, &path, file.size).map_err(unread(&path))? != file.sha256 {
            return Err(ReadBackError::Mismatch(path));
        }
    }
    let path = manifest.slot.manifest();
    let bytes = manifest.render();
    let found = medium.read(&path, bytes.len() as u64 + 1).map_err(unread(&path))?;
    if found == bytes { Ok(()) } else { Err(ReadBackError::Mismatch(path)) }
}

/// The digest of the first `size` bytes of a file.
pub fn digest(medium: &impl Medium, path: &str, size: u64) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut piece = vec![0; MAX_CHUNK as usize];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(usize::MAX).min(piece.len());
        medium.read_at(path, at, &mut piece[..length])?;
        hasher.add(&piece[..length]);
        at += length as u64;
    }
    Ok(hasher.finish())
}

/// Makes the slot known to the boot loader. Its entry gets its final name only when its content is
/// on the medium.
pub fn write_entry(
    medium: &mut impl Medium,
    manifest: &Manifest,
    plan: &EspPlan,
    on_trial: bool,
) -> io::Result<()> {
    let [linux, initrd] = plan.entry_paths(manifest);
    let text = BootEntry { manifest, linux: &linux, initrd: &initrd, dtb: None, on_trial }.render();
    let name = EntryName::with_tries(&manifest.slot, TRIES);
    let staged = staged_entry(&manifest.slot);
    write_whole(medium, &staged, text.as_bytes())?;
    medium.rename(&staged, &format!("{ENTRIES}/{name}"))?;
    medium.sync()
}

/// Renames the entry of `slot` to one with `left` tries, and removes all its other entries.
///
/// The new name is on the medium before the old one is removed: a power cut leaves the slot as it
/// was, or both names, of which the boot loader prefers the better one.
pub fn set_tries(medium: &mut impl Medium, slot: &PresentSlot, left: u32) -> io::Result<()> {
    let new = format!("{ENTRIES}/{}", EntryName::with_tries(&slot.name, left));
    let staged = staged_entry(&slot.name);
    let old: Vec<_> = slot.entries.iter().filter(|path| **path != new).collect();
    let Some(first) = old.first() else { return Ok(()) };
    let text = medium.read(first, MAX_ENTRY)?;
    write_whole(medium, &staged, &text)?;
    if old.len() < slot.entries.len() {
        medium.remove(&new)?;
    }
    medium.rename(&staged, &new)?;
    medium.sync()?;
    old.iter().try_for_each(|path| medium.remove(path))?;
    medium.sync()
}
