//! Signals that the kernel sends to a program because of the program's own fault.
#![expect(unsafe_code, reason = "handlers that run on a stack of their own have no safe wrapper")]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// The signals, with names that a handler can print.
const FATAL: [(c_int, &str); 6] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGSYS, "SIGSYS"),
];

/// Stack size of the handler, in bytes: the normal stack itself may be the fault.
const STACK: usize = 16 << 10;

/// Calls [`crate::console::report_fatal_signal`] if this program dies of any of these signals.
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

/// Uses only system calls: the process's state is undefined here.
extern "C" fn handler(signal: c_int) {
    let name = FATAL.iter().find(|(number, _)| *number == signal).map_or("?", |(_, name)| name);
    crate::console::report_fatal_signal(name);
}

#[cfg(feature = "fault")]
pub fn touch_nothing() {
    // SAFETY: none: this is the fault that a build for tests makes.
    unsafe { null_mut::<u8>().write_volatile(1) }
}
