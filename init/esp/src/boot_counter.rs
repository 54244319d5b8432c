//! The counting of tries: the boot loader uses up one at each start, and a slot that was marked good
//! is not counted. Systemd-boot counts in the names of entries (systemd-boot(7), "Boot Counting"),
//! U-Boot in the [`boot_state`](crate::boot_state).

mod by_state;

use std::io;

use octet_bundle::{ENTRIES, EntryName, Manifest, SlotName, SlotState, without_trial};

use crate::contents::{EspContents, MAX_ENTRY, PresentEntry, PresentSlot, entries};
use crate::medium::{Medium, staged, write_whole};
use crate::plan::EspPlan;
use crate::steps::{set_tries, write_entry};

pub use by_state::{read_env, write_env};

/// Where the boot loader counts the tries of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootCounter {
    /// In the names of entries: systemd-boot.
    EntryNames,
    /// In the partition `octet-bootstate`: U-Boot.
    BootState,
}

/// A value of `octet.counter` that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("octet.counter={0} on the kernel's command line: write `bootstate`, or leave it out")]
pub struct UnknownCounter(String);

impl BootCounter {
    /// The key on the kernel's command line, after `octet.`, that names the counter.
    pub const KEY: &str = "counter";

    /// The counter that the value of the [key](Self::KEY) names, if it is there.
    ///
    /// # Errors
    /// The value is another one.
    pub fn from_option(value: Option<&str>) -> Result<Self, UnknownCounter> {
        match value {
            None => Ok(Self::EntryNames),
            Some("bootstate") => Ok(Self::BootState),
            Some(other) => Err(UnknownCounter(other.to_owned())),
        }
    }
}

/// The state of `slot`; `None` if the boot loader does not know it.
///
/// # Errors
/// The medium refuses, as with all others here, or there is no valid boot state.
pub fn slot_state(medium: &impl Medium, slot: &SlotName) -> io::Result<Option<SlotState>> {
    match medium.counter() {
        BootCounter::EntryNames => Ok(SlotEntries::read(medium, slot.clone())?.state()),
        BootCounter::BootState => by_state::slot_state(medium, slot),
    }
}

/// Whether [`mark_good`] has nothing left to do.
pub fn is_marked_good(medium: &impl Medium, slot: &SlotName) -> io::Result<bool> {
    match medium.counter() {
        BootCounter::EntryNames => Ok(SlotEntries::read(medium, slot.clone())?.is_marked_good()),
        BootCounter::BootState => by_state::is_marked_good(medium, slot),
    }
}

/// Marks `slot` good: its starts are not counted any more. It can be repeated after a power cut.
pub fn mark_good(medium: &mut impl Medium, slot: &SlotName) -> io::Result<()> {
    match medium.counter() {
        BootCounter::EntryNames => SlotEntries::read(medium, slot.clone())?.mark_good(medium),
        BootCounter::BootState => by_state::mark_good(medium, slot),
    }
}

/// Makes the counter usable for the running slot, if a power cut or a fault of the medium has
/// destroyed it. Returns whether it was.
pub fn restore(medium: &mut impl Medium, running: &SlotName) -> io::Result<bool> {
    match medium.counter() {
        // The names are repaired with the file system.
        BootCounter::EntryNames => Ok(false),
        BootCounter::BootState => by_state::restore(medium, running),
    }
}

/// Makes a place for a new slot, before anything of the slot that has it is removed. Returns
/// whether that changed what is [present](EspContents).
pub fn vacate(medium: &mut impl Medium, running: &SlotName) -> io::Result<bool> {
    match medium.counter() {
        // An entry is added beside the others.
        BootCounter::EntryNames => Ok(false),
        BootCounter::BootState => by_state::vacate(medium, running),
    }
}

/// Makes the boot loader start a new slot next, whose files are on the medium, with all tries.
pub fn add_slot(
    medium: &mut impl Medium,
    manifest: &Manifest,
    plan: &EspPlan,
    on_trial: bool,
) -> io::Result<()> {
    write_entry(medium, manifest, plan, on_trial)?;
    match medium.counter() {
        BootCounter::EntryNames => Ok(()),
        BootCounter::BootState => by_state::add_slot(medium, manifest, plan, on_trial),
    }
}

/// Makes the boot loader start `other` next, which is good, and `running` only if it has no other.
pub fn roll_back(
    medium: &mut impl Medium,
    running: &PresentSlot,
    other: &PresentSlot,
) -> io::Result<()> {
    match medium.counter() {
        BootCounter::EntryNames => set_tries(medium, running, 0),
        BootCounter::BootState => by_state::roll_back(medium, &running.name, &other.name),
    }
}

/// Makes `present` what it is for the boot loader of `medium`.
pub(crate) fn complete(medium: &impl Medium, present: &mut EspContents) -> io::Result<()> {
    match medium.counter() {
        BootCounter::EntryNames => Ok(()),
        BootCounter::BootState => by_state::complete(medium, present),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_command_line() {
        assert_eq!(BootCounter::from_option(None), Ok(BootCounter::EntryNames));
        assert_eq!(BootCounter::from_option(Some("bootstate")), Ok(BootCounter::BootState));
        for bad in ["", "names", "Bootstate"] {
            let error = BootCounter::from_option(Some(bad)).unwrap_err().to_string();
            assert!(error.contains("write `bootstate`"), "{error}");
        }
    }
}
