#![expect(unsafe_code, reason = "no crate wraps this ioctl")]

use std::ffi::c_int;
use std::fs::File;
use std::io;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// `WDIOC_SETTIMEOUT` of linux/watchdog.h.
const WDIOC_SETTIMEOUT: Opcode = opcode::read_write::<c_int>(b'W', 6);

/// Sets the timeout of the watchdog in seconds, after which it restarts the machine. Returns the
/// nearest value that it supports.
pub fn set_watchdog_timeout(device: &File, seconds: i32) -> io::Result<i32> {
    let mut seconds: c_int = seconds;
    // SAFETY: the kernel reads one int, writes one int, and keeps no pointer to it.
    unsafe { ioctl(device, Updater::<WDIOC_SETTIMEOUT, c_int>::new(&mut seconds)) }?;
    Ok(seconds)
}
