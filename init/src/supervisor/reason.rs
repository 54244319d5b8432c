//! Why a unit stands where it stands. Kept as a fact, put into words when somebody asks.

use std::time::Duration;

use octet_appliance::Readiness;

use super::{ProcessExit, Settings, State, Then, UnitId, UnitState};

/// Why a unit is not as it should be.
#[derive(Debug, Clone)]
pub enum UnitReason {
    Operator,
    /// It is not for this node, or that is not known yet; in words.
    Held(String),
    /// Its process ended by itself.
    Ended(ProcessExit),
    /// Its process ended by itself, before it was ready.
    EndedEarly(ProcessExit),
    /// It took too long to get ready.
    NotReady,
    /// It was silent for too long.
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
                // Of all ways to be ready this is the one that a program has to know of.
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

    /// What a waiting unit waits for: the unit at the root of it, if only a person can help there;
    /// else the nearest.
    fn waits_for(&self, unit: UnitId) -> Option<String> {
        let nearest = self.missing(unit)?;
        let mut root = nearest;
        // As many turns as there are units: a circle, which the builder refuses, ends it too.
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
