//! Starts the process of a unit.
//!
//! PID 1 forks and continues: everything that can fail or block (folders on a disk, mounts,
//! namespaces) happens in the child, which then executes the unit's program, or reports through a
//! pipe why it could not.

mod child;
mod data_folder;
mod descriptors;
mod devices;
mod ended;
mod failure;
mod landlock;
mod memory_folder;
mod mounts;
mod network;
mod privileges;
mod program;
mod verdict;

pub use ended::{EndedProcess, Orphan, next_ended};
pub use verdict::VerdictSocket;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use octet_appliance::{Signal, Unit};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal as Number, pidfd_send_signal};

use crate::cgroup::Group;
use crate::supervisor::SpawnRefusal;
use crate::sys::{Cloned, clone_process};
use failure::SpawnFailure;

/// What PID 1 prepares once for the starts of all units.
#[derive(Debug, Default)]
pub struct Prepared {
    /// A network namespace without any interface that is up.
    pub empty_network: Option<OwnedFd>,
}

/// Prepares it, after the switch to the final root. Also returns errors in words.
pub fn prepare() -> (Prepared, Vec<String>) {
    let mut problems: Vec<String> = devices::prepare().err().into_iter().collect();
    // Without it each unit makes one for itself.
    let made = network::make_empty();
    let empty_network =
        made.map_err(|error| problems.push(format!("an empty network: {error}"))).ok();
    (Prepared { empty_network }, problems)
}

/// Everything that a start needs.
pub struct SpawnOrder<'a> {
    /// The unit to be started.
    pub unit: &'a Unit,
    /// Its control group, if the kernel has them.
    pub group: Option<&'a Group>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// Descriptors that it gets from 3 on, in this order, with their names (`sd_listen_fds(3)`).
    pub passed: Vec<(String, BorrowedFd<'a>)>,
    /// An empty network namespace shared by units without network, if there is one.
    pub empty_network: Option<BorrowedFd<'a>>,
    /// Variables besides `unit.env`, such as `NOTIFY_SOCKET`; they take precedence.
    pub environment: Vec<(String, String)>,
    /// Files with seccomp filters (`sys::add_system_call_filter`), loaded in this order. Each must
    /// allow what comes after it: execve, and all but the last one also seccomp.
    pub filters: Vec<String>,
}

/// A process that is executing, or has executed, a unit's program.
#[derive(Debug)]
pub struct Child {
    pub pid: Pid,
    /// Identifies the process itself: its process id may be reused after it was reaped, this may
    /// not.
    pub pidfd: OwnedFd,
    /// Reports whether the program was executed.
    pub verdict: VerdictSocket,
}

/// Starts the program of a unit, without waiting for `exec`: see `Verdict`.
///
/// # Errors
/// There is no program, or the kernel cannot create the process.
pub fn spawn(order: &SpawnOrder<'_>) -> Result<Child, SpawnRefusal> {
    let Some(program) = &order.unit.exec else {
        return Err(SpawnRefusal { reason: "has no program".into(), transient: false });
    };
    // Only the flags of PID 1's end matter: the child writes once, into an empty pipe.
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(|error| SpawnFailure::new("make a pipe", error).refusal())?;
    let place = order
        .group
        .map(Group::process_group)
        .transpose()
        .map_err(|error| SpawnFailure::new("enter its control group", error).refusal())?;
    match clone_process(place.as_ref().map(AsFd::as_fd)) {
        Ok(Cloned::Child) => child::run(order, program.as_str(), writer.as_fd()),
        Ok(Cloned::Parent(pid, pidfd)) => {
            Ok(Child { pid, pidfd, verdict: VerdictSocket::new(reader) })
        }
        Err(error) => Err(SpawnFailure::new("make a process", error).refusal()),
    }
}

/// Sends `signal` to the process, even if its process id was reused meanwhile.
pub fn signal_through(pidfd: BorrowedFd<'_>, signal: Signal) {
    let number = match signal {
        Signal::Term => Number::TERM,
        Signal::Int => Number::INT,
        Signal::Quit => Number::QUIT,
        Signal::Hup => Number::HUP,
        Signal::Kill => Number::KILL,
    };
    let _ = pidfd_send_signal(pidfd, number);
}
