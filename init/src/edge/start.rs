//! Starts a unit's process, and receives the result of its `exec`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use octet_appliance::{FILTERS, Stdio};
use rustix::fs::{Mode, OFlags, open};

use super::managed::Process;
use super::poll::EventSource;
use super::{Edge, notify};
use crate::facts;
use crate::spawn::{self, SpawnOrder};
use crate::supervisor::{SpawnRefusal, SupervisorEvent, UnitId};

impl Edge {
    /// Starts the process of `id`. Whether its program could be executed is reported by a later
    /// event.
    pub(super) fn start(&mut self, id: UnitId) -> Result<(), SpawnRefusal> {
        self.make_group(id)?;
        if self.port == Some(id) {
            self.clients.release_port();
        }
        let unit = &mut self.units[id.0];
        unit.status_text = None;
        if let Some(problem) = &unit.socket_error {
            return Err(SpawnRefusal { reason: problem.clone(), transient: false });
        }
        let environment = self.environment(id);
        let unit = &self.units[id.0];
        let console = match unit.unit.stdio {
            Stdio::Log => None,
            Stdio::Console => Some(console()?),
        };
        let order = SpawnOrder {
            unit: &unit.unit,
            group: unit.group.as_ref(),
            stdout: console.as_ref().map_or_else(|| unit.output.writer(), AsFd::as_fd),
            stderr: unit.output.writer(),
            passed: self.passed_descriptors(id),
            empty_network: self.prepared.empty_network.as_ref().map(AsFd::as_fd),
            environment,
            filters: unit.unit.filters.iter().map(|name| format!("{FILTERS}/{name}")).collect(),
        };
        let child = spawn::spawn(&order)?;
        let watched = self.poll.add(&child.verdict, EventSource::Verdict(id));
        watched.map_err(|error| transient_refusal(format!("cannot be watched: {error}")))?;
        self.processes.insert(child.pid, id);
        let (pid, pidfd, verdict) = (child.pid, child.pidfd, Some(child.verdict));
        self.units[id.0].process = Some(Process { pid, pidfd, verdict, spawn_refusal: None });
        Ok(())
    }

    /// Creates the unit's control group, by which the kernel accounts, limits and kills its
    /// processes together.
    fn make_group(&mut self, id: UnitId) -> Result<(), SpawnRefusal> {
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        let unit = &mut self.units[id.0];
        if unit.group.is_none() {
            unit.group = Some(
                cgroups
                    .unit(unit.unit.name.as_str(), &unit.unit.limits)
                    .map_err(transient_refusal)?,
            );
        }
        if let (Some(io), Some(group)) = (&unit.unit.limits.io_max, &unit.group)
            && let Some((major, minor)) = facts::data_disk()
        {
            group
                .limit_io(major, minor, io)
                .map_err(|error| transient_refusal(format!("io.max: {error}")))?;
        }
        Ok(())
    }

    /// The unit's environment variables besides those of its unit file.
    fn environment(&mut self, id: UnitId) -> Vec<(String, String)> {
        let unit = &self.units[id.0].unit;
        let mut environment = vec![
            ("NOTIFY_SOCKET".to_owned(), notify::PATH.to_owned()),
            ("OCTET_UNIT".to_owned(), unit.name.to_string()),
        ];
        if let Some(callers) = self.callers.get(&unit.name) {
            environment.push(("OCTET_CALLERS".to_owned(), callers.clone()));
        }
        if let Some(watchdog) = unit.watchdog {
            let micros = watchdog.duration().as_micros().to_string();
            environment.push(("WATCHDOG_USEC".to_owned(), micros));
        }
        if self.logs.is_logger(id) {
            let rate = |unit: &&octet_appliance::Unit| {
                format!("{}={},{}", unit.name, unit.log.rate.get(), unit.log.burst.get())
            };
            let rates = self.unit_files().iter().map(rate).collect::<Vec<_>>().join(" ");
            environment.push(("OCTET_LOG_RATES".to_owned(), rates));
            environment.push(("OCTET_LOST".to_owned(), self.logs.take_dropped()));
        }
        environment
    }

    /// The descriptors that the unit is passed, by name.
    fn passed_descriptors(&self, id: UnitId) -> Vec<(String, BorrowedFd<'_>)> {
        let sockets = self.units[id.0].sockets.iter();
        let mut passed: Vec<_> =
            sockets.map(|(name, socket)| (name.clone(), socket.as_fd())).collect();
        if self.logs.is_logger(id) {
            let outputs = self.units.iter().map(|unit| (unit.name(), &unit.output));
            passed.extend(self.logs.descriptors(outputs));
        }
        passed
    }

    /// It is known whether the program of `id` was executed.
    pub(super) fn handle_exec_verdict(&mut self, id: UnitId) {
        let Some(process) = &mut self.units[id.0].process else { return };
        let Some(result) = process.verdict.as_ref().and_then(spawn::VerdictSocket::read) else {
            return;
        };
        if let Some(verdict) = process.verdict.take() {
            let _ = self.poll.remove(&verdict);
        }
        match result {
            Ok(()) => self.step(SupervisorEvent::Spawned(id)),
            // The process is about to end; then the core receives the reason.
            Err(refusal) => process.spawn_refusal = Some(refusal),
        }
    }
}

/// A refusal that may not occur again.
fn transient_refusal(reason: String) -> SpawnRefusal {
    SpawnRefusal { reason, transient: true }
}

fn console() -> Result<OwnedFd, SpawnRefusal> {
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    open("/dev/console", flags, Mode::empty())
        .map_err(|error| transient_refusal(format!("the console: {error}")))
}
