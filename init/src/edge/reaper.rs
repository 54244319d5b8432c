//! Ends of processes, and the notifications they send before.

use std::iter;

use super::Edge;
use crate::cgroup::{self, Group};
use crate::clock::now;
use crate::console::write_line;
use crate::spawn::{self, EndedProcess, Orphan};
use crate::supervisor::{BoxState, ProcessExit, SupervisorEvent, UnitId, UnitState};

/// How many ended processes are reaped in one turn: a process that starts short-lived children
/// without end must not keep PID 1 from its other work.
const MAX_REAPS_PER_TURN: usize = 16;

/// Up to this many notifications from other processes are logged, and later only when their number
/// is a power of two.
const MAX_LOGGED_UNKNOWN_SENDERS: u64 = 8;

impl Edge {
    /// Reads notifications of services. Only those of a unit's main process count.
    pub(super) fn take_notifications(&mut self) {
        let Some(notify) = &self.notify else { return };
        for (pid, notification) in notify.receive() {
            let Some(&unit) = self.processes.get(&pid) else {
                self.unknown_senders += 1;
                if self.unknown_senders <= MAX_LOGGED_UNKNOWN_SENDERS
                    || self.unknown_senders.is_power_of_two()
                {
                    let (count, pid) = (self.unknown_senders, pid.as_raw_nonzero());
                    self.logs.log(&format!(
                        "process {pid} is not the main process of a unit: what it notifies is not \
                         believed ({count} so far)"
                    ));
                }
                continue;
            };
            if let Some(text) = notification.status {
                self.units[unit.0].status_text = Some(text);
                self.clients.mark_changed();
            }
            if notification.ready {
                // That the program runs must be known before it is ready.
                self.handle_exec_verdict(unit);
                self.step(SupervisorEvent::Ready(unit));
                let name = self.units[unit.0].name();
                self.logs.log(&format!("unit {name} is ready"));
            }
            if let Some(by) = notification.extend {
                self.step(SupervisorEvent::Extended(unit, by));
            }
            if notification.alive {
                self.step(SupervisorEvent::Alive(unit));
            }
        }
    }

    /// Reaps ended processes, a limited number at a time. SIGCHLD is not repeated for the rest.
    pub(super) fn reap(&mut self) {
        // Pending notifications are handled before the end of their sender.
        self.take_notifications();
        self.reap_pending =
            take_batch(spawn::next_ended, |ended| match self.processes.remove(&ended.pid) {
                Some(unit) => {
                    let exit = ended.exit;
                    ended.reap();
                    self.main_process_ended(unit, exit);
                }
                None => self.orphan_ended(ended),
            });
        self.report_emptied();
    }

    fn main_process_ended(&mut self, id: UnitId, exit: ProcessExit) {
        self.handle_exec_verdict(id);
        let unit = &mut self.units[id.0];
        let Some(mut process) = unit.process.take() else { return };
        if let Some(verdict) = process.verdict.take() {
            let _ = self.poll.remove(&verdict);
        }
        let name = unit.name().to_owned();
        if let Some(refusal) = process.spawn_refusal {
            self.step(SupervisorEvent::SpawnFailed(id, refusal));
            self.log_failure(id);
        } else {
            let left = cgroup::kill_all(unit.group.as_ref(), process.pid);
            if left {
                self.clearing.push(id);
            }
            self.step(SupervisorEvent::Exited(id, exit));
            self.logs.log(&format!("unit {name} {exit}"));
            if !left {
                self.step(SupervisorEvent::Emptied(id));
                self.log_failure(id);
            }
        }
    }

    /// A process ended that was not a unit's main process.
    fn orphan_ended(&mut self, ended: EndedProcess) {
        let Orphan { pid, name, unit, exit } = ended.orphan();
        ended.reap();
        let whose = unit.map_or_else(|| "no unit".to_owned(), |unit| format!("unit {unit}"));
        self.logs.log(&format!("process {pid} ({name}), left behind by {whose}, {exit}"));
    }

    /// Reports to the core which units have no process left.
    pub(super) fn report_emptied(&mut self) {
        let mut index = 0;
        while index < self.clearing.len() {
            let id = self.clearing[index];
            let group = self.units[id.0].group.as_ref();
            if group.is_some_and(Group::populated) {
                index += 1;
                continue;
            }
            self.clearing.swap_remove(index);
            self.step(SupervisorEvent::Emptied(id));
            self.log_failure(id);
            // The step may have added units to the list without checking them.
            index = 0;
        }
    }

    /// Logs why a unit is not running as it should, and what follows.
    fn log_failure(&mut self, id: UnitId) {
        let follows = match self.status(id).state {
            UnitState::Failed => "it is given up".to_owned(),
            UnitState::Backoff { until } => {
                let pause = until.saturating_sub(now());
                format!("it is started again in {} ms", pause.as_millis())
            }
            _ => return,
        };
        let name = self.units[id.0].name();
        let reason = self.state.reason(id).unwrap_or_default();
        self.logs.log(&format!("unit {name}: {reason}; {follows}"));
    }

    /// Kills every process of a unit.
    pub(super) fn kill(&mut self, id: UnitId) {
        let unit = &self.units[id.0];
        if let Some(process) = &unit.process {
            cgroup::kill_all(unit.group.as_ref(), process.pid);
        }
    }

    /// Shows the progress of a shutdown on the screen.
    pub(super) fn show_shutdown_progress(&mut self, stopping: UnitId) {
        if self.state.box_state() != BoxState::Stopping {
            return;
        }
        let name = self.units[stopping.0].name();
        let progress = self.state.shutdown_progress();
        let line = progress.map_or_else(
            || format!("stopping {name}"),
            |(stopped, total)| format!("stopping {name} ({stopped} of {total} units are stopped)"),
        );
        write_line(&line);
        self.logs.log(&line);
    }
}

/// Passes what `next` returns to `take`, at most [`MAX_REAPS_PER_TURN`] times. Returns whether there may be
/// more.
fn take_batch<T>(next: impl FnMut() -> Option<T>, take: impl FnMut(T)) -> bool {
    let taken = iter::from_fn(next).take(MAX_REAPS_PER_TURN).map(take).count();
    taken == MAX_REAPS_PER_TURN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_turn_is_longer_than_it_may_be() {
        let mut ended = 0..MAX_REAPS_PER_TURN * 2 + 3;
        let mut taken = vec![];
        let mut turn = || {
            let more = take_batch(|| ended.next(), |pid| taken.push(pid));
            (taken.len(), more)
        };
        let turns = [turn(), turn(), turn(), turn()];
        let all = MAX_REAPS_PER_TURN * 2 + 3;
        assert_eq!(
            turns,
            [
                (MAX_REAPS_PER_TURN, true),
                (MAX_REAPS_PER_TURN * 2, true),
                (all, false),
                (all, false)
            ]
        );
        assert!(taken.into_iter().eq(0..all));
    }
}
