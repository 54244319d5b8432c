//! The steps from a copy of PID 1 to a unit's program, in the order of the list below.

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

/// The input of the steps, and what they find out.
pub struct ChildState<'a> {
    pub order: &'a SpawnOrder<'a>,
    pub program: &'a str,
    /// Its own folders, as far as they could be made.
    pub folders: Vec<String>,
    /// Variables that the steps add.
    pub environment: Vec<(String, String)>,
    /// Whether Landlock prevents connections to abstract sockets of other units.
    pub scoped: bool,
    /// The seccomp filters.
    pub filters: Vec<Vec<u8>>,
}

/// One step. Its error names what failed.
type Step = fn(&mut ChildState<'_>) -> Result<(), SpawnFailure>;

/// Every step, in order; `program::execute` follows.
///
/// Steps that need files of the whole system come before these are hidden, and steps that need
/// privileges before they are dropped. Seccomp filters come last, so that they need not allow what
/// the other steps do: only execve, and write and `exit_group` in case it fails. A process may add
/// a filter if it has `no_new_privs` or `CAP_SYS_ADMIN`. The child keeps that capability until it
/// executes the program, whatever its user is by then: the permitted set of a program is computed
/// anew from the bounding and the ambient set (capabilities(7)), so nothing is left over. So there
/// is one order for all units.
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
    working_directory,
    program::add_filters,
];

/// Runs all steps. The result is reported to PID 1 through `pipe`.
pub fn run(order: &SpawnOrder<'_>, program: &str, pipe: BorrowedFd<'_>) -> ! {
    let filters = Vec::with_capacity(order.filters.len());
    let (folders, environment, scoped) = (vec![], vec![], false);
    let mut start = ChildState { order, program, folders, environment, scoped, filters };
    // This moves the pipe to another descriptor, so it is not one of the steps.
    let failure = match descriptors::arrange(&mut start, pipe) {
        Ok(pipe) => {
            end_on_panic(pipe);
            let failed = STEPS.iter().find_map(|step| step(&mut start).err());
            send_failure(pipe, &failed.unwrap_or_else(|| program::execute(&start)));
            exit_now(127)
        }
        Err(failure) => failure,
    };
    send_failure(pipe, &failure);
    exit_now(127)
}

fn send_failure(pipe: BorrowedFd<'_>, failure: &SpawnFailure) {
    let _ = rustix::io::write(pipe, &failure.to_bytes());
}

/// Replaces PID 1's panic handler, which restarts the machine.
fn end_on_panic(pipe: BorrowedFd<'static>) {
    std::panic::set_hook(Box::new(move |panic| {
        send_failure(
            pipe,
            &SpawnFailure::new("prepare the start", std::io::Error::other(panic.to_string())),
        );
        exit_now(127)
    }));
}

fn signals(_: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    reset_signals().map_err(SpawnFailure::context("reset signals"))
}

fn session(_: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    setsid().map(drop).map_err(SpawnFailure::context("begin a session"))
}

/// Gives the unit its own System V and POSIX queues and shared memory, which end with it.
fn ipc(_: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    unshare(UnshareFlags::NEWIPC)
        .map_err(SpawnFailure::context("enter an IPC namespace of its own"))
}

/// Comes after the last step that opens files of its own: the limit may be small.
fn open_files(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let files = Some(u64::from(start.order.unit.limits.nofile));
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })
        .map_err(SpawnFailure::context("limit its open files (limits.nofile)"))
}

fn no_new_privileges(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    if start.order.unit.sandbox.no_new_privs {
        set_no_new_privs(true).map_err(SpawnFailure::context("give up new privileges"))?;
    }
    Ok(())
}

fn working_directory(_: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    umask(Mode::WGRP | Mode::WOTH);
    chdir("/").map_err(SpawnFailure::context("enter /"))
}
