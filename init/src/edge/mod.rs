//! The edge of the supervisor: the event loop that turns what the kernel reports into events for
//! the core, and the core's actions into system calls.

mod answer;
mod board;
mod board_sensors;
mod callers;
mod client;
mod clients;
mod logs;
mod managed;
mod notify;
mod output;
mod placement;
mod poll;
mod power;
mod reaper;
mod report;
mod sockets;
mod start;
mod status_led;
mod trial;
mod verbs;
mod watchdog;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use octet_appliance::{LOGGER, Unit, UnitName};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

use crate::cgroup::Cgroups;
use crate::clock::now;
use crate::console::write_line;
use crate::phases::{BootFacts, PhaseReport};
use crate::spawn;
use crate::supervisor::{
    EdgeAction, Moment, Settings, ShutdownGoal, State, SupervisorEvent, UnitId, UnitState,
    UnitStatus,
};
use crate::units;
use clients::ControlClients;
use logs::Logs;
use managed::Managed;
use notify::Notify;
use placement::BoardPlacement;
use poll::{EventSource, Poll};
use status_led::StatusLed;
use trial::SlotTrial;
use watchdog::Watchdog;

/// Limit of open files of PID 1: some for each unit.
const OPEN_FILES: u64 = 16 << 10;

/// The unit that owns the control port, and passes its users' calls to other units.
const PORT_UNIT: &str = "port";

/// How often PID 1 checks whether the last processes of a unit are gone; usually their SIGCHLD
/// arrives first.
const CLEARING_DELAY: Moment = Moment::from_millis(50);

/// The state of PID 1.
struct Edge {
    boot: BootFacts,
    problems: Vec<String>,
    state: State,
    units: Vec<Managed>,
    placement: BoardPlacement,
    /// Who may call each unit.
    callers: HashMap<UnitName, String>,
    cgroups: Option<Cgroups>,
    prepared: spawn::Prepared,
    /// Units by their main process.
    processes: HashMap<Pid, UnitId>,
    /// Units whose main process has ended, but not yet all others.
    clearing: Vec<UnitId>,
    /// How many notifications came from other processes than a unit's main process.
    unknown_senders: u64,
    /// Whether there may be ended processes that were not reaped in their turn.
    reap_pending: bool,
    notify: Option<Notify>,
    logs: Logs,
    clients: ControlClients,
    watchdog: Watchdog,
    led: StatusLed,
    /// The unit that reads the board's number from the flash, until it has.
    flash: Option<UnitId>,
    /// The unit that owns the control port.
    port: Option<UnitId>,
    /// Set while a new slot is on trial.
    trial: Option<SlotTrial>,
    poll: Poll,
}

/// Runs the units until the machine goes down.
pub fn supervise(boot: BootFacts) -> ! {
    match Edge::new(boot) {
        Ok((edge, signals)) => edge.run(&signals),
        Err(error) => {
            write_line(&format!("the supervisor cannot start: {error}; the machine restarts"));
            power::shut_down(ShutdownGoal::Reboot)
        }
    }
}

impl Edge {
    fn new(mut boot: BootFacts) -> std::io::Result<(Self, UnixStream)> {
        let start = now();
        let mut problems: Vec<String> =
            boot.cgroups.as_ref().and_then(Cgroups::problem).into_iter().collect();
        let limit = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
        if getrlimit(Resource::Nofile).current < limit.current {
            let _ = setrlimit(Resource::Nofile, limit);
        }
        let poll = Poll::new()?;
        let signals = watch_signals()?;
        poll.add(&signals, EventSource::Signals)?;
        // Ctrl-alt-del becomes a SIGINT to PID 1 instead of a reset.
        let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);

        let units = units::load().unwrap_or_else(|problem| {
            problems.push(problem);
            vec![]
        });
        std::fs::create_dir_all(octet_control::SOCKETS)?;
        let placement = BoardPlacement::new(&units, boot.board.get());
        let mut settings = Settings::from_units(units.iter());
        for (index, settings) in settings.iter_mut().enumerate() {
            settings.held = placement.held(UnitId(index)).map(str::to_owned);
        }
        let state = State::new(settings, seed());
        let callers = callers::permitted_verbs(&units);
        let operators = callers::operators(&units);
        let group = operators.first().copied();
        let managed = units.into_iter().map(|unit| Managed::new(unit, group));
        let mut units = managed.collect::<std::io::Result<Vec<_>>>()?;
        for (index, unit) in units.iter_mut().enumerate() {
            if placement.held(UnitId(index)).is_none() {
                unit.open_sockets();
            }
        }
        let flash = board::flash_unit(&units);
        let logger = units.iter().position(|unit| unit.name() == LOGGER).map(UnitId);
        let notify = Notify::bind().map_err(|error| problems.push(format!("notify: {error}"))).ok();
        if let Some(notify) = &notify {
            poll.add(notify.socket(), EventSource::Notify)?;
        }
        let mut clients = ControlClients::default();
        if let Err(error) = clients.listen(&poll, operators) {
            problems.push(format!("control socket: {error}"));
        }
        let port = units.iter().position(|unit| unit.name() == PORT_UNIT).map(UnitId);
        if port.is_none() {
            clients.claim_port();
        }
        let (prepared, failed) = spawn::prepare();
        problems.extend(failed);
        boot.reports.push(PhaseReport {
            name: "supervise",
            start,
            elapsed: now() - start,
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
        });
        let edge = Self {
            cgroups: boot.cgroups.take(),
            prepared,
            trial: SlotTrial::for_current_boot(&units),
            boot,
            problems,
            state,
            units,
            placement,
            callers,
            processes: HashMap::new(),
            clearing: vec![],
            unknown_senders: 0,
            reap_pending: false,
            notify,
            logs: Logs::new(logger)?,
            clients,
            watchdog: Watchdog::default(),
            led: StatusLed::default(),
            flash,
            port,
            poll,
        };
        Ok((edge, signals))
    }

    fn run(mut self, signals: &UnixStream) -> ! {
        for problem in &self.problems {
            write_line(problem);
        }
        self.step(SupervisorEvent::Boot);
        loop {
            let unfinished = self.clients.take_unfinished();
            let timeout = self.next_deadline().map(|deadline| deadline.saturating_sub(now()));
            let more_ended = self.reap_pending;
            let is_behind = more_ended || !unfinished.is_empty();
            let timeout = if is_behind { Some(Duration::ZERO) } else { timeout };
            for source in self.poll.wait(timeout) {
                self.serve(source, signals);
            }
            for token in unfinished {
                self.serve_client(token);
            }
            if more_ended {
                self.reap();
            }
            if self.clients.next_attempt().is_some_and(|due| due <= now()) {
                self.clients.open_port(&self.poll);
            }
            self.report_emptied();
            self.step(SupervisorEvent::Tick);
            self.update_trial();
            self.update_watchdog();
            self.push_to_watchers();
        }
    }

    /// Opens the control port while the unit that owns it does not run, so that an operator there
    /// can find out why.
    fn update_port(&mut self) {
        use UnitState::{Backoff, Exited, Failed, Stopped};

        let state = self.port.map(|port| self.status(port).state);
        if matches!(state, Some(Backoff { .. } | Exited | Failed | Stopped)) {
            self.clients.claim_port();
        }
    }

    /// Feeds the watchdog, and looks for it first: its driver may be loaded by a unit.
    fn update_watchdog(&mut self) {
        let now = now();
        if let Some(line) = self.watchdog.probe(now) {
            self.logs.log(&line);
        }
        self.watchdog.feed(now, self.state.next_deadline());
    }

    /// When timed work is due next.
    fn next_deadline(&self) -> Option<Moment> {
        let clearing = (!self.clearing.is_empty()).then(|| now() + CLEARING_DELAY);
        let trial = self.trial.as_ref().and_then(SlotTrial::due);
        let (state, clients) = (self.state.next_deadline(), self.clients.next_attempt());
        let all = [state, clients, self.watchdog.next(), trial, clearing];
        all.into_iter().flatten().min()
    }

    fn serve(&mut self, source: EventSource, signals: &UnixStream) {
        match source {
            EventSource::Signals => self.serve_signals(signals),
            EventSource::Output(UnitId(unit)) => {
                let unit = &self.units[unit];
                self.logs.drain(unit.name(), &unit.output);
            }
            EventSource::OwnOutput => self.logs.drain_own(),
            EventSource::Verdict(unit) => self.handle_exec_verdict(unit),
            EventSource::Notify => self.take_notifications(),
            EventSource::Listener => self.clients.accept(&self.poll),
            EventSource::Client(token) => self.serve_client(token),
        }
    }

    fn serve_signals(&mut self, mut signals: &UnixStream) {
        use std::io::Read;

        // Every signal puts one byte into the pipe; `reap` and the flags below know which signal it
        // was, so the bytes themselves are only drained.
        let mut bytes = [0; 64];
        let _ = signals.read(&mut bytes);
        self.reap();
        if let Some(goal) = power::requested_by_signal() {
            self.step(SupervisorEvent::Shutdown(goal));
        }
    }

    /// Passes one event to the core, and executes its actions until there are none left.
    fn step(&mut self, event: SupervisorEvent) {
        let quiet = event == SupervisorEvent::Tick;
        let mut events = vec![event];
        let mut changed = !quiet;
        while let Some(event) = events.pop() {
            #[cfg(feature = "fault")]
            crate::fault::at_step();
            for action in self.state.step(event, now()) {
                changed = true;
                events.extend(self.execute(action));
            }
        }
        if changed {
            self.poll_flash();
            self.close_held_sockets();
            self.update_port();
            self.led.show(self.state.box_state());
            self.clients.mark_changed();
            let logger = self.logs.logger().map(|unit| self.status(unit).state);
            let outputs = self.units.iter().enumerate();
            let outputs = outputs.map(|(index, unit)| (UnitId(index), &unit.output));
            self.logs.update_draining(logger, outputs, &self.poll);
        }
    }

    fn execute(&mut self, action: EdgeAction) -> Option<SupervisorEvent> {
        match action {
            EdgeAction::Start(id) => {
                return self
                    .start(id)
                    .err()
                    .map(|refusal| SupervisorEvent::SpawnFailed(id, refusal));
            }
            EdgeAction::RequestStop(id) => {
                self.show_shutdown_progress(id);
                let unit = &self.units[id.0];
                if let Some(process) = &unit.process {
                    spawn::signal_through(process.pidfd.as_fd(), unit.unit.stop.signal);
                }
            }
            EdgeAction::Kill(id) => self.kill(id),
            EdgeAction::Finish(goal) => {
                self.clients.flush();
                let left: Vec<&str> = self.state.running().collect();
                if !left.is_empty() {
                    write_line(&format!("could not be stopped in time: {}", left.join(", ")));
                }
                power::shut_down(goal);
            }
        }
        None
    }

    fn status(&self, unit: UnitId) -> &UnitStatus {
        self.state.status(unit)
    }

    fn unit_files(&self) -> Vec<&Unit> {
        self.units.iter().map(|unit| &unit.unit).collect()
    }
}

/// A seed that differs between boards, so that not all of them retry at the same time.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    let flags = rustix::rand::GetRandomFlags::NONBLOCK | rustix::rand::GetRandomFlags::INSECURE;
    let _ = rustix::rand::getrandom(&mut bytes, flags);
    u64::from_ne_bytes(bytes)
}

/// A stream that receives a byte for every signal PID 1 handles.
fn watch_signals() -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, theirs.try_clone()?)?;
    power::watch(&theirs)?;
    Ok(ours)
}
