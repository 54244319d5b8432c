//! What PID 1's own one-shots have found out, for its verb `boot`: small JSON files in memory, so
//! that PID 1 never asks a disk.

use serde_json::Value;

/// About the data partition.
pub const DATA: &str = "/run/octet/data.json";
/// About the slot that was booted.
pub const SLOT: &str = "/run/octet/slot.json";

/// Writes a fact. That it is missing later is all that happens if this fails.
pub fn write(path: &str, value: &Value) {
    let temporary = format!("{path}.new");
    let _ = std::fs::write(&temporary, value.to_string())
        .and_then(|()| std::fs::rename(&temporary, path));
}

/// Reads a fact; null while nothing is known.
pub fn read(path: &str) -> Value {
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
