//! A running machine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use octet_control::CallError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::architecture::Architecture;
use crate::builder::{BootFrom, Builder};
use crate::capture::Capture;
use crate::control::{Control, is_late};
use crate::disk::Disk;
use crate::error::{MachineError, Tail};
use crate::exit::Exit;
use crate::qmp::Qmp;
use crate::slot::Slot;
use crate::spawn::Process;
use crate::status::{Boot, State, Status};

/// How long a verb or a QMP command may take. Long, because the host may be busy.
const ANSWER: Duration = Duration::from_secs(60);

/// How long a watch goes on without news before it is asked for again: on a serial port a request
/// can get lost (see [`connect`](crate::connect)).
const WATCH: Duration = Duration::from_secs(5);

/// How much of the console an error shows.
const TAIL: usize = 20;

/// A running machine. When the value goes, QEMU is killed and its folder removed.
pub struct Machine {
    // Dropped in this order: the process before the folder and the slot.
    pub(crate) process: Process,
    pub(crate) qmp: Qmp,
    pub(crate) console: Capture,
    pub(crate) errors: Capture,
    pub(crate) control: Control,
    pub(crate) started: Instant,
    pub(crate) folder: PathBuf,
    pub(crate) _made: Option<TempDir>,
    pub(crate) _slot: Option<Slot>,
}

impl Machine {
    /// A machine that boots `kernel` with `initrd`.
    pub fn builder(kernel: impl Into<PathBuf>, initrd: impl Into<PathBuf>) -> Builder {
        Builder::new(BootFrom::Kernel { kernel: kernel.into(), initrd: initrd.into() })
    }

    /// A machine whose firmware boots `disk`.
    pub fn from_disk(architecture: Architecture, disk: Disk) -> Builder {
        Builder::new(BootFrom::Firmware).architecture(architecture).disk(disk)
    }

    /// When QEMU was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The folder of its sockets and its log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket of the control port.
    pub fn control_path(&self) -> &Path {
        self.control.path()
    }

    /// Its serial console.
    pub fn console(&self) -> &Capture {
        &self.console
    }

    /// The console's last lines, and what QEMU itself complained about.
    pub fn tail(&self, lines: usize) -> Tail {
        let said = self.errors.tail(lines);
        let console = self.console.tail(lines);
        Tail(
            [console, said]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join("\n"),
        )
    }

    /// Waits until all base units are ready.
    ///
    /// # Errors
    /// The machine ends, something that is needed does not work, or `within` passes first.
    pub fn wait_ready(&self, within: Duration) -> Result<Status, MachineError> {
        let settled = |status: &Status| matches!(status.state, State::Ready | State::Degraded);
        let status = self.wait_status("ready", within, settled)?;
        if status.state == State::Degraded {
            let reason = status.reason.unwrap_or_else(|| "it does not say why".into());
            return Err(MachineError::Degraded { reason, tail: self.tail(TAIL) });
        }
        Ok(status)
    }

    /// Waits until the status is as `wanted` says; `what` names that for errors.
    ///
    /// # Errors
    /// The machine ends, or `within` passes first.
    pub fn wait_status(
        &self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&Status) -> bool,
    ) -> Result<Status, MachineError> {
        let deadline = Instant::now() + within;
        loop {
            let mut found = None;
            let mut unreadable = None;
            // Asked again now and then: the answer starts with the state as it is.
            let answer = self.control.call_each("watch", Map::new(), deadline, WATCH, |item| {
                match Status::deserialize(item) {
                    Ok(status) if wanted(&status) => found = Some(status),
                    Ok(_) => {}
                    Err(error) => unreadable = Some(error),
                }
                found.is_none() && unreadable.is_none() && Instant::now() < deadline
            });
            let error = match (found, unreadable, answer) {
                (Some(status), ..) => return Ok(status),
                (None, Some(error), _) => error.into(),
                (None, None, Err(error)) if is_late(&error) && Instant::now() < deadline => {
                    continue;
                }
                (None, None, Err(error)) => error,
                (None, None, Ok(_)) => io::Error::from(io::ErrorKind::TimedOut).into(),
            };
            return Err(self.failed("watch", &format!("`{what}`"), within, error));
        }
    }

    /// Asks PID 1.
    ///
    /// # Errors
    /// It refuses, the machine ends, or there is no answer.
    pub fn call(&self, verb: &str, args: Value) -> Result<Value, MachineError> {
        let args = match args {
            Value::Object(args) => args,
            _ => Map::new(),
        };
        self.control
            .call_each(verb, args, Instant::now() + ANSWER, ANSWER, |_| true)
            .map_err(|error| self.failed(verb, &format!("the answer of `{verb}`"), ANSWER, error))
    }

    /// What `status` says.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn status(&self) -> Result<Status, MachineError> {
        self.typed("status")
    }

    /// What `boot` says.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn boot(&self) -> Result<Boot, MachineError> {
        self.typed("boot")
    }

    /// Lets the control port go, so that someone else may use it; the next call takes it again.
    pub fn release_control(&self) {
        self.control.release();
    }

    /// Runs a QMP command.
    ///
    /// # Errors
    /// QEMU refuses it, or does not answer.
    pub fn qmp(&self, command: &str, args: Value) -> Result<Value, MachineError> {
        self.qmp.execute(command, args, Instant::now() + ANSWER).map_err(|reason| {
            MachineError::Qmp { command: command.to_owned(), reason, tail: self.tail(TAIL) }
        })
    }

    /// Waits for QEMU's end.
    ///
    /// # Errors
    /// It still runs after `within`.
    pub fn wait_exit(&self, within: Duration) -> Result<Exit, MachineError> {
        let awaited = || "the machine's end".to_owned();
        match self.exit(Instant::now() + within) {
            Ok(Some(exit)) => Ok(exit),
            Ok(None) => {
                Err(MachineError::Late { awaited: awaited(), within, tail: self.tail(TAIL) })
            }
            Err(source) => Err(MachineError::Host { what: awaited(), source }),
        }
    }

    /// Turns the appliance off and waits for QEMU's end.
    ///
    /// # Errors
    /// PID 1 refuses, or the machine does not end within `within`.
    pub fn power_off(&self, within: Duration) -> Result<Exit, MachineError> {
        match self.call("poweroff", Value::Null) {
            // The machine may be gone before its answer has left it.
            Ok(_) | Err(MachineError::Ended { .. }) => self.wait_exit(within),
            Err(error) => Err(error),
        }
    }

    /// Kills QEMU.
    ///
    /// # Errors
    /// The host refuses.
    pub fn kill(&self) -> Result<(), MachineError> {
        self.process.kill().map_err(MachineError::host("cannot kill QEMU"))
    }

    fn exit(&self, deadline: Instant) -> io::Result<Option<Exit>> {
        let Some(status) = self.process.wait(deadline)? else {
            return Ok(None);
        };
        // All pipes and sockets of a dead process are closed; only their readers may be late.
        let soon = Instant::now() + Duration::from_secs(10);
        self.console.wait_end(soon);
        let panicked = self.console.text().contains("Kernel panic - not syncing");
        Ok(Some(Exit { status, shutdown: self.qmp.shutdown(soon), panicked }))
    }

    fn typed<T: DeserializeOwned>(&self, verb: &str) -> Result<T, MachineError> {
        let answer = self.call(verb, Value::Null)?;
        serde_json::from_value(answer).map_err(|error| MachineError::Call {
            verb: verb.to_owned(),
            source: error.into(),
            tail: self.tail(TAIL),
        })
    }

    /// Why a call failed: that the machine has ended says more than a broken connection.
    fn failed(&self, verb: &str, what: &str, within: Duration, error: CallError) -> MachineError {
        let awaited = what.to_owned();
        if is_late(&error) {
            return MachineError::Late { awaited, within, tail: self.tail(TAIL) };
        }
        let broken =
            matches!(error, CallError::Closed | CallError::Io(_) | CallError::Connect { .. });
        let soon = Instant::now() + Duration::from_secs(5);
        if broken && let Ok(Some(exit)) = self.exit(soon) {
            return MachineError::Ended { awaited, exit, tail: self.tail(TAIL) };
        }
        MachineError::Call { verb: verb.to_owned(), source: error, tail: self.tail(TAIL) }
    }
}
