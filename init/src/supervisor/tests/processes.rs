//! The processes of a unit, as the kernel would know them, and their future behaviour.

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Healthy,
    /// It exits with this status, before it is ready or later.
    Dies(i32),
    /// It ignores the stop signal.
    Deaf,
    /// It hangs: it is never ready, never alive, and ignores signals.
    Hangs,
    /// Not even SIGKILL ends it.
    Undying,
    /// It cannot be started at all.
    Refused(bool),
}

#[derive(Debug, Clone, Copy)]
pub struct Main {
    pub fate: Fate,
    /// The core was notified that its program runs.
    pub spawned: bool,
    pub said_ready: bool,
    pub asked: bool,
    pub killed: bool,
}

/// The processes of one unit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Processes {
    pub main: Option<Main>,
    /// Children that outlived the main process: whether the signals they received end them.
    pub leftovers: Option<bool>,
    /// The core is still to be notified that its cgroup is empty.
    pub owes_emptied: bool,
    /// The event of its start comes after the event of its end.
    pub owes_spawned: bool,
}

impl Processes {
    pub fn any(&self) -> bool {
        self.main.is_some() || self.leftovers.is_some()
    }
}

impl Main {
    /// Its exit status, if it ends now.
    pub fn ending(&self, settings: &Settings) -> Option<ProcessExit> {
        let one_shot = settings.unit_type == UnitType::OneShot;
        match self.fate {
            Fate::Undying => None,
            _ if self.killed => Some(ProcessExit::Signal(9)),
            Fate::Dies(status) => Some(ProcessExit::Status(status)),
            Fate::Healthy if self.asked && one_shot => Some(ProcessExit::Signal(15)),
            Fate::Healthy if self.asked || one_shot => Some(ProcessExit::Status(0)),
            _ => None,
        }
    }
}
