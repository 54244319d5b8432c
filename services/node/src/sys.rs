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
