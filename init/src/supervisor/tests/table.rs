//! Every state meets every event: the table of all transitions, made by running worlds.
//!
//! Rows and columns come from the enums, so a new state or event is in the table automatically, and
//! fails the test until a world reaches it, or it is listed below as impossible. The result is
//! compared with `testdata/transitions.txt`; `OCTET_WRITE_DOCS=1` rewrites that file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use strum::IntoEnumIterator;

use super::super::event::EventKind;
use super::super::state::StateKind;
use super::properties::any_event;
use super::script::Script;
use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/supervisor/testdata/transitions.txt");

/// Number of worlds. Half of them are enough to reach all transitions.
const SEEDS: u64 = 40_000;

/// A row: the state of a unit, and whether the machine is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    down: bool,
    kind: StateKind,
    then: Option<Outcome>,
}

impl Row {
    fn of(state: &State, unit: UnitId) -> Self {
        let now = state_of(state, unit.0);
        let then = match now {
            UnitState::Stopping { then, .. } | UnitState::Clearing { then } => Some(then),
            _ => None,
        };
        Self { down: state.shutdown.is_some(), kind: now.into(), then }
    }

    /// All rows that the types allow.
    fn all() -> Vec<Self> {
        let kinds = StateKind::iter().flat_map(|kind| match kind {
            StateKind::Stopping | StateKind::Clearing => {
                Outcome::iter().map(|then| (kind, Some(then))).collect()
            }
            _ => vec![(kind, None)],
        });
        let both = |(kind, then)| [false, true].map(|down| Self { down, kind, then });
        kinds.flat_map(both).collect()
    }

    /// Why no unit is ever seen there.
    fn impossible(self) -> Option<&'static str> {
        match (self.kind, self.then, self.down) {
            (StateKind::Stopping, Some(Outcome::Done), _) => {
                Some("who is stopped has not finished")
            }
            (StateKind::Stopping | StateKind::Clearing, Some(then), true)
                if then != Outcome::Stop =>
            {
                Some("on the way down every end is for good")
            }
            _ => None,
        }
    }

    fn name(self) -> String {
        let mut name = format!("{:?}", self.kind);
        if let Some(then) = self.then {
            let _ = write!(name, "/{then:?}");
        }
        name
    }
}

type Table = BTreeMap<(Row, EventKind), BTreeSet<String>>;

/// Runs a world of partly unexpected events, and records what they do.
fn explore(script: &mut Script, table: &mut Table) {
    let mut state = State::new(script.units(), 0);
    let count = state.units.len();
    let mut now = ms(0);
    let mut until_shutdown = script.draw(60);
    while !script.is_over() && !state.is_finished() {
        // Mostly so little that a unit waiting for a deadline is observed waiting.
        now += if script.once_in(12) { ms(3_000) } else { script.pick(&[ms(0), ms(1), ms(20)]) };
        // Due deadlines come first, so that every other event is observed alone.
        if state.next_deadline().is_some_and(|due| due <= now) {
            note(&mut state, SupervisorEvent::Tick, now, table);
            continue;
        }
        until_shutdown = until_shutdown.wrapping_sub(1);
        let event = match until_shutdown {
            0 => SupervisorEvent::Shutdown(ShutdownGoal::PowerOff),
            _ if state.shutdown.is_none() && !script.once_in(3) => likely_event(script, &state),
            _ => any_event(script, count),
        };
        note(&mut state, event, now, table);
    }
}

/// Applies an event and records the transition of its unit, or of all units.
fn note(state: &mut State, event: SupervisorEvent, now: Moment, table: &mut Table) {
    let all = 0..state.units.len();
    let (kind, unit) = (EventKind::from(&event), event.unit());
    let ids = || all.clone().map(UnitId).filter(|&id| unit.is_none_or(|unit| unit == id));
    let before: Vec<Row> = ids().map(|id| Row::of(state, id)).collect();
    state.step(event, now);
    for (id, row) in ids().zip(before) {
        let after = Row::of(state, id).name();
        table.entry((row, kind)).or_default().insert(after);
    }
}

/// A likely event of a unit: mostly a success, sometimes a failure.
fn likely_event(script: &mut Script, state: &State) -> SupervisorEvent {
    let unit = UnitId(script.draw(state.units.len()));
    match state_of(state, unit.0) {
        UnitState::Starting { .. } => {
            script.pick(&[SupervisorEvent::Spawned, SupervisorEvent::Ready])(unit)
        }
        UnitState::Clearing { .. } => SupervisorEvent::Emptied(unit),
        UnitState::Ready if script.draw(4) == 0 => {
            SupervisorEvent::Exited(unit, ProcessExit::Status(1))
        }
        _ => SupervisorEvent::Alive(unit),
    }
}

fn print(table: &Table) -> String {
    let mut text = String::from(
        "# What becomes of a unit: state and event, then all states seen after it.\n\
         # Made by the tests of the core; OCTET_WRITE_DOCS=1 writes it anew.\n",
    );
    for down in [false, true] {
        let title = if down { "The machine goes down" } else { "The machine is up" };
        let _ = write!(text, "\n## {title}\n");
        for row in Row::all().into_iter().filter(|row| row.down == down) {
            if let Some(why) = row.impossible() {
                let _ = writeln!(text, "{:16} never: {why}", row.name());
                continue;
            }
            for event in EventKind::iter() {
                let after = table.get(&(row, event)).into_iter().flatten();
                let after: Vec<&str> = after.map(String::as_str).collect();
                let event = format!("{event:?}");
                let _ = writeln!(text, "{:16} {event:12} {}", row.name(), after.join(" "));
            }
        }
    }
    text
}

#[test]
fn every_state_meets_every_event() {
    if std::env::var_os("OCTET_CASES").is_some() {
        return; // The table needs all its worlds; who wants fewer cases is in a hurry (MUTANTS.md).
    }
    let mut table = Table::new();
    for seed in 0..SEEDS {
        explore(&mut Script::of_seed(seed, 400), &mut table);
    }
    let cells = Row::all().into_iter().flat_map(|row| EventKind::iter().map(move |it| (row, it)));
    let wrong: Vec<String> = cells
        .filter(|cell| table.contains_key(cell) == cell.0.impossible().is_some())
        .map(|(row, event)| format!("{} (going down: {}) meets {event:?}", row.name(), row.down))
        .collect();
    assert!(wrong.is_empty(), "not reached, or reached though impossible:\n{}", wrong.join("\n"));
    let text = print(&table);
    if std::env::var_os("OCTET_WRITE_DOCS").is_some() {
        std::fs::write(FILE, &text).expect("the table is written");
    }
    let kept = std::fs::read_to_string(FILE).unwrap_or_default();
    assert_eq!(kept, text, "OCTET_WRITE_DOCS=1 writes {FILE} anew");
}
