//! Which units run on this node: according to the list of units for the board's number, which the
//! builder has written, or according to the verb `place`.

use std::collections::BTreeSet;

use octet_appliance::{Unit, format_boards};
use octet_control::{Arguments, Failure, FailureCode};

use super::Edge;
use super::sockets;
use crate::supervisor::{SupervisorEvent, UnitId, UnitState};

/// Why a unit is held that is placed on some boards, while this board's number is unknown.
const NUMBER_UNKNOWN: &str = "waits for the board's number";

/// Why a unit is held that `place` has placed on other boards.
const ELSEWHERE: &str = "is for other boards";

#[derive(Debug, Clone)]
pub struct BoardPlacement {
    units: Vec<Placed>,
    /// The last `place`, which overrides the list of units until the next boot.
    assignment: Option<Assignment>,
}

#[derive(Debug, Clone)]
struct Placed {
    name: String,
    /// The boards in the list of units; `None` means all nodes.
    boards: Option<Vec<u8>>,
    /// Why it cannot be placed.
    unplaceable_reason: Option<&'static str>,
    /// Why it does not run here, as reported to the core.
    held: Option<String>,
}

/// The arguments of `place`.
#[derive(Debug, Clone)]
struct Assignment {
    /// Units that run on some boards only.
    placed: BTreeSet<UnitId>,
    /// Those of them that run here.
    local: BTreeSet<UnitId>,
}

impl BoardPlacement {
    /// The placement of `units`, which are in start order, on `board`, if its number is known.
    pub fn new(units: &[Unit], board: Option<u8>) -> Self {
        let placed = |unit: &Unit| Placed {
            name: unit.name.to_string(),
            boards: unit.boards.clone(),
            unplaceable_reason: unit.unplaceable_reason(),
            held: None,
        };
        let mut placement = Self { units: units.iter().map(placed).collect(), assignment: None };
        placement.reconcile(board);
        placement
    }

    /// Why `unit` does not run here, if so.
    pub fn held(&self, unit: UnitId) -> Option<&str> {
        self.units[unit.0].held.as_deref()
    }

    /// Sets which units run here: of the units that run on some boards only (`placed`, or those of
    /// the list) these.
    ///
    /// # Errors
    /// A name is not valid here. Nothing has changed.
    pub fn assign(&mut self, local: &str, placed: Option<&str>) -> Result<(), Failure> {
        let placed = match placed {
            None => self.ids(|unit| unit.boards.is_some()),
            Some(names) => {
                let placed = self.parse_units(names)?;
                let mut wrong = placed.iter().map(|id| &self.units[id.0]);
                if let Some((unit, why)) = wrong.find_map(|it| Some((it, it.unplaceable_reason?))) {
                    let message = format!("unit `{}` {why}", unit.name);
                    return Err(bad_argument(message, "leave it out"));
                }
                placed
            }
        };
        let local = self.parse_units(local)?;
        if let Some(id) = local.iter().find(|id| !placed.contains(id)) {
            let message = format!("unit `{}` is not one of some boards", self.units[id.0].name);
            let known: Vec<&str> = placed.iter().map(|id| self.units[id.0].name.as_str()).collect();
            let help = match known.is_empty() {
                true => "no unit is: it runs on every node without a word".to_owned(),
                false => format!("those are: {}", known.join(", ")),
            };
            return Err(bad_argument(message, &help));
        }
        self.assignment = Some(Assignment { placed, local });
        Ok(())
    }

    /// The events for the core now that this is `board`: first units to hold, the last in start
    /// order first; then units to release.
    pub fn reconcile(&mut self, board: Option<u8>) -> Vec<SupervisorEvent> {
        let now = self.ids(|_| true).into_iter().map(|id| (id, self.hold_reason(id, board)));
        let changed: Vec<_> = now.filter(|(id, held)| *held != self.units[id.0].held).collect();
        for (id, held) in &changed {
            self.units[id.0].held.clone_from(held);
        }
        let held =
            |(id, held): &(UnitId, Option<String>)| Some(SupervisorEvent::Hold(*id, held.clone()?));
        let released = changed.iter().filter(|(_, held)| held.is_none());
        let released = released.map(|(id, _)| SupervisorEvent::Release(*id));
        changed.iter().rev().filter_map(held).chain(released).collect()
    }

    fn hold_reason(&self, unit: UnitId, board: Option<u8>) -> Option<String> {
        let by_list = self.listed_hold_reason(unit, board);
        let Some(assignment) = &self.assignment else { return by_list };
        let elsewhere = assignment.placed.contains(&unit) && !assignment.local.contains(&unit);
        // Where both give a reason, the one from the list is more precise.
        elsewhere.then(|| by_list.unwrap_or_else(|| ELSEWHERE.to_owned()))
    }

    fn listed_hold_reason(&self, unit: UnitId, board: Option<u8>) -> Option<String> {
        let boards = self.units[unit.0].boards.as_ref()?;
        match board {
            None => Some(NUMBER_UNKNOWN.to_owned()),
            Some(board) if boards.contains(&board) => None,
            Some(_) => Some(format!("is for {}", format_boards(boards))),
        }
    }

    fn ids(&self, which: impl Fn(&Placed) -> bool) -> BTreeSet<UnitId> {
        let all = self.units.iter().enumerate();
        all.filter(|(_, unit)| which(unit)).map(|(index, _)| UnitId(index)).collect()
    }

    /// Parses a comma-separated list of units, which may be empty.
    fn parse_units(&self, list: &str) -> Result<BTreeSet<UnitId>, Failure> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let find = |name: &str| {
            let found = self.units.iter().position(|unit| unit.name == name);
            let message = || format!("there is no unit `{name}`");
            let help = "name units of this image, with commas between them";
            found.map(UnitId).ok_or_else(|| bad_argument(message(), help))
        };
        names.map(find).collect()
    }
}

fn bad_argument(message: String, help: &str) -> Failure {
    Failure::new(FailureCode::BadArgument, message, help)
}

impl Edge {
    /// Handles `place`: which of the placed units run here.
    pub(super) fn place(&mut self, args: &Arguments) -> Result<(), Failure> {
        let local = args.text("units").unwrap_or_default();
        self.placement.assign(local, args.text("of"))?;
        self.reconcile_placement();
        Ok(())
    }

    /// Stops units that are not placed on this node, and releases those that are.
    pub(super) fn reconcile_placement(&mut self) {
        for event in self.placement.reconcile(self.boot.board.get()) {
            let Some(id) = event.unit() else { continue };
            let unit = &mut self.units[id.0];
            let why = match &event {
                SupervisorEvent::Hold(_, reason) => reason,
                _ => {
                    unit.open_sockets();
                    "is for this node"
                }
            };
            self.logs.log(&format!("unit {}: {why}", unit.name()));
            self.step(event);
        }
    }

    /// Closes the sockets of units that are not placed on this node, once they are stopped: a
    /// client is then refused instead of waiting for an answer that never comes.
    pub(super) fn close_held_sockets(&mut self) {
        for (index, unit) in self.units.iter_mut().enumerate() {
            let id = UnitId(index);
            if self.placement.held(id).is_some()
                && self.state.status(id).state == UnitState::Stopped
            {
                sockets::close_all(&unit.unit, std::mem::take(&mut unit.sockets));
            }
        }
    }

    /// Checks that a unit is placed on this node.
    ///
    /// # Errors
    /// It is not, or that is not known yet.
    pub(super) fn check_placed_here(&self, id: UnitId) -> Result<(), Failure> {
        let Some(reason) = self.placement.held(id) else { return Ok(()) };
        let help = match reason {
            NUMBER_UNKNOWN => {
                "it starts once the number is known: by the board's port, or by its flash"
            }
            _ => "ask a board that it is for; `services` in [[board]] of appliance.toml says which",
        };
        let message = format!("unit `{}` {reason}", self.units[id.0].name());
        Err(Failure::new(FailureCode::Denied, message, help))
    }
}

#[cfg(test)]
mod tests;
