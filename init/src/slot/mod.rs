//! The slot that was booted, and whether it is good.
//!
//! A new slot is tried a few times. The boot loader takes one try at each start; once every base
//! unit is ready the slot is good, and is not counted any more. One that never gets that far runs
//! out of tries, and the boot loader prefers another.

mod esp_counter;
mod node_name;

use octet_bundle::SlotState;
use serde_json::{Value, json};

use crate::command_line;
use crate::facts;
use crate::storage::disk::Disk;
use crate::storage::esp::MountedEsp;
use esp_counter::EspCounter;

/// Where tries are counted: on the EFI system partition here, in the environment of the boot
/// loader on boards whose firmware cannot rename files.
pub trait BootCounter {
    /// How the slot stands; `None` if the boot loader does not know it.
    fn standing(&self) -> Result<Option<SlotState>, String>;

    /// Whether there is nothing left for [`mark_good`](Self::mark_good) to do.
    fn is_settled(&self) -> Result<bool, String>;

    /// Ends the counting: the slot is good. Done again it changes nothing.
    fn mark_good(&self) -> Result<(), String>;
}

/// Keeps for the verb `boot` how the booted slot stands.
pub fn record(esp: &MountedEsp) -> Result<(), String> {
    let Some(version) = command_line::value("slot")? else { return Ok(()) };
    let standing = EspCounter::new(esp, &version).standing()?;
    facts::write(facts::SLOT, &describe(&version, standing));
    Ok(())
}

/// Runs the unit `slot`, which starts once every base unit is ready: marks the slot good, and keeps
/// the node's name where its owner finds it.
pub fn run() -> Result<(), String> {
    let Some(version) = command_line::value("slot")? else { return Ok(()) };
    let disk = Disk::find()?;
    // Nothing is mounted for writing if there is nothing to write.
    if !EspCounter::new(&MountedEsp::read(&disk.esp)?, &version).is_settled()? {
        let esp = MountedEsp::change(&disk.esp)?;
        EspCounter::new(&esp, &version).mark_good()?;
    }
    facts::write(facts::SLOT, &describe(&version, Some(SlotState::Good)));
    // The slot is good whatever comes of this.
    if let Err(error) = node_name::keep(&disk) {
        eprintln!("the node's name is not on the EFI system partition: {error}");
    }
    Ok(())
}

fn describe(version: &str, standing: Option<SlotState>) -> Value {
    let (left, done, verdict) = match standing {
        Some(SlotState::Good) => (None, None, "good"),
        Some(SlotState::Trying { left: 0, done }) => (Some(0), Some(done), "no tries left"),
        Some(SlotState::Trying { left, done }) => (Some(left), Some(done), "trying"),
        None => (None, None, "unknown to the boot loader"),
    };
    json!({ "version": version, "tries_left": left, "tries_done": done, "verdict": verdict })
}
