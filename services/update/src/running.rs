//! What PID 1 says of this box.

use std::path::{Path, PathBuf};

use octet_node::control::{CallError, Client, INIT, SOCKETS};
use serde::Deserialize;
use serde_json::Map;

/// The slot that runs, and where its partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningSlot {
    /// Its name; nothing if the box was not started by a boot loader.
    pub slot: Option<String>,
    pub is_good: bool,
    /// Whether every base unit is ready.
    pub is_ready: bool,
    /// The device of the EFI system partition, if there is one.
    pub esp: Option<PathBuf>,
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

#[derive(Deserialize)]
struct Data {
    esp: Option<PathBuf>,
}

/// Asks PID 1.
pub fn ask() -> Result<RunningSlot, CallError> {
    let mut client = Client::connect(&Path::new(SOCKETS).join(format!("{INIT}.sock")))?;
    let boot: Boot = serde_json::from_value(client.call("boot", Map::new())?)?;
    Ok(RunningSlot {
        is_good: boot.slot.as_ref().is_some_and(|slot| slot.verdict == "good"),
        slot: boot.slot.map(|slot| slot.version),
        is_ready: boot.ready_at.is_some(),
        esp: boot.data.and_then(|data| data.esp),
    })
}
