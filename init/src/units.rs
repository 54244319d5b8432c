//! The units of this image, as the builder has checked and ordered them.

use octet_appliance::{UNITS, Unit, UnitType};

use crate::command_line;

/// The units in start order.
pub fn load() -> Result<Vec<Unit>, String> {
    let text = std::fs::read(UNITS).map_err(|error| format!("{UNITS}: {error}"))?;
    let mut units: Vec<Unit> =
        serde_json::from_slice(&text).map_err(|error| format!("{UNITS}: {error}"))?;
    // Without a disk there is nothing to mount, and without a boot loader nothing to count. These
    // units remain for those that need them, and run nothing.
    if command_line::data_in_memory() {
        disable(&mut units, "data");
    }
    if matches!(command_line::value("slot"), Ok(None)) {
        disable(&mut units, "slot");
    }
    Ok(units)
}

fn disable(units: &mut [Unit], name: &str) {
    for unit in units.iter_mut().filter(|unit| unit.name.as_str() == name) {
        unit.unit_type = UnitType::Target;
        unit.exec = None;
    }
}
