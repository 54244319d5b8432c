//! Processes: started, signalled, collected.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio as CommandStdio};

use octet_appliance::{Signal, Stdio, Unit};
use rustix::fs::{Mode, OFlags, open};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal as Number, WaitOptions, kill_process, kill_process_group, wait};

use super::notify;
use crate::supervisor::{Exit, Refusal};
use crate::sys;

/// The pipe that carries a unit's output. PID 1 holds both ends for as long as it runs, so that no
/// output is lost between one instance and the next.
pub struct Output {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Output {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // Only our end must not wait: a unit that floods its log waits for its reader.
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Self { reader, writer })
    }

    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    fn stdio(&self) -> io::Result<CommandStdio> {
        Ok(self.writer.try_clone()?.into())
    }
}

/// Starts the program of `unit`.
///
/// # Errors
/// The program could not be executed.
pub fn start(unit: &Unit, output: &Output) -> Result<Pid, Refusal> {
    let Some(exec) = &unit.exec else {
        return Err(Refusal { reason: "has no program".into(), may_pass: false });
    };
    let failed = |error: io::Error| Refusal {
        reason: format!("cannot execute {exec}: {error}"),
        may_pass: rustix::io::Errno::from_io_error(&error).is_some_and(may_pass),
    };
    let mut command = Command::new(exec.as_str());
    command
        .args(&unit.args)
        .env_clear()
        .envs(&unit.env)
        .env("NOTIFY_SOCKET", notify::PATH)
        .env("OCTET_UNIT", unit.name.as_str())
        .current_dir("/")
        .stdin(CommandStdio::null())
        .stdout(match unit.stdio {
            Stdio::Log => output.stdio().map_err(failed)?,
            Stdio::Console => console().map_err(failed)?,
        })
        .stderr(output.stdio().map_err(failed)?);
    let uid = unit.user.user().uid;
    if uid != 0 {
        command.gid(uid).uid(uid);
    }
    sys::confine(&mut command);
    let child = command.spawn().map_err(failed)?;
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| Refusal { reason: format!("{exec} has no number"), may_pass: false })
}

/// Whether what the kernel lacked may come back: memory, processes, open files.
fn may_pass(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;

    matches!(error, Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::INTR)
}

fn console() -> io::Result<CommandStdio> {
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(open("/dev/console", flags, Mode::empty())?.into())
}

/// A process that has ended, and was collected.
pub struct Ended {
    pub pid: Pid,
    pub exit: Exit,
}

/// Collects the next process that has ended, if there is one.
pub fn collect_ended() -> Option<Ended> {
    let (pid, status) = wait(WaitOptions::NOHANG).ok()??;
    let exit = match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Exit::Status(status),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Status(-1),
    };
    Some(Ended { pid, exit })
}

/// Kills all processes of the group that `pid` leads or led: the kernel does not give a group's
/// number away while the group has members.
pub fn kill_group(pid: Pid) {
    let _ = kill_process_group(pid, Number::KILL);
}

/// Sends `signal` to the process.
pub fn signal(pid: Pid, signal: Number) {
    let _ = kill_process(pid, signal);
}

/// The kernel's number of a signal.
pub fn number(signal: Signal) -> Number {
    match signal {
        Signal::Term => Number::TERM,
        Signal::Int => Number::INT,
        Signal::Quit => Number::QUIT,
        Signal::Hup => Number::HUP,
        Signal::Kill => Number::KILL,
    }
}
