//! The descriptors of a unit's program: an empty input, its output and errors, and those it is
//! passed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::child::ChildState;
use super::failure::SpawnFailure;
use crate::sys::{close_at_exec_from, put_descriptor};

/// The first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// Moves every descriptor to its number and returns the new one of `pipe`. All others are closed at
/// execve.
pub fn arrange(
    start: &mut ChildState<'_>,
    pipe: BorrowedFd<'_>,
) -> Result<BorrowedFd<'static>, SpawnFailure> {
    let pipe =
        assign_numbers(start, pipe).map_err(SpawnFailure::context("arrange its descriptors"))?;
    let passed = &start.order.passed;
    if !passed.is_empty() {
        let names: Vec<&str> = passed.iter().map(|(name, _)| name.as_str()).collect();
        start.environment.extend([
            ("LISTEN_FDS".to_owned(), passed.len().to_string()),
            ("LISTEN_FDNAMES".to_owned(), names.join(":")),
            ("LISTEN_PID".to_owned(), std::process::id().to_string()),
        ]);
    }
    Ok(pipe)
}

fn assign_numbers(start: &ChildState<'_>, pipe: BorrowedFd<'_>) -> io::Result<BorrowedFd<'static>> {
    let order = start.order;
    // First move them above all target numbers, so that none is overwritten before it was copied.
    let above = FIRST + RawFd::try_from(order.passed.len()).map_err(|_| Errno::MFILE)?;
    let away = |file: BorrowedFd<'_>| fcntl_dupfd_cloexec(file, above);
    let pipe: &'static OwnedFd = Box::leak(Box::new(away(pipe)?));
    let input = away(open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.as_fd())?;
    let (output, errors) = (away(order.stdout)?, away(order.stderr)?);
    let passed: Vec<OwnedFd> =
        order.passed.iter().map(|(_, file)| away(*file)).collect::<rustix::io::Result<_>>()?;

    for (number, file) in (0..).zip([&input, &output, &errors].into_iter().chain(&passed)) {
        put_descriptor(file.as_fd(), number)?;
    }
    close_at_exec_from(above)?;
    Ok(pipe.as_fd())
}
