//! This box's state, from PID 1.

use std::path::{Path, PathBuf};

use octet_node::control::{CallError, Client, INIT, SOCKETS};
use serde::Deserialize;
use serde_json::Map;

/// The running slot, and the partition of slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningSlot {
    /// Its name; `None` if the box was not started by a boot loader.
    pub slot: Option<String>,
    pub is_good: bool,
    /// Whether all base units are ready.
    pub is_ready: bool,
    /// The device of the EFI system partition, if there is one.
    pub esp: Option<PathBuf>,
    /// The device of the boot state, if that counts the tries.
    pub boot_state: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Boot {
    slot: Option<Slot>,
    data: Option<Data>,
    ready_at: Option<u64>,
}

#[derive(Deserialize)]
struct Slot {
    version: String,
    verdict: String,
}

#[derive(Default, Deserialize)]
struct Data {
    esp: Option<PathBuf>,
    boot_state: Option<PathBuf>,
}

/// Calls PID 1.
pub fn ask() -> Result<RunningSlot, CallError> {
    let mut client = Client::connect(&Path::new(SOCKETS).join(format!("{INIT}.sock")))?;
    let boot: Boot = serde_json::from_value(client.call("boot", Map::new())?)?;
    let data = boot.data.unwrap_or_default();
    Ok(RunningSlot {
        is_good: boot.slot.as_ref().is_some_and(|slot| slot.verdict == "good"),
        slot: boot.slot.map(|slot| slot.version),
        is_ready: boot.ready_at.is_some(),
        esp: data.esp,
        boot_state: data.boot_state,
    })
}
