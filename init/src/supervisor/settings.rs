//! What the core needs to know of a unit.

use std::collections::HashMap;
use std::time::Duration;

use octet_appliance::{Readiness, RestartPolicy, Unit, UnitName, UnitType};

use super::UnitId;

/// The part of a unit that decides when it starts and stops.
#[derive(Debug, Clone)]
pub struct Settings {
    pub name: String,
    /// What kind of unit it is.
    pub unit_type: UnitType,
    /// Whether the box is ready only once it is.
    pub base: bool,
    /// Must be ready before it starts.
    pub needs: Vec<UnitId>,
    /// Must have settled before it starts.
    pub after: Vec<UnitId>,
    /// Stops only after every unit that it does not itself wait for: what they say last is still
    /// heard.
    pub stops_last: bool,
    /// How it says that it is ready.
    pub readiness: Readiness,
    pub start_timeout: Duration,
    /// When it is started again.
    pub policy: RestartPolicy,
    pub delay: Duration,
    pub max_delay: Duration,
    /// Restarts allowed within `window`.
    pub budget: u32,
    /// See `budget`.
    pub window: Duration,
    /// From the first signal to SIGKILL.
    pub stop_timeout: Duration,
    /// The longest it may be silent once it is ready.
    pub watchdog: Option<Duration>,
    /// Why it is not to run on this node, if that is so from the beginning.
    pub held: Option<String>,
}

impl Settings {
    /// Takes what the core needs from `units`, which are in start order.
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
