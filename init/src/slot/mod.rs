//! The booted slot, and whether it is good.
//!
//! A new slot has a few tries. The boot loader uses up one at each start; once every base unit is
//! ready the slot is good, and is not counted any more. A slot that never becomes good runs out of
//! tries, and the boot loader prefers another.

mod node_name;

use octet_bundle::{ENTRIES, SlotName, SlotState};
use octet_esp::boot_counter::SlotEntries;
use octet_esp::mounted::{Access, MountedEsp};
use serde_json::{Value, json};

use crate::command_line;
use crate::facts;
use crate::storage::disk::{Disk, at};
use crate::storage::esp;

/// The name of the booted slot, if the image was booted from one.
fn booted() -> Result<Option<SlotName>, String> {
    // A name that no entry can have is like one that the boot loader does not know.
    Ok(command_line::value("slot")?.and_then(|slot| slot.parse().ok()))
}

/// Records the state of the booted slot for the verb `boot`.
pub fn record(esp: &MountedEsp) -> Result<(), String> {
    let Some(slot) = booted()? else { return Ok(()) };
    let entries = entries(esp, slot.clone())?;
    facts::write(facts::SLOT, &describe(&slot, entries.state()));
    Ok(())
}

/// Runs the unit `slot`, which starts once every base unit is ready: marks the slot good, and
/// writes the node's name where its owner finds it.
pub fn run() -> Result<(), String> {
    let Some(slot) = booted()? else { return Ok(()) };
    let disk = Disk::find()?;
    // The partition is mounted for writing only if there is something to write.
    if !entries(&esp::mount(&disk.esp, Access::Read)?, slot.clone())?.is_marked_good() {
        let mut esp = esp::mount(&disk.esp, Access::Change)?;
        let entries = entries(&esp, slot.clone())?;
        entries.mark_good(&mut esp).map_err(at(ENTRIES.as_ref()))?;
    }
    facts::write(facts::SLOT, &describe(&slot, Some(SlotState::Good)));
    // The slot is good even if this fails.
    if let Err(error) = node_name::store(&disk) {
        eprintln!("the node's name is not on the EFI system partition: {error}");
    }
    Ok(())
}

fn entries(esp: &MountedEsp, slot: SlotName) -> Result<SlotEntries, String> {
    SlotEntries::read(esp, slot).map_err(at(ENTRIES.as_ref()))
}

fn describe(slot: &SlotName, state: Option<SlotState>) -> Value {
    let (left, done, verdict) = match state {
        Some(SlotState::Good) => (None, None, "good"),
        Some(SlotState::Trying { left: 0, done }) => (Some(0), Some(done), "no tries left"),
        Some(SlotState::Trying { left, done }) => (Some(left), Some(done), "trying"),
        None => (None, None, "unknown to the boot loader"),
    };
    json!({ "version": slot.as_str(), "tries_left": left, "tries_done": done, "verdict": verdict })
}
