//! A world of processes that behave as badly as possible, simulated from the actions alone.

use super::processes::{Fate, Main, Processes};
use super::rules::Rules;
use super::script::Script;
use super::*;

pub struct World {
    pub state: State,
    pub processes: Vec<Processes>,
    pub now: Moment,
    pub finished: Option<Moment>,
    pub rules: Rules,
    pub script: Script,
    /// Whether processes may ignore SIGKILL.
    pub cruel: bool,
}

/// Something that may happen next.
#[derive(Debug, Clone, Copy)]
enum Next {
    Spawned(UnitId),
    Refused(UnitId, bool),
    Ready(UnitId),
    Exited(UnitId, ProcessExit),
    Emptied(UnitId),
}

impl World {
    pub fn new(mut script: Script, cruel: bool) -> Self {
        let units = script.units();
        Self {
            processes: vec![Processes::default(); units.len()],
            rules: Rules::new(&units),
            state: State::new(units, script.draw(1 << 16) as u64),
            now: ms(0),
            finished: None,
            script,
            cruel,
        }
    }

    /// The core handles an event, and its actions are executed.
    pub fn event(&mut self, event: SupervisorEvent) {
        self.rules.before(&event, self.now);
        for action in self.state.step(event, self.now) {
            self.rules.check(&self.state, &self.processes, action, self.now);
            self.act(action);
        }
        self.rules.after(&self.state, self.now);
    }

    fn act(&mut self, action: EdgeAction) {
        match action {
            EdgeAction::Start(unit) => {
                let fate = match self.script.draw(9) {
                    0..4 => Fate::Healthy,
                    4 | 5 => Fate::Dies(self.script.draw(2) as i32),
                    6 => Fate::Deaf,
                    7 => Fate::Refused(self.script.draw(2) == 0),
                    _ if self.cruel && self.script.draw(2) == 1 => Fate::Undying,
                    _ => Fate::Hangs,
                };
                let new =
                    Main { fate, spawned: false, said_ready: false, asked: false, killed: false };
                self.processes[unit.0] = Processes { main: Some(new), ..Processes::default() };
            }
            EdgeAction::RequestStop(unit) => {
                let main = self.processes[unit.0].main.as_mut();
                main.expect("there is nobody to ask").asked = true;
            }
            EdgeAction::Kill(unit) => {
                let Processes { main, leftovers, .. } = &mut self.processes[unit.0];
                if let Some(main) = main {
                    main.killed = true;
                }
                if let Some(dies) = leftovers {
                    *dies = true;
                }
            }
            EdgeAction::Finish(_) => self.finished = Some(self.now),
        }
    }

    /// What the processes may do next.
    fn nexts(&self) -> Vec<Next> {
        let mut nexts = Vec::new();
        for (index, processes) in self.processes.iter().enumerate() {
            let unit = UnitId(index);
            let settings = &self.state.units[index].settings;
            match processes.main {
                Some(Main { fate: Fate::Refused(transient), .. }) => {
                    nexts.push(Next::Refused(unit, transient));
                }
                Some(main) => {
                    if !main.spawned {
                        nexts.push(Next::Spawned(unit));
                    }
                    let speaks = !main.said_ready && !matches!(main.fate, Fate::Hangs);
                    if speaks && settings.readiness == Readiness::Notify {
                        nexts.push(Next::Ready(unit));
                    }
                    nexts.extend(main.ending(settings).map(|exit| Next::Exited(unit, exit)));
                }
                None => {
                    if processes.owes_spawned {
                        nexts.push(Next::Spawned(unit));
                    }
                    let gone = processes.leftovers.is_none() || processes.leftovers == Some(true);
                    if processes.owes_emptied && gone {
                        nexts.push(Next::Emptied(unit));
                    }
                }
            }
        }
        nexts
    }

    fn happen(&mut self, next: Next) {
        match next {
            Next::Spawned(unit) => {
                let processes = &mut self.processes[unit.0];
                processes.owes_spawned = false;
                if let Some(main) = &mut processes.main {
                    main.spawned = true;
                }
                self.event(SupervisorEvent::Spawned(unit));
            }
            Next::Refused(unit, transient) => {
                self.processes[unit.0] = Processes::default();
                self.event(SupervisorEvent::SpawnFailed(unit, refusal(transient)));
            }
            Next::Ready(unit) => {
                if let Some(main) = &mut self.processes[unit.0].main {
                    main.said_ready = true;
                }
                self.event(SupervisorEvent::Ready(unit));
            }
            Next::Exited(unit, exit) => {
                let leaves = self.script.once_in(3);
                let undying = self.cruel && self.script.once_in(9);
                let processes = &mut self.processes[unit.0];
                let seen = processes.main.take().is_some_and(|main| main.spawned);
                processes.owes_spawned = !seen;
                // An undying child causes no event: nobody is ever notified of its end.
                processes.leftovers = (leaves || undying).then_some(false);
                processes.owes_emptied = !undying;
                self.event(SupervisorEvent::Exited(unit, exit));
            }
            Next::Emptied(unit) => {
                self.processes[unit.0] = Processes::default();
                self.event(SupervisorEvent::Emptied(unit));
            }
        }
    }

    /// Lets something happen; time passes if there is nothing else. Returns false when quiet.
    pub fn turn(&mut self) -> bool {
        let nexts = self.nexts();
        if !nexts.is_empty() && !self.script.once_in(9) {
            let next = self.script.pick(&nexts);
            self.happen(next);
            return true;
        }
        self.live();
        let nexts = self.nexts();
        // Watchdogs of living units are due for ever.
        let quiet = !self.state.units.iter().any(|slot| {
            let watched = slot.status.state == UnitState::Ready;
            slot.due.is_some() && !watched
        });
        let going_down = self.state.box_state() == BoxState::Stopping;
        let hangs = |index: usize| !self.lives(UnitId(index));
        let silent = (0..self.processes.len())
            .any(|index| self.state.units[index].due.is_some() && hangs(index));
        if nexts.is_empty() && quiet && !silent && !going_down {
            return false;
        }
        let Some(deadline) = self.state.next_deadline() else { return !nexts.is_empty() };
        self.now = self.now.max(deadline);
        self.event(SupervisorEvent::Tick);
        true
    }

    /// Whether its process notifies that it is alive.
    pub fn lives(&self, unit: UnitId) -> bool {
        let fate = self.processes[unit.0].main.map(|main| main.fate);
        matches!(fate, Some(Fate::Healthy | Fate::Deaf | Fate::Undying))
    }

    /// All processes that can notify that they are alive.
    fn live(&mut self) {
        for unit in (0..self.processes.len()).map(UnitId) {
            if self.lives(unit) {
                self.event(SupervisorEvent::Alive(unit));
            }
        }
    }

    /// As [`turn`](Self::turn), but sometimes an operator acts, time passes, or the kernel repeats
    /// an event.
    pub fn wild_turn(&mut self) -> bool {
        let unit = UnitId(self.script.draw(self.processes.len()));
        match self.script.draw(18) {
            9 => self.event(SupervisorEvent::Start(unit)),
            10 | 11 => self.event(SupervisorEvent::Stop(unit)),
            12 => self.event(SupervisorEvent::Restart(unit)),
            13 => self.event(SupervisorEvent::Alive(unit)),
            14 if !self.processes[unit.0].any() => self.event(SupervisorEvent::Emptied(unit)),
            14 => self.event(SupervisorEvent::Boot),
            16 => self.event(SupervisorEvent::Hold(unit, NOT_HERE.into())),
            17 => self.event(SupervisorEvent::Release(unit)),
            15 => {
                self.now += self.script.pick(&[ms(1), ms(500), ms(11_000)]);
                self.event(SupervisorEvent::Tick);
            }
            _ => return self.turn(),
        }
        true
    }
}
