//! Why a unit is in its state. The fact is stored, and is put into words when a client asks.

use std::time::Duration;

use octet_appliance::Readiness;

use super::{ProcessExit, Settings, State, Then, UnitId, UnitState};

/// Why a unit is not running as it should.
#[derive(Debug, Clone)]
pub enum UnitReason {
    Operator,
    /// The unit is not placed on this node, or that is not known yet; in words.
    Held(String),
    /// Its process ended by itself.
    Ended(ProcessExit),
    /// Its process ended by itself before it was ready.
    EndedEarly(ProcessExit),
    /// It exceeded its start timeout.
    NotReady,
    /// It exceeded its watchdog timeout.
    NotAlive,
    /// Its process could not be started.
    Refused(String),
    OverBudget(Box<UnitReason>),
}

impl UnitReason {
    fn words(&self, settings: &Settings) -> String {
        match self {
            Self::Operator => "stopped by the operator".into(),
            Self::Ended(exit) => exit.to_string(),
            Self::EndedEarly(exit) => format!("{exit} before it was ready"),
            Self::NotReady => {
                // This is the only kind of readiness that a program must implement itself.
                let hint = match settings.readiness {
                    Readiness::Notify => {
                        ": it did not send READY=1 (one that never does has readiness = \"exec\")"
                    }
                    _ => "",
                };
                format!("was not ready within {:?}{hint}", settings.start_timeout)
            }
            Self::NotAlive => {
                let limit = settings.watchdog.unwrap_or(Duration::ZERO);
                format!("did not send WATCHDOG=1 within {limit:?}")
            }
            Self::Held(reason) | Self::Refused(reason) => reason.clone(),
            Self::OverBudget(why) => {
                let (budget, window) = (settings.budget, settings.window);
                format!("{}; more than {budget} restarts in {window:?}", why.words(settings))
            }
        }
    }
}

impl State {
    /// Why a unit is not ready, in words.
    pub fn reason(&self, unit: UnitId) -> Option<String> {
        let slot = self.units.get(unit.0)?;
        let first = self.blocker(unit).filter(|_| slot.leaving.is_some());
        let first = first.map(|first| &self.units[first.0].settings.name);
        match (slot.state(), first) {
            (UnitState::Starting { .. } | UnitState::Ready | UnitState::Exited, Some(first)) => {
                return Some(format!("stops after {first}"));
            }
            (UnitState::Waiting, Some(first)) => {
                return Some(format!("starts after {first} stops"));
            }
            (UnitState::Waiting, None) => return self.waits_for(unit),
            _ => {}
        }
        slot.why.as_ref().map(|why| why.words(&slot.settings))
    }

    /// What a waiting unit waits for: the unit at the root of the chain, if only an operator can
    /// help there; otherwise the nearest one.
    fn waits_for(&self, unit: UnitId) -> Option<String> {
        let nearest = self.missing(unit)?;
        let mut root = nearest;
        // The number of units bounds the loop, even for a cycle, which the builder rejects.
        for _ in 0..self.units.len() {
            let next = self.missing(root).filter(|_| self.state_of(root) == UnitState::Waiting);
            root = next.unwrap_or(root);
        }
        let name = |id: UnitId| &self.units[id.0].settings.name;
        Some(match self.state_of(root) {
            UnitState::Failed => format!("needs {}, which failed", name(root)),
            UnitState::Stopped => match &self.units[root.0].why {
                Some(UnitReason::Operator) => format!("needs {}, which was stopped", name(root)),
                Some(UnitReason::Held(reason)) => format!("needs {}, which {reason}", name(root)),
                _ => format!("needs {}, which has ended", name(root)),
            },
            UnitState::Stopping { then: Then::Stop, .. }
            | UnitState::Clearing { then: Then::Stop } => {
                format!("needs {}, which is being stopped", name(root))
            }
            _ => format!("waits for {}", name(nearest)),
        })
    }

    fn state_of(&self, unit: UnitId) -> UnitState {
        self.units[unit.0].state()
    }
}
