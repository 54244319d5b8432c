//! The one system call that has no safe wrapper: adjtimex(2).
#![expect(unsafe_code, reason = "no crate wraps adjtimex")]

use std::io;

/// Has the kernel's clock run faster (slower if negative) until it has made up for this many
/// microseconds: by at most 500 in a second (`ADJ_OFFSET_SINGLESHOT`, adjtime(3)).
pub fn slew(microseconds: i64) -> io::Result<()> {
    // SAFETY: a `timex` of zeros is one: it has integers only.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    timex.modes = libc::ADJ_OFFSET_SINGLESHOT;
    timex.offset = microseconds;
    // SAFETY: the kernel reads and writes this one structure, which outlives the call.
    match unsafe { libc::adjtimex(&raw mut timex) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
