//! Findings of PID 1's own one-shots, for its verb `boot`: small JSON files in memory, so that PID
//! 1 never reads a disk.

use serde_json::Value;

/// The disk in use; it does not change while the box runs.
pub const DISK: &str = "/run/octet/disk.json";
pub const DATA: &str = "/run/octet/data.json";
/// The board that the flash is for.
pub const BOARD: &str = "/run/octet/board.json";
/// The booted slot.
pub const SLOT: &str = "/run/octet/slot.json";

/// Writes a fact. If that fails, the fact is missing later, and nothing else happens.
pub fn write(path: &str, value: &Value) {
    let temporary = format!("{path}.new");
    let _ = std::fs::write(&temporary, value.to_string())
        .and_then(|()| std::fs::rename(&temporary, path));
}

/// Reads a fact; null while it is unknown.
pub fn read(path: &str) -> Value {
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Major and minor number of the disk with the data, once it is known.
pub fn data_disk() -> Option<(u32, u32)> {
    let fact = read(DATA);
    let name = fact["device"].as_str()?.rsplit('/').next()?;
    // A partition's folder is within its disk's (sysfs-block).
    let numbers = std::fs::read_to_string(format!("/sys/class/block/{name}/../dev")).ok()?;
    let (major, minor) = numbers.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
