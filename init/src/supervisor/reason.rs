//! Why a unit is in its state. The fact is stored, and is put into words when a client asks.

use std::time::Duration;

use octet_appliance::Readiness;

use super::{Outcome, ProcessExit, Settings, State, UnitId, UnitState};

/// Why a unit is not running as it should.
#[derive(Debug, Clone)]
pub enum UnitReason {
    Operator,
    /// The unit is not placed on this node, or that is not known yet; in words.
    Held(String),
    /// Its process ended by itself.
    Exited(ProcessExit),
    /// Its process ended by itself before it was ready.
    ExitedEarly(ProcessExit),
    /// It exceeded its start timeout.
    StartTimeout,
    /// It exceeded its watchdog timeout.
    WatchdogTimeout,
    /// Its process could not be started.
    SpawnFailed(String),
    OverBudget(Box<UnitReason>),
}

impl UnitReason {
    fn describe(&self, settings: &Settings) -> String {
        match self {
            Self::Operator => "stopped by the operator".into(),
            Self::Exited(exit) => exit.to_string(),
            Self::ExitedEarly(exit) => format!("{exit} before it was ready"),
            Self::StartTimeout => {
                // This is the only kind of readiness that a program must implement itself.
                let hint = match settings.readiness {
                    Readiness::Notify => {
                        ": it did not send READY=1 (one that never does has readiness = \"exec\")"
                    }
                    _ => "",
                };
                format!("was not ready within {:?}{hint}", settings.start_timeout)
            }
            Self::WatchdogTimeout => {
                let limit = settings.watchdog.unwrap_or(Duration::ZERO);
                format!("did not send WATCHDOG=1 within {limit:?}")
            }
            Self::Held(reason) | Self::SpawnFailed(reason) => reason.clone(),
            Self::OverBudget(why) => {
                let (budget, window) = (settings.budget, settings.window);
                format!("{}; more than {budget} restarts in {window:?}", why.describe(settings))
            }
        }
    }
}

impl State {
    /// Why a unit is not ready, in words.
    pub fn reason(&self, unit: UnitId) -> Option<String> {
        let slot = self.units.get(unit.0)?;
        let first = self.blocker(unit).filter(|_| slot.stop_pending.is_some());
        let first = first.map(|first| &self.units[first.0].settings.name);
        match (slot.state(), first) {
            (UnitState::Starting { .. } | UnitState::Ready | UnitState::Exited, Some(first)) => {
                return Some(format!("stops after {first}"));
            }
            (UnitState::Waiting, Some(first)) => {
                return Some(format!("starts after {first} stops"));
            }
            (UnitState::Waiting, None) => return self.describe_wait(unit),
            _ => {}
        }
        slot.reason.as_ref().map(|why| why.describe(&slot.settings))
    }

    /// What a waiting unit waits for: the unit at the root of the chain, if only an operator can
    /// help there; otherwise the nearest one.
    fn describe_wait(&self, unit: UnitId) -> Option<String> {
        let nearest = self.unmet_dependency(unit)?;
        let mut root = nearest;
        // The number of units bounds the loop, even for a cycle, which the builder rejects.
        for _ in 0..self.units.len() {
            let next =
                self.unmet_dependency(root).filter(|_| self.state_of(root) == UnitState::Waiting);
            root = next.unwrap_or(root);
        }
        let name = |id: UnitId| &self.units[id.0].settings.name;
        Some(match self.state_of(root) {
            UnitState::Failed => format!("needs {}, which failed", name(root)),
            UnitState::Stopped => match &self.units[root.0].reason {
                Some(UnitReason::Operator) => format!("needs {}, which was stopped", name(root)),
                Some(UnitReason::Held(reason)) => format!("needs {}, which {reason}", name(root)),
                _ => format!("needs {}, which has ended", name(root)),
            },
            UnitState::Stopping { then: Outcome::Stop, .. }
            | UnitState::Clearing { then: Outcome::Stop } => {
                format!("needs {}, which is being stopped", name(root))
            }
            _ => format!("waits for {}", name(nearest)),
        })
    }

    fn state_of(&self, unit: UnitId) -> UnitState {
        self.units[unit.0].state()
    }
}
