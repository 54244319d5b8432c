//! Boot counting by the names of entries on the EFI system partition, as systemd-boot does.

use std::fs;
use std::path::PathBuf;

use octet_bundle::{ENTRIES, EntryName, ParsedEntry, SlotState, without_trial};

use super::BootCounter;
use crate::storage::disk::at;
use crate::storage::esp::MountedEsp;

/// The boot counter of one slot.
pub struct EspCounter<'a> {
    esp: &'a MountedEsp,
    version: &'a str,
}

impl<'a> EspCounter<'a> {
    /// The counter of the slot `version`.
    pub fn new(esp: &'a MountedEsp, version: &'a str) -> Self {
        Self { esp, version }
    }

    /// The slot's entries: one, or two after a power cut within [`mark_good`].
    ///
    /// [`mark_good`]: BootCounter::mark_good
    fn entries(&self) -> Result<Vec<Found>, String> {
        let folder = self.esp.path(ENTRIES);
        let mut found = vec![];
        for item in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = item.map_err(at(&folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = EntryName::parse(name).filter(|name| name.slot.as_str() == self.version);
            let Some(name) = name else { continue };
            let text = fs::read(&path).map_err(at(&path))?;
            let is_empty = ParsedEntry::parse(&String::from_utf8_lossy(&text)).is_empty();
            found.push(Found { path, state: name.state, is_empty });
        }
        Ok(found)
    }
}

/// An entry of the slot.
struct Found {
    path: PathBuf,
    state: SlotState,
    /// The boot loader skips it: it says nothing about the slot's state, and must never replace an
    /// entry that does.
    is_empty: bool,
}

impl BootCounter for EspCounter<'_> {
    fn state(&self) -> Result<Option<SlotState>, String> {
        let entries = self.entries()?;
        let states = || entries.iter().filter(|it| !it.is_empty).map(|it| it.state);
        Ok(states().find(|it| *it != SlotState::Good).or_else(|| states().next()))
    }

    fn is_marked_good(&self) -> Result<bool, String> {
        let entries = self.entries()?;
        Ok(entries.iter().all(|it| it.state == SlotState::Good && !it.is_empty))
    }

    /// FAT writes the two halves of a rename in any order, and a power cut between them could leave
    /// neither name. So the entry is first written under its new name, and only when that is on the
    /// medium the old one is removed.
    fn mark_good(&self) -> Result<(), String> {
        let entries = self.entries()?;
        let counted = || entries.iter().filter(|it| it.state != SlotState::Good);
        if let Some(Found { path: old, .. }) = counted().find(|it| !it.is_empty) {
            let slot = self.version.parse();
            let slot = slot.map_err(|error: octet_bundle::InvalidText| error.to_string())?;
            let new = self.esp.path(ENTRIES).join(EntryName::good(&slot).to_string());
            // A slot that was good once is not on trial at any later start.
            let text = without_trial(&fs::read_to_string(old).map_err(at(old))?);
            // The name that the boot loader uses appears when its content is on the medium. Until
            // then a power cut can leave a file whose clusters are marked as free, although it
            // reads well: the unit `data` has emptied such files before this runs.
            if fs::read_to_string(&new).ok().as_ref() != Some(&text) {
                let staged = new.with_extension("new");
                let _ = fs::remove_file(&staged);
                fs::write(&staged, &text).and_then(|()| self.esp.sync()).map_err(at(&staged))?;
                fs::rename(&staged, &new).and_then(|()| self.esp.sync()).map_err(at(&new))?;
            }
        }
        for Found { path, .. } in counted() {
            fs::remove_file(path).map_err(at(path))?;
        }
        self.esp.sync().map_err(at(&self.esp.path(ENTRIES)))
    }
}
