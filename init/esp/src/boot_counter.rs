//! Boot counting by the names of entries, as systemd-boot does it (systemd-boot(7), "Boot
//! Counting"): the boot loader uses up one try at each start, and a slot that was marked good has no
//! counter.

use std::io;

use octet_bundle::{ENTRIES, EntryName, SlotName, SlotState, without_trial};

use crate::contents::{MAX_ENTRY, PresentEntry, entries};
use crate::medium::{Medium, staged, write_whole};

/// The entries of one slot: one, or two after a power cut within [`mark_good`](Self::mark_good).
#[derive(Debug)]
pub struct SlotEntries {
    slot: SlotName,
    entries: Vec<PresentEntry>,
    /// Whether a power cut has left an entry before it had its name.
    has_staged: bool,
}

impl SlotEntries {
    /// Reads the entries of `slot`.
    ///
    /// # Errors
    /// The medium refuses.
    pub fn read(medium: &impl Medium, slot: SlotName) -> io::Result<Self> {
        let mut entries = entries(medium)?;
        entries.retain(|entry| entry.name.slot == slot);
        let staged = staged_entry(&slot);
        let has_staged =
            medium.list(ENTRIES)?.iter().any(|it| format!("{ENTRIES}/{}", it.name) == staged);
        Ok(Self { slot, entries, has_staged })
    }

    /// The state of the slot; `None` if the boot loader does not know it. The boot loader skips an
    /// empty entry, so it says nothing about the state.
    pub fn state(&self) -> Option<SlotState> {
        let states = || self.entries.iter().filter(|it| !it.is_empty()).map(|it| it.name.state);
        states().find(|it| *it != SlotState::Good).or_else(|| states().next())
    }

    /// Whether [`mark_good`](Self::mark_good) has nothing left to do.
    pub fn is_marked_good(&self) -> bool {
        self.entries.iter().all(|it| it.name.state == SlotState::Good && !it.is_empty())
    }

    /// Marks the slot good and ends the counting. It can be repeated after a power cut.
    ///
    /// FAT writes the two halves of a rename in any order, and a power cut between them could leave
    /// neither name. So the entry is first written under its new name, and only when that is on the
    /// medium the old one is removed. An empty entry never replaces one that has content.
    ///
    /// # Errors
    /// The medium refuses.
    pub fn mark_good(&self, medium: &mut impl Medium) -> io::Result<()> {
        let staged = staged_entry(&self.slot);
        if self.has_staged {
            medium.remove(&staged)?;
        }
        let counted = || self.entries.iter().filter(|it| it.name.state != SlotState::Good);
        if let Some(old) = counted().find(|it| !it.is_empty()) {
            let new = format!("{ENTRIES}/{}", EntryName::good(&self.slot));
            let text = medium.read(&old.path, MAX_ENTRY)?;
            // A slot that was good once is not on trial at any later start.
            let text = without_trial(&String::from_utf8_lossy(&text));
            let present = self.entries.iter().find(|it| it.path == new);
            let is_written = match present {
                Some(_) => medium.read(&new, MAX_ENTRY)? == text.as_bytes(),
                None => false,
            };
            // The name that the boot loader uses appears when its content is on the medium. Until
            // then a power cut can leave a file whose clusters are marked as free, although it
            // reads well: the repair has emptied such files before this runs.
            if !is_written {
                write_whole(medium, &staged, text.as_bytes())?;
                if present.is_some() {
                    medium.remove(&new)?;
                }
                medium.rename(&staged, &new)?;
                medium.sync()?;
            }
        }
        counted().try_for_each(|it| medium.remove(&it.path))?;
        medium.sync()
    }
}

/// The path of an entry of `slot` until its content is on the medium.
pub fn staged_entry(slot: &SlotName) -> String {
    staged(&format!("{ENTRIES}/octet-{slot}"))
}
