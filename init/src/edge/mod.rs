//! The edge of the supervisor: the one loop that turns what the kernel reports into events for the
//! core, and the core's actions into system calls.

mod answer;
mod client;
mod clients;
mod log_ring;
mod notify;
mod poll;
mod power;
mod process;
mod report;
mod verbs;

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use octet_appliance::Unit;
use rustix::process::Pid;

use crate::clock::now;
use crate::console::say;
use crate::phases::{Boot, Report};
use crate::supervisor::{Action, Event, Goal, Settings, State, UnitId};
use crate::units;
use clients::Clients;
use log_ring::LogRing;
use notify::Notify;
use poll::{Poll, Source};
use process::Output;

/// Everything PID 1 holds.
struct Edge {
    boot: Boot,
    problems: Vec<String>,
    state: State,
    units: Vec<Unit>,
    outputs: Vec<Output>,
    logs: Vec<LogRing>,
    processes: HashMap<Pid, UnitId>,
    notify: Option<Notify>,
    clients: Clients,
    poll: Poll,
}

/// Runs the units for as long as the machine does.
pub fn supervise(boot: Boot) -> ! {
    match Edge::new(boot) {
        Ok((edge, signals)) => edge.run(&signals),
        Err(error) => {
            say(&format!("the supervisor cannot start: {error}; the machine restarts"));
            power::down(Goal::Reboot)
        }
    }
}

impl Edge {
    fn new(mut boot: Boot) -> std::io::Result<(Self, UnixStream)> {
        let start = now();
        let poll = Poll::new()?;
        let signals = watch_signals()?;
        poll.add(&signals, Source::Signals)?;
        // Ctrl-alt-del becomes a SIGINT to PID 1 instead of a reset.
        let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);

        let mut problems = Vec::new();
        let units = units::load().unwrap_or_else(|problem| {
            problems.push(problem);
            vec![]
        });
        let state = State::new(Settings::from_units(units.iter()));
        let mut outputs = Vec::with_capacity(units.len());
        for index in 0..units.len() {
            let output = Output::new()?;
            poll.add(output.reader(), Source::Output(UnitId(index)))?;
            outputs.push(output);
        }
        std::fs::create_dir_all(octet_control::SOCKETS)?;
        let notify = Notify::bind().map_err(|error| problems.push(format!("notify: {error}"))).ok();
        if let Some(notify) = &notify {
            poll.add(notify.socket(), Source::Notify)?;
        }
        let mut clients = Clients::default();
        if let Err(error) = clients.listen(&poll) {
            problems.push(format!("control socket: {error}"));
        }
        clients.open_port(&poll);
        boot.reports.push(Report {
            name: "supervise",
            start,
            took: now() - start,
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
        });
        let logs = units.iter().map(|_| LogRing::default()).collect();
        let processes = HashMap::new();
        let edge =
            Self { boot, problems, state, units, outputs, logs, processes, notify, clients, poll };
        Ok((edge, signals))
    }

    fn run(mut self, signals: &UnixStream) -> ! {
        for problem in &self.problems {
            say(problem);
        }
        self.step(Event::Boot);
        loop {
            let deadline =
                [self.state.next_deadline(), self.clients.next_try()].into_iter().flatten();
            let timeout = deadline.min().map(|deadline| deadline.saturating_sub(now()));
            let unfinished = self.clients.take_unfinished();
            let timeout = if unfinished.is_empty() { timeout } else { Some(Duration::ZERO) };
            for source in self.poll.wait(timeout) {
                self.serve(source, signals);
            }
            for token in unfinished {
                self.serve_client(token);
            }
            if self.clients.next_try().is_some_and(|due| due <= now()) {
                self.clients.open_port(&self.poll);
            }
            self.step(Event::Tick);
            self.push_to_watchers();
        }
    }

    fn serve(&mut self, source: Source, signals: &UnixStream) {
        match source {
            Source::Signals => self.serve_signals(signals),
            Source::Output(unit) => self.logs[unit.0].read_from(self.outputs[unit.0].reader()),
            Source::Notify => {
                let senders = self.notify.as_ref().map(Notify::ready_senders).unwrap_or_default();
                for pid in senders {
                    if let Some(&unit) = self.processes.get(&pid) {
                        self.step(Event::Ready(unit));
                    }
                }
            }
            Source::Listener => self.clients.accept(&self.poll),
            Source::Client(token) => self.serve_client(token),
        }
    }

    fn serve_signals(&mut self, mut signals: &UnixStream) {
        use std::io::Read;

        // Every delivery puts one byte into the pipe; which signal it was is kept by `reap` and
        // the flags below, so the bytes themselves are only drained.
        let mut bytes = [0; 64];
        let _ = signals.read(&mut bytes);
        self.reap();
        if let Some(goal) = power::asked_by_signal() {
            self.step(Event::Shutdown(goal));
        }
    }

    /// Collects every process that has ended.
    fn reap(&mut self) {
        while let Some(ended) = process::collect_ended() {
            if let Some(unit) = self.processes.remove(&ended.pid) {
                process::kill_group(ended.pid);
                // Its last words come before the news of its end.
                self.logs[unit.0].read_from(self.outputs[unit.0].reader());
                self.step(Event::Exited(unit, ended.exit));
            }
        }
    }

    /// Lets the core take one event, and does what it says until it is content.
    fn step(&mut self, event: Event) {
        let quiet = event == Event::Tick;
        let mut events = vec![event];
        let mut changed = !quiet;
        while let Some(event) = events.pop() {
            for action in self.state.step(event, now()) {
                changed = true;
                events.extend(self.act(action));
            }
        }
        if changed {
            self.clients.changed();
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Start(id) => {
                let started = process::start(&self.units[id.0], &self.outputs[id.0]);
                return Some(match started {
                    Ok(pid) => {
                        self.processes.insert(pid, id);
                        Event::Spawned(id)
                    }
                    Err(refusal) => Event::SpawnFailed(id, refusal),
                });
            }
            Action::Ask(id) => {
                if let Some(pid) = self.pid_of(id) {
                    process::signal(pid, process::number(self.units[id.0].stop.signal));
                }
            }
            Action::Kill(id) => {
                if let Some(pid) = self.pid_of(id) {
                    process::kill_group(pid);
                }
            }
            Action::Finish(goal) => {
                self.clients.flush();
                power::down(goal);
            }
        }
        None
    }

    fn pid_of(&self, unit: UnitId) -> Option<Pid> {
        self.processes.iter().find(|(_, id)| **id == unit).map(|(pid, _)| *pid)
    }
}

/// A stream that gets a byte for every signal PID 1 cares about.
fn watch_signals() -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, theirs.try_clone()?)?;
    power::watch(&theirs)?;
    Ok(ours)
}
