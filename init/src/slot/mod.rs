//! The booted slot, and whether it is good.
//!
//! A new slot has a few tries. The boot loader uses up one at each start; once every base unit is
//! ready the slot is good, and is not counted any more. A slot that never becomes good runs out of
//! tries, and the boot loader prefers another.

mod esp_counter;
mod node_name;

use octet_bundle::SlotState;
use serde_json::{Value, json};

use crate::command_line;
use crate::facts;
use crate::storage::disk::Disk;
use crate::storage::esp::MountedEsp;
use esp_counter::EspCounter;

/// Where tries are counted: on the EFI system partition here, or in the environment of the boot
/// loader on boards whose firmware cannot rename files.
pub trait BootCounter {
    /// The state of the slot; `None` if the boot loader does not know it.
    fn state(&self) -> Result<Option<SlotState>, String>;

    /// Whether [`mark_good`](Self::mark_good) has nothing left to do.
    fn is_marked_good(&self) -> Result<bool, String>;

    /// Marks the slot good and ends the counting. Idempotent.
    fn mark_good(&self) -> Result<(), String>;
}

/// Records the state of the booted slot for the verb `boot`.
pub fn record(esp: &MountedEsp) -> Result<(), String> {
    let Some(version) = command_line::value("slot")? else { return Ok(()) };
    let state = EspCounter::new(esp, &version).state()?;
    facts::write(facts::SLOT, &describe(&version, state));
    Ok(())
}

/// Runs the unit `slot`, which starts once every base unit is ready: marks the slot good, and
/// writes the node's name where its owner finds it.
pub fn run() -> Result<(), String> {
    let Some(version) = command_line::value("slot")? else { return Ok(()) };
    let disk = Disk::find()?;
    // The partition is mounted for writing only if there is something to write.
    if !EspCounter::new(&MountedEsp::mount_read_only(&disk.esp)?, &version).is_marked_good()? {
        let esp = MountedEsp::mount_writable(&disk.esp)?;
        EspCounter::new(&esp, &version).mark_good()?;
    }
    facts::write(facts::SLOT, &describe(&version, Some(SlotState::Good)));
    // The slot is good even if this fails.
    if let Err(error) = node_name::store(&disk) {
        eprintln!("the node's name is not on the EFI system partition: {error}");
    }
    Ok(())
}

fn describe(version: &str, state: Option<SlotState>) -> Value {
    let (left, done, verdict) = match state {
        Some(SlotState::Good) => (None, None, "good"),
        Some(SlotState::Trying { left: 0, done }) => (Some(0), Some(done), "no tries left"),
        Some(SlotState::Trying { left, done }) => (Some(left), Some(done), "trying"),
        None => (None, None, "unknown to the boot loader"),
    };
    json!({ "version": version, "tries_left": left, "tries_done": done, "verdict": verdict })
}
