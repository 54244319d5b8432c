//! The units of this image, as the builder has checked and ordered them.

use octet_appliance::{UNITS, Unit};

/// The units in start order.
///
/// # Errors
/// In words: the list cannot be read. The box then has no units, and says so.
pub fn load() -> Result<Vec<Unit>, String> {
    let text = std::fs::read(UNITS).map_err(|error| format!("{UNITS}: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("{UNITS}: {error}"))
}
