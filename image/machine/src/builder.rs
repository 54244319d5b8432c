//! What a machine is to be, and how it is started.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use tempfile::TempDir;

use crate::architecture::{Architecture, Emulator};
use crate::arguments::{Sockets, has_kvm};
use crate::capture::{Capture, Listener};
use crate::control::Control;
use crate::disk::Disk;
use crate::error::MachineError;
use crate::machine::Machine;
use crate::panel::{self, Mac, Nic, Port};
use crate::program::find_program;
use crate::qmp::Qmp;
use crate::slot::Slot;
use crate::spawn::Process;
use crate::wait::wait_until;

/// QEMU itself, before any guest code: long, because the host may be busy.
const QEMU_START_TIMEOUT: Duration = Duration::from_secs(180);

/// A machine that has not been started.
pub struct Builder {
    pub(crate) architecture: Architecture,
    pub(crate) boot: BootFrom,
    pub(crate) disks: Vec<Disk>,
    pub(crate) nics: Vec<Nic>,
    pub(crate) memory: u32,
    pub(crate) cpus: u32,
    pub(crate) reboots: bool,
    pub(crate) command_line: Option<String>,
    pub(crate) kernel_arguments: Vec<String>,
    pub(crate) extra: Vec<OsString>,
    folder: Option<PathBuf>,
    keep: bool,
    limited: bool,
    listener: Option<Listener>,
}

/// Where the kernel comes from.
pub(crate) enum BootFrom {
    /// QEMU puts it into memory.
    Kernel { kernel: PathBuf, initrd: PathBuf },
    /// UEFI firmware loads it from the first disk.
    Firmware,
    /// U-Boot does.
    UBoot,
}

impl Builder {
    pub(crate) fn new(boot: BootFrom) -> Self {
        Self {
            architecture: Architecture::default(),
            boot,
            disks: vec![],
            nics: vec![],
            memory: 256,
            cpus: 2,
            reboots: false,
            command_line: None,
            kernel_arguments: vec![],
            extra: vec![],
            folder: None,
            keep: false,
            limited: true,
            listener: None,
        }
    }

    /// The processor; x86-64 unless said.
    #[must_use]
    pub fn architecture(mut self, architecture: Architecture) -> Self {
        self.architecture = architecture;
        self
    }

    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// Adds a network card whose wire ends in the test: [`Machine::port`] is the other end. It takes
    /// every frame (promiscuous), so that it is the guest that refuses what is not for it. The kernel
    /// calls cards `eth0`, `eth1` and so on in the order in which they are added; there is room for 120.
    #[must_use]
    pub fn nic(mut self, mac: Mac) -> Self {
        self.nics.push(Nic { mac });
        self
    }

    /// Memory in MiB; 256 unless said.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory = mib;
        self
    }

    /// Processors; 2 unless said.
    #[must_use]
    pub fn cpus(mut self, count: u32) -> Self {
        self.cpus = count;
        self
    }

    /// Gives it a watchdog (i6300esb), which resets the guest once it is not fed any more.
    #[must_use]
    pub fn watchdog(self) -> Self {
        self.argument("-device").argument("i6300esb")
    }

    /// Lets U-Boot start the first disk, as on a board; for Arm only.
    #[must_use]
    pub fn u_boot(mut self) -> Self {
        self.boot = BootFrom::UBoot;
        self
    }

    /// Lets the guest reboot; otherwise a reboot (also that after a panic) ends QEMU.
    #[must_use]
    pub fn reboots(mut self) -> Self {
        self.reboots = true;
        self
    }

    /// Adds to the kernel's command line.
    #[must_use]
    pub fn kernel_argument(mut self, argument: &str) -> Self {
        self.kernel_arguments.push(argument.to_owned());
        self
    }

    /// Replaces the kernel's command line, for guests that are not ours.
    #[must_use]
    pub fn command_line(mut self, line: &str) -> Self {
        self.command_line = Some(line.to_owned());
        self
    }

    /// Adds to QEMU's command line.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.extra.push(argument.into());
        self
    }

    /// Where sockets and the console's log go: a folder that is there and stays. Its path must be
    /// short, because a socket's path has at most 107 bytes.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Keeps the folder of sockets and log when the machine goes.
    #[must_use]
    pub fn keep_folder(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Starts even if as many machines run as there are cores: for a person's own.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.limited = false;
        self
    }

    /// Called with what the console says, as it comes.
    #[must_use]
    pub fn on_console(mut self, listener: impl FnMut(&[u8]) + Send + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Starts the machine; waits first if as many as there are cores run already.
    ///
    /// # Errors
    /// QEMU is missing or does not start, or the host refuses something.
    pub fn start(mut self) -> Result<Machine, MachineError> {
        let missing = |program, package| MachineError::Missing { program, package };
        let Emulator { program, package } = self.architecture.emulator();
        let qemu = find_program(program).ok_or(missing(program, package))?;
        let setpriv = find_program("setpriv").ok_or(missing("setpriv", "util-linux"))?;
        let slot = match self.limited {
            true => Some(Slot::take().map_err(MachineError::host("cannot take a slot to run in"))?),
            false => None,
        };
        let made = match self.folder {
            Some(_) => None,
            None => Some(self.make_folder()?),
        };
        let folder = made.as_ref().map(TempDir::path).or(self.folder.as_deref());
        let folder = folder.unwrap_or(Path::new("/tmp")).to_owned();
        let (control, qmp) = (folder.join("control"), folder.join("qmp"));
        let variables = folder.join("variables");
        if matches!(self.boot, BootFrom::Firmware) {
            self.copy_variables(&variables)?;
        }
        for log in self.disks.iter().filter_map(Disk::log_file) {
            File::create(log)
                .map_err(MachineError::host(format!("cannot write {}", log.display())))?;
        }
        let wires: Vec<_> =
            (0..self.nics.len()).map(|at| panel::Sockets::new(&folder, at)).collect();
        // What a machine before it has left there.
        let nics = wires.iter().flat_map(|wire| [&wire.qemu, &wire.port]);
        for socket in nics.chain([&control, &qmp]) {
            let _ = std::fs::remove_file(socket);
        }
        // Before QEMU, which sends what the guest says from the beginning.
        let ports = wires.iter().map(Port::bind).map(|port| port.map(Some));
        let ports = ports
            .collect::<Result<Vec<_>, _>>()
            .map_err(MachineError::host("cannot make the wires of network cards"))?;
        let listener = UnixListener::bind(&qmp)
            .map_err(MachineError::host(format!("cannot listen on {}", qmp.display())))?;
        let log = folder.join("console.log");
        let file = File::create(&log)
            .map_err(MachineError::host(format!("cannot write {}", log.display())))?;

        let sockets = Sockets { control: &control, qmp: &qmp, variables: &variables, nics: &wires };
        let arguments = self.arguments(&sockets, has_kvm() && self.architecture.is_hosts());
        let started = Instant::now();
        let process = Process::spawn(&setpriv, &qemu, arguments)
            .map_err(MachineError::host("cannot start QEMU"))?;
        let (stdout, stderr) = {
            let mut child = process.child();
            (child.stdout.take(), child.stderr.take())
        };
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            let source = io::Error::other("its output is no pipe");
            return Err(MachineError::Host { what: "cannot start QEMU".into(), source });
        };
        let console = Capture::start(stdout, Some(file), self.listener.take());
        let errors = Capture::start(stderr, None, None);

        let deadline = started + QEMU_START_TIMEOUT;
        let qmp = match accept(&listener, &process, deadline) {
            Ok(Some(stream)) => Qmp::start(stream, deadline),
            Ok(None) => Err("it did not connect to its QMP socket".into()),
            Err(error) => Err(error.to_string()),
        };
        let qmp = qmp.map_err(|reason| not_started(&process, &errors, &reason))?;
        Ok(Machine {
            qmp,
            console,
            errors,
            control: Control::new(control),
            ports: Mutex::new(ports),
            started,
            process,
            folder,
            _made: made,
            _slot: slot,
        })
    }

    /// Gives the machine firmware variables of its own.
    fn copy_variables(&self, to: &Path) -> Result<(), MachineError> {
        let firmware = self.architecture.firmware();
        if let Some(file) = firmware.missing() {
            return Err(MachineError::MissingFile { file, package: firmware.package });
        }
        std::fs::copy(firmware.variables, to)
            .map(drop)
            .map_err(MachineError::host(format!("cannot write {}", to.display())))
    }

    /// A folder of our own with a short path.
    fn make_folder(&self) -> Result<TempDir, MachineError> {
        let base = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|folder| folder.is_dir() && folder.as_os_str().len() < 64)
            .unwrap_or_else(|| "/tmp".into());
        let mut folder = tempfile::Builder::new()
            .prefix("octet-")
            .tempdir_in(&base)
            .map_err(MachineError::host(format!("cannot make a folder in {}", base.display())))?;
        folder.disable_cleanup(self.keep);
        Ok(folder)
    }
}

/// The connection that QEMU makes at its start; `None` if it ends, or `deadline` comes, first.
fn accept(
    listener: &UnixListener,
    process: &Process,
    deadline: Instant,
) -> io::Result<Option<UnixStream>> {
    let ended = process.ended();
    let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
    wait_until(&mut fds, deadline)?;
    if fds[0].revents().contains(PollFlags::IN) {
        return listener.accept().map(|(stream, _)| Some(stream));
    }
    Ok(None)
}

/// What QEMU itself says is worth more than that it does not answer.
fn not_started(process: &Process, errors: &Capture, reason: &str) -> MachineError {
    // If it ends by itself it does so at once; if not, it is killed with the value.
    let soon = Instant::now() + Duration::from_secs(1);
    let exit = match process.wait(soon) {
        Ok(Some(status)) => status.to_string(),
        _ => "it still runs".to_owned(),
    };
    errors.wait_end(soon);
    let output = errors.tail(10);
    let output = if output.is_empty() { reason.to_owned() } else { output };
    MachineError::NotStarted { exit, output }
}
