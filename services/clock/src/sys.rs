//! The one system call that has no safe wrapper: adjtimex(2).
#![expect(unsafe_code, reason = "no crate wraps adjtimex")]

use std::io;

/// Slews the kernel's clock by this many microseconds (back if negative), at 500 microseconds per
/// second (`ADJ_OFFSET_SINGLESHOT`, adjtime(3)).
pub fn slew(microseconds: i64) -> io::Result<()> {
    // SAFETY: `timex` has integers only, so all zeros are a valid value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    timex.modes = libc::ADJ_OFFSET_SINGLESHOT;
    timex.offset = microseconds;
    // SAFETY: the kernel reads and writes this one structure, which outlives the call.
    match unsafe { libc::adjtimex(&raw mut timex) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
