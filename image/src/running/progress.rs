//! How the machines of a box come up: in a terminal a line for each that changes, in a pipe a line for each change.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use octet_machine::{Node, State, Status, UnitState};

/// How many units are named that a machine waits for.
const MAX_NAMED: usize = 3;

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootPhase {
    /// It is on; PID 1 has not answered yet.
    Kernel,
    /// PID 1 starts units.
    Units,
    /// A board asks which it is, or to be one of the box.
    Enrolment,
    /// It waits for what the file puts on it.
    Services,
    /// There is nothing left to wait for.
    Done,
}

/// What is shown of all machines. It vanishes with the value.
pub struct BootProgress {
    began: Instant,
    bars: Option<MultiProgress>,
    rows: Mutex<BTreeMap<Node, Row>>,
}

struct Row {
    phase: BootPhase,
    bar: Option<ProgressBar>,
}

impl BootProgress {
    pub fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { began: Instant::now(), bars, rows: Mutex::default() }
    }

    /// Shows how far `node` is, and in a terminal what it waits for.
    pub fn show(&self, node: Node, phase: BootPhase, waits_for: &str) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = rows.get(&node).is_none_or(|row| row.phase != phase);
        let row = rows.entry(node).or_insert_with(|| Row { phase, bar: self.bar(node) });
        row.phase = phase;
        match &row.bar {
            Some(bar) => {
                if is_new {
                    bar.reset_elapsed();
                }
                bar.set_message(format!("{}{waits_for}", phase.text()));
            }
            None if is_new => {
                let seconds = self.began.elapsed().as_secs_f64();
                eprintln!("{:10} {} ({seconds:.1} s)", node.to_string(), phase.text());
            }
            None => {}
        }
    }

    /// Shows what PID 1 says.
    pub fn show_status(&self, node: Node, status: &Status) {
        if status.state == State::Ready {
            return self.show(node, BootPhase::Enrolment, "");
        }
        let is_there = |state| matches!(state, UnitState::Ready | UnitState::Exited);
        let missing: Vec<_> =
            status.units.iter().filter(|unit| !is_there(unit.state)).map(|it| &*it.name).collect();
        let there = status.units.len() - missing.len();
        let more = if missing.len() > MAX_NAMED { ", …" } else { "" };
        let named = missing[..missing.len().min(MAX_NAMED)].join(", ");
        self.show(
            node,
            BootPhase::Units,
            &format!(": {there} of {} are ready, {named}{more} not yet", status.units.len()),
        );
    }

    fn bar(&self, node: Node) -> Option<ProgressBar> {
        let bar = self.bars.as_ref()?.add(ProgressBar::new_spinner());
        if let Ok(style) =
            ProgressStyle::with_template("{spinner:.cyan} {prefix:10} {elapsed:.dim} {msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(node.to_string());
        bar.enable_steady_tick(Duration::from_millis(250));
        Some(bar)
    }
}

impl Drop for BootProgress {
    fn drop(&mut self) {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.values().filter_map(|row| row.bar.as_ref()).for_each(ProgressBar::finish_and_clear);
    }
}

impl BootPhase {
    fn text(self) -> &'static str {
        match self {
            Self::Kernel => "is on: its kernel boots",
            Self::Units => "starts its units",
            Self::Enrolment => "is ready: boards are taken in",
            Self::Services => "belongs to the box: its own services start",
            Self::Done => "is whole",
        }
    }
}
