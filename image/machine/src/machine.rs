//! A running machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::architecture::Architecture;
use crate::builder::{BootFrom, Builder};
use crate::capture::Capture;
use crate::control::Control;
use crate::disk::Disk;
use crate::error::{MachineError, Tail};
use crate::exit::Exit;
use crate::panel::Port;
use crate::qmp::{Qmp, Reset, Shutdown};
use crate::slot::Slot;
use crate::spawn::Process;

/// How long a QMP command may take. Long, because the host may be busy.
const QMP_TIMEOUT: Duration = Duration::from_secs(180);

/// What PID 1 says last before it restarts the machine (`init/src/edge/power.rs`), and a kernel that panics.
const RESTARTING: &str = "octet: restarting";
const PANIC: &str = "Kernel panic - not syncing";

/// How long the console's words may be on their way when QEMU has told of a reset.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How soon after a reset another one is the same: Linux has ACPI and the keyboard controller do it, and QEMU does both.
const RESET_DEBOUNCE: Duration = Duration::from_secs(1);

/// How much of the console an error shows.
pub(crate) const TAIL: usize = 20;

/// A running machine. When the value goes, QEMU is killed and its folder removed.
pub struct Machine {
    // Dropped in this order: the process before the folder and the slot.
    pub(crate) process: Process,
    pub(crate) qmp: Qmp,
    pub(crate) console: Capture,
    pub(crate) errors: Capture,
    pub(crate) control: Control,
    /// Those that nobody has taken.
    pub(crate) ports: Mutex<Vec<Option<Port>>>,
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

    pub fn started(&self) -> Instant {
        self.started
    }

    /// The number of QEMU's process.
    pub fn pid(&self) -> u32 {
        self.process.child().id()
    }

    /// The folder of its sockets and its log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket of the control port.
    pub fn control_path(&self) -> &Path {
        self.control.path()
    }

    /// The other end of the wire of network card `index`, counted from 0. It can be taken once: a
    /// wire has two ends. `None` if there is no such card, or its wire is taken.
    pub fn port(&self, index: usize) -> Option<Port> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index)?.take()
    }

    pub fn console(&self) -> &Capture {
        &self.console
    }

    /// The console's last lines, and what QEMU itself complained about.
    pub fn tail(&self, lines: usize) -> Tail {
        let errors = self.errors.tail(lines);
        let console = self.console.tail(lines);
        Tail(
            [console, errors]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join("\n"),
        )
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
        self.qmp.execute(command, args, Instant::now() + QMP_TIMEOUT).map_err(|reason| {
            MachineError::Qmp { command: command.to_owned(), reason, tail: self.tail(TAIL) }
        })
    }

    /// The names of the events that QEMU has told so far, such as `WATCHDOG`.
    pub fn events(&self) -> Vec<String> {
        self.qmp.events()
    }

    /// Follows a machine that [`reboots`](Builder::reboots) to its end. A reboot that PID 1 has announced is told to
    /// `rebooted`, and a reset by QMP is somebody's wish; any other one, as after a panic, ends the machine.
    pub fn follow(&self, mut rebooted: impl FnMut()) -> Result<Exit, MachineError> {
        let mut read = 0;
        let mut announced = None;
        let mut reset = None;
        for seen in 0.. {
            reset = self.qmp.wait_reset(seen);
            let at = match reset {
                None => break,
                Some(Reset { guest: false, .. }) => continue,
                Some(Reset { guest: true, at }) => at,
            };
            if announced.is_some_and(|before| at < before + RESET_DEBOUNCE) {
                continue;
            }
            // Its words have left the guest before, and may come to us a little later.
            let deadline = Instant::now() + CONSOLE_TIMEOUT;
            match self.console.wait_from(read, &[RESTARTING, PANIC], deadline) {
                Some((0, end)) => {
                    (read, announced) = (end, Some(at));
                    rebooted();
                }
                _ => break,
            }
        }
        let source = |error| MachineError::Host { what: "the machine's end".into(), source: error };
        if reset.is_some() {
            self.kill()?;
        }
        loop {
            let exit = self.exit(Instant::now() + QMP_TIMEOUT).map_err(source)?;
            let Some(mut exit) = exit else { continue };
            if reset.is_some() {
                let reason = "it was reset, and PID 1 had not announced that".to_owned();
                exit.shutdown = Some(Shutdown { guest: true, reason });
            }
            return Ok(exit);
        }
    }

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

    pub fn kill(&self) -> Result<(), MachineError> {
        self.process.kill().map_err(MachineError::host("cannot kill QEMU"))
    }

    pub(crate) fn exit(&self, deadline: Instant) -> io::Result<Option<Exit>> {
        let Some(status) = self.process.wait(deadline)? else {
            return Ok(None);
        };
        // All pipes and sockets of a dead process are closed; only their readers may be late.
        let soon = Instant::now() + Duration::from_secs(10);
        self.console.wait_end(soon);
        let panicked = self.console.text().contains(PANIC);
        Ok(Some(Exit { status, shutdown: self.qmp.shutdown(soon), panicked }))
    }
}
