//! A new slot on trial: where there is another one to go back to, the boot loader's entry says how long
//! this one may take to become good (docs/updates.md). If it takes longer the machine restarts: that
//! costs a try, and after the last one the boot loader takes the other.

use std::time::Duration;

use super::Edge;
use super::managed::Managed;
use crate::clock::now;
use crate::command_line;
use crate::console::say;
use crate::supervisor::{Event, Goal, Moment, UnitId, UnitState};

/// The unit that marks a slot as good.
const SLOT: &str = "slot";

/// The time that this slot has.
#[derive(Debug, PartialEq, Eq)]
pub struct Trial {
    /// The unit that ends it; without one it cannot end well.
    slot: Option<UnitId>,
    /// When the machine restarts.
    pub end: Moment,
}

impl Trial {
    /// That of the slot that was booted; nothing if it is not on trial.
    pub fn of_this_boot(units: &[Managed]) -> Option<Self> {
        let slot = units.iter().position(|unit| unit.name() == SLOT).map(UnitId);
        Self::new(&command_line::value(octet_bundle::TRIAL).ok()??, slot)
    }

    fn new(seconds: &str, slot: Option<UnitId>) -> Option<Self> {
        Some(Self { slot, end: Duration::from_secs(seconds.parse::<u32>().ok()?.into()) })
    }
}

impl Edge {
    /// Ends the trial: well, once the slot is good, or with a restart.
    pub(super) fn see_to_trial(&mut self) {
        let Some(trial) = &self.trial else { return };
        if trial.slot.is_some_and(|slot| self.status(slot).state == UnitState::Done) {
            self.trial = None;
        } else if trial.end <= now() {
            self.trial = None;
            say("the new slot is not good in time; the machine restarts");
            self.step(Event::Shutdown(Goal::Reboot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_entry_says() {
        let end = Duration::from_secs(90);
        assert_eq!(Trial::new("90", None), Some(Trial { slot: None, end }));
        for bad in ["", "-1", "90s", "4294967296"] {
            assert_eq!(Trial::new(bad, None), None, "{bad}");
        }
    }
}
