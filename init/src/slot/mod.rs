//! The booted slot, and whether it is good.
//!
//! A new slot has a few tries. The boot loader uses up one at each start; once every base unit is
//! ready the slot is good, and is not counted any more. A slot that never becomes good runs out of
//! tries, and the boot loader prefers another. Where tries are counted, `octet.counter` says
//! ([`BootCounter`]).

mod node_name;

use std::io;

use octet_bundle::{SlotName, SlotState};
use octet_esp::boot_counter::{BootCounter, is_marked_good, mark_good, restore, slot_state};
use octet_esp::medium::Medium;
use octet_esp::mounted::{Access, MountedEsp};
use serde_json::{Value, json};

use crate::command_line;
use crate::facts;
use crate::storage::disk::Disk;
use crate::storage::esp;

/// The name of the booted slot, if the image was booted from one.
fn booted() -> Result<Option<SlotName>, String> {
    // A name that no entry can have is like one that the boot loader does not know.
    Ok(command_line::value("slot")?.and_then(|slot| slot.parse().ok()))
}

/// Records the state of the booted slot for the verb `boot`.
pub fn record(esp: &mut MountedEsp) -> Result<(), String> {
    let Some(slot) = booted()? else { return Ok(()) };
    let state = match restore(esp, &slot) {
        Ok(is_restored) => {
            if is_restored {
                println!(
                    "neither copy of the boot state was valid: it was made again, and {slot} starts first"
                );
            }
            slot_state(esp, &slot).map_err(tries)?
        }
        // The start goes on without it.
        Err(error) => {
            eprintln!("{}", tries(error));
            None
        }
    };
    facts::write(facts::SLOT, &describe(&slot, state));
    Ok(())
}

/// Runs the unit `slot`, which starts once every base unit is ready: marks the slot good, and
/// writes the node's name where its owner finds it.
pub fn run() -> Result<(), String> {
    let Some(slot) = booted()? else { return Ok(()) };
    let disk = Disk::find()?;
    let mut esp = esp::mount(&disk, Access::Read)?;
    if !is_marked_good(&esp, &slot).map_err(tries)? {
        // The partition is mounted for writing only if there is something to write; the boot state
        // is not on it.
        if esp.counter() == BootCounter::EntryNames {
            drop(esp);
            esp = esp::mount(&disk, Access::Change)?;
        }
        mark_good(&mut esp, &slot).map_err(tries)?;
    }
    drop(esp);
    facts::write(facts::SLOT, &describe(&slot, Some(SlotState::Good)));
    // The slot is good even if this fails.
    if let Err(error) = node_name::store(&disk) {
        eprintln!("the node's name is not on the EFI system partition: {error}");
    }
    Ok(())
}

fn tries(error: io::Error) -> String {
    format!("the tries of the slot: {error}")
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
