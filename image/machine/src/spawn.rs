//! Children that cannot outlive this process, whatever ends it.
//!
//! The kernel kills a child at the death of its parent if the child asks for it
//! (`PR_SET_PDEATHSIG`); `setpriv` of util-linux asks on the child's behalf, which needs no code
//! between fork and exec. For the kernel the parent is the *thread* that forked, and a test's
//! thread ends before its process does, so all children are started by one thread that never ends.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::wait::wait_until;

type Job = (Command, Sender<io::Result<Child>>);

static SPAWNER: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (sender, jobs) = channel::<Job>();
    std::thread::spawn(move || {
        for (mut command, answer) in jobs {
            // Nobody is there to answer if the asking thread panicked; the child dies with us.
            let _ = answer.send(command.spawn());
        }
    });
    sender
});

pub struct Process {
    child: Mutex<Child>,
    /// Says when the child ends, and cannot mean another process as a number could.
    pidfd: OwnedFd,
}

impl Process {
    /// Starts `program`, found before, with its output and errors as pipes, no input, and a process
    /// group of its own, so that ctrl-C in a terminal does not reach it.
    pub fn spawn(setpriv: &Path, program: &Path, arguments: Vec<OsString>) -> io::Result<Self> {
        let mut command = Command::new(setpriv);
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let (answer, child) = channel();
        let gone = || io::Error::other("the thread that starts processes is gone");
        SPAWNER.send((command, answer)).map_err(|_| gone())?;
        let child = child.recv().map_err(|_| gone())??;
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { child: Mutex::new(child), pidfd })
    }

    pub fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes readable when the child ends.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How the child ended, if it does so before `deadline`.
    pub fn wait(&self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        wait_until(&mut fds, deadline)?;
        self.child().try_wait()
    }

    /// Kills the child and waits for its end.
    pub fn kill(&self) -> io::Result<()> {
        let mut child = self.child();
        child.kill()?;
        child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about a child that cannot be killed; it still dies with us.
        let _ = self.kill();
    }
}
