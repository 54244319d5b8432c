//! The part of a unit's configuration that the core uses.

use std::collections::HashMap;
use std::time::Duration;

use octet_appliance::{Readiness, RestartPolicy, Unit, UnitName, UnitType};

use super::UnitId;

/// The settings that decide when a unit starts and stops.
#[derive(Debug, Clone)]
pub struct Settings {
    pub name: String,
    pub unit_type: UnitType,
    /// Whether the box is ready only once this unit is.
    pub base: bool,
    /// Units that must be ready before it starts.
    pub needs: Vec<UnitId>,
    /// Units that must have settled before it starts.
    pub after: Vec<UnitId>,
    /// Stops only after every unit that it does not itself wait for, so that their last messages
    /// are still received.
    pub stops_last: bool,
    /// How readiness is determined.
    pub readiness: Readiness,
    pub start_timeout: Duration,
    /// When the unit is restarted.
    pub policy: RestartPolicy,
    pub delay: Duration,
    pub max_delay: Duration,
    /// Restarts allowed within `window`.
    pub budget: u32,
    /// The window of `budget`.
    pub window: Duration,
    /// Time from the first signal to SIGKILL.
    pub stop_timeout: Duration,
    /// Maximum time between signs of life once it is ready.
    pub watchdog: Option<Duration>,
    /// Why it must not run on this node, if that is known from the beginning.
    pub held: Option<String>,
}

impl Settings {
    /// Extracts the settings of `units`, which are in start order.
    pub fn from_units<'a>(units: impl Iterator<Item = &'a Unit> + Clone) -> Vec<Self> {
        let ids: HashMap<&str, UnitId> = units
            .clone()
            .enumerate()
            .map(|(index, unit)| (unit.name.as_str(), UnitId(index)))
            .collect();
        units
            .map(|unit| {
                let known = |names: &[UnitName]| {
                    names.iter().filter_map(|name| ids.get(name.as_str()).copied()).collect()
                };
                Self {
                    name: unit.name.to_string(),
                    unit_type: unit.unit_type,
                    base: unit.base,
                    needs: known(&unit.needs),
                    after: known(&unit.after),
                    stops_last: unit.name.as_str() == octet_appliance::LOGGER,
                    readiness: unit.readiness,
                    start_timeout: unit.start.timeout.duration(),
                    policy: unit.restart_policy(),
                    delay: unit.restart.delay.duration(),
                    max_delay: unit.restart.max_delay.duration(),
                    budget: unit.restart.budget,
                    window: unit.restart.window.duration(),
                    stop_timeout: unit.stop.timeout.duration(),
                    watchdog: unit.watchdog.map(octet_appliance::TimeSpan::duration),
                    held: None,
                }
            })
            .collect()
    }
}
