//! Signals that the kernel sends a program because of its own fault.
#![expect(unsafe_code, reason = "handlers that run on a stack of their own have no safe wrapper")]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// With their names, as a handler can print them.
const FATAL: [(c_int, &str); 6] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGSYS, "SIGSYS"),
];

/// Room for the handler when the stack itself is what went wrong.
const STACK: usize = 16 << 10;

/// Has the last words of this program be said by [`crate::console::last_words`], whatever it dies
/// of.
pub fn on_fatal_signal() -> io::Result<()> {
    let stack = Box::leak(vec![0u8; STACK].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the memory is ours, of the size that is named, and is never given back.
    if unsafe { libc::sigaltstack(&raw const stack, null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for (signal, _) in FATAL {
        // SAFETY: a sigaction of zeroes is a valid one, with an empty mask.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handler as extern "C" fn(c_int) as usize;
        action.sa_flags = libc::SA_ONSTACK | libc::SA_RESETHAND;
        // SAFETY: the handler is a function of the type that is called without SA_SIGINFO; all it
        // does is system calls.
        if unsafe { libc::sigaction(signal, &raw const action, null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Only system calls in here: nothing can be relied on any more.
extern "C" fn handler(signal: c_int) {
    let name = FATAL.iter().find(|(number, _)| *number == signal).map_or("?", |(_, name)| name);
    crate::console::last_words(name);
}

#[cfg(feature = "fault")]
pub fn touch_nothing() {
    // SAFETY: none: this is the fault that a build for tests makes.
    unsafe { null_mut::<u8>().write_volatile(1) }
}
