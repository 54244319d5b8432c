//! Descriptors of a child, for which safe Rust has no API. All `unsafe` of this crate is here.
#![expect(unsafe_code, reason = "what runs between fork and exec is not checked by the compiler")]

use std::io;
use std::mem::forget;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The first inherited descriptor.
const FIRST: RawFd = 3;

/// The maximum number: memory cannot be allocated between fork and exec.
const MAX: usize = 64;

/// A number above all that the test and the standard library use.
const HIGH: RawFd = 200;

/// Makes the child of `command` inherit `files` as descriptors 3, 4, …
///
/// # Errors
/// There are more than 64, or more than this process may open.
pub fn pass_fds(command: &mut Command, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    if files.len() > MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let files = files.iter().map(BorrowedFd::try_clone_to_owned);
    let files = files.collect::<io::Result<Vec<OwnedFd>>>()?;
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
