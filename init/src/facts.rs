//! What PID 1's own one-shots have found out, for its verb `boot`: small JSON files in memory, so
//! that PID 1 never asks a disk.

use serde_json::Value;

/// Which disk counts, once that was decided: it does not change while the box runs.
pub const DISK: &str = "/run/octet/disk.json";
pub const DATA: &str = "/run/octet/data.json";
/// About the board that the flash is for.
pub const BOARD: &str = "/run/octet/board.json";
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

/// The numbers of the disk that holds the data, major and minor, once it is there.
pub fn data_disk() -> Option<(u32, u32)> {
    let fact = read(DATA);
    let name = fact["device"].as_str()?.rsplit('/').next()?;
    // A partition's folder lies in its disk's (sysfs-block).
    let numbers = std::fs::read_to_string(format!("/sys/class/block/{name}/../dev")).ok()?;
    let (major, minor) = numbers.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
