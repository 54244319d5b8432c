//! Raw descriptors, for which safe Rust has no API. All `unsafe` of this crate is here.
#![expect(unsafe_code, reason = "a number says nothing about who owns the descriptor")]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// The first inherited descriptor.
pub const FIRST: RawFd = 3;

/// Takes ownership of the descriptors `numbers`, up to the first that is not open, and marks them
/// close-on-exec. A second call takes nothing: each descriptor has one owner.
pub fn take_fds(numbers: impl Iterator<Item = RawFd>) -> Vec<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return vec![];
    }
    numbers.map_while(take_one).collect()
}

fn take_one(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: the number is not negative (see `inherited`), and is borrowed for two calls that ask
    // whether it is open; if it is not, they fail and nothing is touched.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(borrowed).ok()?;
    fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, as was just seen. PID 1 passed it to this process for it to own, and
    // `take` gives each number away once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes the child of `command` inherit `files` as descriptors 3, 4, …
///
/// # Errors
/// There are more than 64, or more than this process may open.
#[cfg(any(test, feature = "as-pid-1"))]
pub fn pass_fds(
    command: &mut std::process::Command,
    files: &[BorrowedFd<'_>],
) -> std::io::Result<()> {
    use std::mem::forget;
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;

    /// The maximum number: memory cannot be allocated between fork and exec.
    const MAX: usize = 64;
    /// A number above all that the test and the standard library use.
    const HIGH: RawFd = 200;

    if files.len() > MAX {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let files = files.iter().map(BorrowedFd::try_clone_to_owned);
    let files = files.collect::<std::io::Result<Vec<OwnedFd>>>()?;
    let hook = move || {
        let mut copies: [RawFd; MAX] = [-1; MAX];
        for (copy, file) in copies.iter_mut().zip(&files) {
            let high = rustix::io::fcntl_dupfd_cloexec(file, HIGH)?;
            *copy = high.as_raw_fd();
            forget(high);
        }
        for (target, &copy) in (FIRST..).zip(copies.iter().take(files.len())) {
            // SAFETY: made above, and closed by exec. Whatever the target was, this child has no
            // use for it: it only executes now.
            let (copy, mut target) =
                unsafe { (BorrowedFd::borrow_raw(copy), OwnedFd::from_raw_fd(target)) };
            let done = rustix::io::dup2(copy, &mut target);
            forget(target);
            done?;
        }
        Ok(())
    };
    // SAFETY: plain system calls only, no allocation: numbers of errors are not boxed.
    unsafe { command.pre_exec(hook) };
    Ok(())
}
