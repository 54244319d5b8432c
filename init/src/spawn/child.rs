//! From a copy of PID 1 to a unit's program. The list below is the way.

use std::os::fd::BorrowedFd;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, chdir, setrlimit, setsid, umask};
use rustix::thread::{UnshareFlags, set_no_new_privs};

use super::failure::SpawnFailure;
use super::{
    SpawnOrder, data_folder, descriptors, landlock, memory_folder, mounts, network, privileges,
    program,
};
use crate::sys::{exit_now, reset_signals, unshare};

/// What the steps know and find out.
pub struct ChildState<'a> {
    pub order: &'a SpawnOrder<'a>,
    pub program: &'a str,
    /// The folders that are its own, as far as they could be made.
    pub folders: Vec<String>,
    /// Variables that the steps add.
    pub environment: Vec<(String, String)>,
    /// Whether Landlock keeps it from abstract sockets of others.
    pub scoped: bool,
    /// The filters of system calls.
    pub filters: Vec<Vec<u8>>,
}

/// One step. Its error names what it could not do.
type Step = fn(&mut ChildState<'_>) -> Result<(), SpawnFailure>;

/// Every step, in order; `program::execute` follows.
///
/// What needs files of the whole system comes before it is hidden, what needs privileges before
/// they are given up. Filters of system calls come last of all, so that they need not allow what
/// the other steps do: only execve, and write and `exit_group` for the case that it fails. A filter
/// may be added by who cannot gain privileges any more or by who has `CAP_SYS_ADMIN`. The child
/// keeps that until it executes the program, whatever its user is by then: what a program is
/// permitted is computed anew from the bounding and the ambient set (capabilities(7)), so nothing
/// is left over. That way there is one order for all units.
const STEPS: &[Step] = &[
    signals,
    session,
    program::read_filters,
    data_folder::make,
    memory_folder::make,
    ipc,
    mounts::set_up,
    landlock::restrict,
    network::set_up,
    open_files,
    privileges::bound,
    privileges::become_user,
    privileges::grant,
    no_new_privileges,
    surroundings,
    program::add_filters,
];

/// Goes the way to its end. `pipe` is PID 1's to learn how it went.
pub fn run(order: &SpawnOrder<'_>, program: &str, pipe: BorrowedFd<'_>) -> ! {
    let filters = Vec::with_capacity(order.filters.len());
    let (folders, environment, scoped) = (vec![], vec![], false);
    let mut start = ChildState { order, program, folders, environment, scoped, filters };
    // Moves the pipe out of the way, so it is not one of the steps.
    let failure = match descriptors::arrange(&mut start, pipe) {
        Ok(pipe) => {
            end_on_panic(pipe);
            let failed = STEPS.iter().find_map(|step| step(&mut start).err());
            tell(pipe, &failed.unwrap_or_else(|| program::execute(&start)));
            exit_now(127)
        }
        Err(failure) => failure,
    };
    tell(pipe, &failure);
    exit_now(127)
}

fn tell(pipe: BorrowedFd<'_>, failure: &SpawnFailure) {
    let _ = rustix::io::write(pipe, &failure.to_bytes());
}

/// Replaces what PID 1 does when it panics: it restarts the machine.
fn end_on_panic(pipe: BorrowedFd<'static>) {
    std::panic::set_hook(Box::new(move |panic| {
        tell(
            pipe,
            &SpawnFailure::new("prepare the start", std::io::Error::other(panic.to_string())),
        );
        exit_now(127)
    }));
}

fn signals(_: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    reset_signals().map_err(SpawnFailure::to("reset signals"))
}

fn session(_: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    setsid().map(drop).map_err(SpawnFailure::to("begin a session"))
}

/// Queues and segments of System V and of POSIX are its own, and end with it.
fn ipc(_: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    unshare(UnshareFlags::NEWIPC).map_err(SpawnFailure::to("enter an IPC namespace of its own"))
}

/// After the last step that opens files of its own: the limit may be small.
fn open_files(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let files = Some(u64::from(start.order.unit.limits.nofile));
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })
        .map_err(SpawnFailure::to("limit its open files (limits.nofile)"))
}

fn no_new_privileges(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    if start.order.unit.sandbox.no_new_privs {
        set_no_new_privs(true).map_err(SpawnFailure::to("give up new privileges"))?;
    }
    Ok(())
}

fn surroundings(_: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    umask(Mode::WGRP | Mode::WOTH);
    chdir("/").map_err(SpawnFailure::to("enter /"))
}
