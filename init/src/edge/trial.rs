//! The trial of a new slot: if there is another slot to return to, the boot loader's entry says how
//! long this one may take to become good (docs/updates.md). If it takes longer, the machine
//! restarts: that uses up a try, and after the last one the boot loader boots the other slot.
//!
//! Problems of the disk are no fault of the slot: the time in which the unit `data` works does not
//! count (it may check a file system for minutes, as its own `start.timeout` permits), and if it is
//! unclear which disk to use, another start would not help.

use std::time::Duration;

use super::Edge;
use super::board::flash_unit;
use super::managed::Managed;
use crate::clock::now;
use crate::command_line;
use crate::console::write_line;
use crate::facts;
use crate::supervisor::{Moment, ShutdownGoal, SupervisorEvent, UnitId, UnitState};

/// The unit that marks a slot as good.
const SLOT_UNIT: &str = "slot";

/// The time limit of the slot's trial.
#[derive(Debug, PartialEq, Eq)]
pub struct SlotTrial {
    /// The unit that ends the trial; without it the trial cannot succeed.
    slot: Option<UnitId>,
    /// The unit that checks the disk.
    data: Option<UnitId>,
    end: Moment,
    /// Since when the time does not count.
    paused_since: Option<Moment>,
}

impl SlotTrial {
    /// The trial of the booted slot; `None` if it is not on trial.
    pub fn for_current_boot(units: &[Managed]) -> Option<Self> {
        let slot = units.iter().position(|unit| unit.name() == SLOT_UNIT).map(UnitId);
        let seconds = command_line::value(octet_bundle::TRIAL).ok()??;
        Self::new(&seconds, slot, flash_unit(units))
    }

    fn new(seconds: &str, slot: Option<UnitId>, data: Option<UnitId>) -> Option<Self> {
        let end = Duration::from_secs(seconds.parse::<u32>().ok()?.into());
        Some(Self { slot, data, end, paused_since: None })
    }

    /// When the machine restarts, if the time counts now.
    pub fn due(&self) -> Option<Moment> {
        self.paused_since.is_none().then_some(self.end)
    }

    /// Stops or resumes counting the time, from `now` on.
    fn set_paused(&mut self, pause: bool, now: Moment) {
        match self.paused_since {
            None if pause => self.paused_since = Some(now),
            Some(since) if !pause => {
                self.end += now.saturating_sub(since);
                self.paused_since = None;
            }
            _ => {}
        }
    }
}

impl Edge {
    /// Ends the trial: successfully once the slot is good, or with a restart.
    pub(super) fn update_trial(&mut self) {
        let Some(mut trial) = self.trial.take() else { return };
        let state = |unit: Option<UnitId>| unit.map(|unit| self.status(unit).state);
        if state(trial.slot) == Some(UnitState::Exited) {
            return;
        }
        let data = state(trial.data);
        let is_lost = || facts::read(facts::DISK)["problem"].is_string();
        if trial.paused_since.is_some() && data == Some(UnitState::Failed) && is_lost() {
            self.trial = Some(trial);
            return;
        }
        trial.set_paused(matches!(data, Some(UnitState::Starting { .. })), now());
        if trial.due().is_none_or(|due| due > now()) {
            self.trial = Some(trial);
        } else if data == Some(UnitState::Failed) && is_lost() {
            write_line(
                "the new slot cannot become good without its disk; it is not given up for that",
            );
            trial.set_paused(true, now());
            self.trial = Some(trial);
        } else {
            write_line("the new slot is not good in time; the machine restarts");
            self.step(SupervisorEvent::Shutdown(ShutdownGoal::Reboot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_entry_says() {
        let end = Duration::from_secs(90);
        assert_eq!(SlotTrial::new("90", None, None).map(|trial| trial.end), Some(end));
        for bad in ["", "-1", "90s", "4294967296"] {
            assert_eq!(SlotTrial::new(bad, None, None), None, "{bad}");
        }
    }
    /// A file system check that takes an hour is no reason to return to another slot.
    #[test]
    fn a_check_of_the_disk_does_not_count() {
        let at = Duration::from_secs;
        let mut trial = SlotTrial::new("90", None, None).unwrap();
        trial.set_paused(false, at(1));
        assert_eq!(trial.due(), Some(at(90)));
        trial.set_paused(true, at(10));
        trial.set_paused(true, at(3000));
        assert_eq!(trial.due(), None);
        trial.set_paused(false, at(3610));
        trial.set_paused(false, at(3620));
        assert_eq!(trial.due(), Some(at(3690)));
    }
}
